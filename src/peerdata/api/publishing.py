# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What a publish says: query string and body in, keys and sharing out, or the reason why not. Pure.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from peerdata.errors import (
    BodyAndParameters,
    BodyEmpty,
    BodyMemberUnknown,
    BodyNotJson,
    BodyNotObject,
    BodyNotUtf8,
    KeyRepeated,
    MetaMissing,
    MetaNotObject,
    ParameterUnknown,
    PeerdataError,
    SharedInvalid,
    ValueNotString,
)
from peerdata.service.rules import printable

BODYLESS = "the form without a body always gets through: POST .../metadata?shared=project&meta.KEY=VALUE"

_META = "meta."
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}\r\n")


def understand(
    parameters: Sequence[tuple[str, str]], body: bytes, fault: PeerdataError | None = None
) -> tuple[dict[str, str], bool]:
    """
    The keys that a publish wants to set, and whether they are to be shared.

    Args:
        parameters: Of the query string, decoded.
        body: As it came, or its beginning.
        fault: Why it is only the beginning.

    Raises:
        RequestInvalid: one of its leaves, with the first thing that is wrong: query, then body.

    Source: docs/protocol.md, "Publish".
    """
    given, others = split(parameters)
    shared = _read_shared([value for name, value in others if name == "shared"])
    for name, _ in others:
        if name != "shared":
            raise ParameterUnknown(
                f"unknown parameter '{printable(name)}': this call knows shared=project and meta.KEY=VALUE",
                parameter=printable(name),
            )
    if fault:
        raise fault
    if not given:
        return _read_body(body), shared
    if body:
        raise BodyAndParameters("keys came both in the body and as meta. parameters: use one of the two")
    return unrepeated(given), shared


def split(parameters: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The ``meta.`` parameters, without that, and all others."""
    given = [(name.removeprefix(_META), value) for name, value in parameters if name.startswith(_META)]
    return given, [(name, value) for name, value in parameters if not name.startswith(_META)]


def _read_shared(values: Sequence[str]) -> bool:
    if not values:
        return False
    if len(values) > 1:
        raise SharedInvalid("'shared' is there more than once; give it once, as shared=project, or not at all")
    if values[0] != "project":
        raise SharedInvalid(
            f"shared={printable(values[0])} is not known: shared=project shows the keys to the project, without "
            "'shared' only this instance sees them"
        )
    return True


def _read_body(body: bytes) -> dict[str, str]:
    if not body:
        raise BodyEmpty(f"neither a body nor a meta. parameter arrived. Bodies get lost on the way; {BODYLESS}")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BodyNotUtf8(f"the body is not UTF-8 (at byte {error.start})") from error
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        if _CHUNK_SIZE.match(body):
            raise BodyNotJson(f"the body holds the framing of a chunked upload; {BODYLESS}") from error
        where = f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else "unreadable"
        raise BodyNotJson(f"the body of {len(body)} bytes is not JSON: {where}. Was it cut? {BODYLESS}") from error
    if not isinstance(content, dict):
        raise BodyNotObject('the body is JSON but not an object; it must be {"meta": {"KEY": "VALUE"}}')
    if "meta" not in content:
        raise MetaMissing('the body has no "meta"; it must be {"meta": {"KEY": "VALUE"}}')
    for member in content:
        if member != "meta":
            raise BodyMemberUnknown(
                f"the body has an unknown member '{printable(member)}' beside \"meta\"; shared=project goes into the "
                "query string",
                member=printable(member),
            )
    meta = content["meta"]
    if not isinstance(meta, dict):
        raise MetaNotObject('"meta" must be an object of strings: {"meta": {"KEY": "VALUE"}}')
    for key, value in sorted(meta.items()):
        if not isinstance(value, str):
            raise ValueNotString(
                f"the value of '{printable(key)}' is not a string; put it in quotes", key=printable(key)
            )
    return meta


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return unrepeated(pairs)


def unrepeated(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """
    *pairs* as a mapping.

    Raises:
        KeyRepeated: one key stands there twice.
    """
    content = dict(pairs)
    if len(content) != len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = printable(next(name for name in times if times[name] > 1))
        raise KeyRepeated(f"'{twice}' stands more than once in this call", key=twice)
    return content
