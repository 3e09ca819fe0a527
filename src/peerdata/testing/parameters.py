# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Parses query strings and bodies of the calls; everything invalid raises `Refusal` with the service's code. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from peerdata.testing.project import KEY, MAX_SIZE, Refusal

Pairs = list[tuple[str, str]]


def parse_query(query: str) -> Pairs:
    """All parameters in order, unescaped."""
    return parse_qsl(query, keep_blank_values=True, errors="strict")


def only(given: Iterable[tuple[str, str]], *known: str) -> dict[str, str]:
    """The parameters by name, where each is one of *known* and given at most once."""
    parsed: dict[str, str] = {}
    for name, value in given:
        if name not in known:
            raise Refusal(400, "parameter.unknown", f"unknown parameter '{name}'", parameter=name)
        if name in parsed:
            raise Refusal(400, "parameter.repeated", f"parameter '{name}' is repeated", parameter=name)
        parsed[name] = value
    return parsed


def parse_follow(given: Pairs) -> tuple[int | None, str, float]:
    """Revision (None: from the beginning), key prefix and seconds to wait, of peer_data.json."""
    parsed = only(given, "since", "prefix", "wait")
    since, prefix, wait = parsed.get("since"), parsed.get("prefix", ""), parsed.get("wait", "0")
    if prefix and not KEY.fullmatch(prefix):
        raise Refusal(400, "parameter.invalid", "no key can begin with this prefix")
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", wait):
        raise Refusal(400, "parameter.invalid", "wait must be a number of seconds", parameter="wait")
    if since is not None and not (re.fullmatch(r"[0-9]{1,19}", since) and int(since) < 2**63):
        raise Refusal(400, "parameter.invalid", "since must be a revision", parameter="since")
    return None if since is None else int(since), prefix, float(wait)


def parse_publish(given: Pairs, body: bytes) -> tuple[dict[str, str], bool]:
    """The keys to publish, and whether they are shared."""
    sharing = [value for name, value in given if name == "shared"]
    if sharing not in ([], ["project"]):
        raise Refusal(400, "shared.invalid", "shared must be 'project' where it is given")
    only([pair for pair in given if pair[0] != "shared" and pair[0][:5] != "meta."])
    keys = _parse_keys(given)
    if keys and body:
        raise Refusal(400, "body.and_parameters", "keys came both in the body and as parameters")
    return keys or _parse_body(body), bool(sharing)


def parse_join(given: Pairs) -> tuple[dict[str, Any], dict[str, str]]:
    """The plan of a cluster (size, founders, closed), and the keys to publish."""
    parsed = only([pair for pair in given if pair[0][:5] != "meta."], "size", "founders", "closed")
    size, founders, closed = parsed.get("size", ""), parsed.get("founders", "one"), parsed.get("closed", "false")
    if not (re.fullmatch(r"[0-9]{1,4}", size) and 1 <= int(size) <= MAX_SIZE):
        raise Refusal(400, "parameter.invalid", f"size must be 1 to {MAX_SIZE}", parameter="size")
    if founders not in ("one", "all"):
        raise Refusal(400, "parameter.invalid", "founders must be one or all", parameter="founders")
    if closed not in ("true", "false"):
        raise Refusal(400, "parameter.invalid", "closed must be true or false", parameter="closed")
    return {"size": int(size), "founders": founders, "closed": closed == "true"}, _parse_keys(given)


def parse_formed(given: Pairs) -> int:
    """The term that a founder confirms."""
    term = only(given, "term").get("term", "")
    if not re.fullmatch(r"[0-9]{1,18}", term):
        raise Refusal(400, "parameter.invalid", "term must be the term of the verdict", parameter="term")
    return int(term)


def _parse_keys(given: Pairs) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, value in given:
        if name[:5] != "meta.":
            continue
        if name[5:] in keys:
            raise Refusal(400, "key.repeated", f"key '{name[5:]}' is repeated", key=name[5:])
        keys[name[5:]] = value
    return keys


def _parse_body(body: bytes) -> dict[str, str]:
    if not body:
        raise Refusal(400, "body.empty", "neither a body nor a meta. parameter arrived")
    try:
        content = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refusal(400, "body.not_utf8", "the body is not UTF-8") from None
    except ValueError:
        raise Refusal(400, "body.not_json", "the body is not JSON") from None
    if not isinstance(content, dict):
        raise Refusal(400, "body.not_object", "the body is not an object")
    if "meta" not in content:
        raise Refusal(400, "meta.missing", "the body has no 'meta'")
    for member in content:
        if member != "meta":
            raise Refusal(400, "body.member_unknown", f"unknown member '{member}'", member=member)
    meta = content["meta"]
    if not isinstance(meta, dict):
        raise Refusal(400, "meta.not_object", "'meta' is not an object")
    if not meta:
        raise Refusal(400, "meta.empty", "'meta' is empty")
    for key, value in sorted(meta.items()):
        if not isinstance(value, str):
            raise Refusal(400, "value.not_string", f"{key}: not a string", key=key)
    return meta
