# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The user's own template: Python's `string.Template`, and one block that is repeated for each peer.

`string.Template` is in the standard library, is easy to read, and cannot run anything. A template engine with
expressions would be several hundred lines to carry, and one more language. For lists it lacks only the block:

    # upstreams, all $count of them
    %for peer
    server ${name} ${host}:${port};
    %end

A line ``%for peer SEPARATOR`` puts the separator between the repeats and drops the last newline of each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from string import Template

from peerdata.guest.errors import Misused, Unusable
from peerdata.guest.formats.nodes import Node, View, single_quoted

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@,=+\-]*")
"""Characters without a meaning in all configuration languages that we know of."""

_Line = tuple[int, str]
"""A line of the template, with its number."""


class _Text(Template):
    braceidpattern = r"(?:(?:meta|json|sh):[a-zA-Z0-9\-_:. ]{1,243}|[a-z_]+)"


class _Values(dict[str, str]):
    """The values of the names; published values by ``meta:``, ``json:`` and ``sh:`` before the key."""

    def __init__(self, facts: Mapping[str, str], meta: Mapping[str, str], owner: str) -> None:
        super().__init__(facts)
        self._meta = meta
        self._owner = owner

    def __missing__(self, name: str) -> str:
        how, colon, key = name.partition(":")
        if not colon:
            raise KeyError(name)
        if key not in self._meta:
            raise Unusable(f"{self._owner} has not published {key}")
        value = self._meta[key]
        if how == "json":
            return json.dumps(value)
        if how == "sh":
            return single_quoted(value)
        if not _PLAIN.fullmatch(value):
            raise Unusable(
                f"{self._owner}: {key} contains more than letters, digits and _.:/@,=+- ; use ${{json:{key}}} or "
                f"${{sh:{key}}} where it can be quoted"
            )
        return value


def render(template: str, view: View) -> str:
    """
    Fill in *template*.

    Raises:
        Misused: it is invalid, or needs an ordinal without a verdict; the message has the number of the line.
        Unusable: a peer lacks a key, or ``meta:`` would insert a value that is not plain text.
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
        if line.startswith("%for peer"):
            separator = line[len("%for peer") :].strip("\n").lstrip(" ")
            out.append(_repeat(_block(lines, number), separator, general, nodes, view))
        else:
            out.append(_fill(line, number, _Values(general, {}, "the project")))
    return "".join(out)


def _block(lines: Iterator[_Line], begins: int) -> list[_Line]:
    """Take the lines up to ``%end``."""
    block: list[_Line] = []
    for number, line in lines:
        if line.rstrip() == "%end":
            return block
        block.append((number, line))
    raise Misused(f"line {begins} of the template: %for peer without %end")


def _repeat(
    block: list[_Line], separator: str, general: Mapping[str, str], nodes: Mapping[str, Node], view: View
) -> str:
    """Fill in *block* once for each listed peer that has a node."""
    repeats = []
    for peer in view.listed:
        if peer.uuid not in nodes:
            continue
        facts = {**general, **_facts(nodes[peer.uuid], view)}
        values = _Values(facts, peer.meta, f"instance {peer.uuid}")
        repeats.append("".join(_fill(line, number, values) for number, line in block))
    if not separator:
        return "".join(repeats)
    return separator.join(repeat[:-1] if repeat.endswith("\n") else repeat for repeat in repeats) + "\n"


def _facts(node: Node, view: View) -> dict[str, str]:
    port = node.endpoint.port or view.options.port
    return {
        "uuid": node.uuid,
        "name": node.name,
        "host": node.endpoint.bracketed,
        "address": node.endpoint.host,
        "port": str(port) if port else "",
        "endpoint": node.endpoint.with_port(port),
        "ordinal": str(node.position),
    }


def _refuse_ordinals(template: str) -> None:
    """Only members have ordinals: the order of peers gives other numbers, which would be those of other servers."""
    for number, line in enumerate(template.splitlines(), start=1):
        if any("ordinal" in (found["named"], found["braced"]) for found in _Text.pattern.finditer(line)):
            raise Misused(f"line {number} of the template: ${{ordinal}} is for `join` only: peers have no ordinals")


def _fill(line: str, number: int, values: _Values) -> str:
    try:
        return _Text(line).substitute(values)
    except KeyError as error:
        raise Misused(f"line {number} of the template: there is no {error.args[0]!r} here") from None
    except ValueError as error:
        raise Misused(f"line {number} of the template: {error}") from None
