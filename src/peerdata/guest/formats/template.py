# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The user's own template: Python's `string.Template`, and one block that is repeated for each peer.

`string.Template` because it is in the standard library, everybody can read it, and it cannot run anything: an engine
with expressions would be several hundred lines to carry, and one more language. What it lacks for lists is the block:

    # upstreams, all $count of them
    %for peer
    server ${name} ${host}:${port};
    %end

A line ``%for peer SEPARATOR`` puts the separator between the repeats and drops the last newline of each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from string import Template

from peerdata.guest.errors import Misused, Unusable
from peerdata.guest.formats.nodes import View, single_quoted

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@,=+\-]*")
"""What has no meaning in any configuration language that we know of."""


class _Text(Template):
    braceidpattern = r"(?:(?:meta|json|sh):[a-zA-Z0-9\-_:. ]{1,243}|[a-z_]+)"


class _Values(dict[str, str]):
    """What stands for the names; published values by ``meta:``, ``json:`` and ``sh:`` before the key."""

    def __init__(self, facts: Mapping[str, str], meta: Mapping[str, str], whose: str) -> None:
        super().__init__(facts)
        self._meta = meta
        self._whose = whose

    def __missing__(self, name: str) -> str:
        how, colon, key = name.partition(":")
        if not colon:
            raise KeyError(name)
        if key not in self._meta:
            raise Unusable(f"{self._whose} has not published {key}")
        value = self._meta[key]
        if how == "json":
            return json.dumps(value)
        if how == "sh":
            return single_quoted(value)
        if not _PLAIN.fullmatch(value):
            raise Unusable(
                f"{self._whose}: {key} holds more than letters, digits and _.:/@,=+- ; say ${{json:{key}}} or "
                f"${{sh:{key}}} where that can be quoted"
            )
        return value


def render(template: str, view: View) -> str:
    """
    *template*, filled in.

    Raises:
        Misused: it cannot be understood, or asks for an ordinal without a verdict; the message has the line.
        Unusable: a peer lacks a key, or a value would not be plain text where ``meta:`` puts it as it is.
    """
    if view.verdict is None:
        _refuse_ordinals(template)
    nodes = {node.uuid: node for node in view.nodes(needed=False)}
    general = {
        "count": str(len(nodes)),
        "self": view.own_uuid,
        "verdict": view.verdict.verdict if view.verdict else "",
        "cluster": view.verdict.cluster if view.verdict else "",
        "term": str(view.verdict.term) if view.verdict else "",
    }
    out: list[str] = []
    lines = iter(enumerate(template.splitlines(keepends=True), start=1))
    for number, line in lines:
        if not line.startswith("%for peer"):
            out.append(_fill(line, number, _Values(general, {}, "the project")))
            continue
        separator = line[len("%for peer") :].strip("\n").lstrip(" ")
        block: list[tuple[int, str]] = []
        for inner_number, inner in lines:
            if inner.rstrip() == "%end":
                break
            block.append((inner_number, inner))
        else:
            raise Misused(f"line {number} of the template: %for peer without %end")
        repeats = []
        for peer in view.listed:
            node = nodes.get(peer.uuid)
            if node is None:
                continue
            port = node.endpoint.port or view.options.port
            facts = {
                **general,
                "uuid": node.uuid,
                "name": node.name,
                "host": node.endpoint.bracketed,
                "address": node.endpoint.host,
                "port": str(port) if port else "",
                "endpoint": node.endpoint.with_port(port),
                "ordinal": str(node.place),
            }
            values = _Values(facts, peer.meta, f"instance {peer.uuid}")
            repeats.append("".join(_fill(inner, at, values) for at, inner in block))
        if separator:
            repeats = [repeat[:-1] if repeat.endswith("\n") else repeat for repeat in repeats]
            out.append(separator.join(repeats) + "\n")
        else:
            out += repeats
    return "".join(out)


def _refuse_ordinals(template: str) -> None:
    """An ordinal is a place on a roll; the place among peers is another number, and would be another server's."""
    for number, line in enumerate(template.splitlines(), start=1):
        if any("ordinal" in (found["named"], found["braced"]) for found in _Text.pattern.finditer(line)):
            raise Misused(
                f"line {number} of the template: ${{ordinal}} is for `join` alone: it is the place on the roll"
            )


def _fill(line: str, number: int, values: _Values) -> str:
    try:
        return _Text(line).substitute(values)
    except KeyError as error:
        raise Misused(f"line {number} of the template: there is no {error.args[0]!r} here") from None
    except ValueError as error:
        raise Misused(f"line {number} of the template: {error}") from None
