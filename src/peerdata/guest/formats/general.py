# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Formats for programs, people, shells and the system: json, table, env, hosts, addresses.
"""

from __future__ import annotations

import json
import re

from peerdata.guest.endpoints import is_ipv4, is_ipv6
from peerdata.guest.formats.nodes import Node, View, single_quoted
from peerdata.guest.progress import printable

_OWN_NAMES = ("localhost", "ip6-", "broadcasthost")
"""Names of the machine itself in a hosts file; a peer may not have them."""


def as_json(view: View) -> str:
    """
    An array of peers, or with `join` an object: the verdict with its members. Keys are without ``from_server_``.

    Characters outside ASCII are escaped, so nothing in it can control a terminal.
    """
    verdict = view.verdict
    peers: list[dict[str, object]] = []
    for peer in view.peers:
        shown = {"uuid": peer.uuid, "self": peer.uuid == view.own_uuid, "meta": dict(sorted(peer.meta.items()))}
        peers.append({**shown, "ordinal": peer.position, "founder": peer.founder} if verdict else shown)
    if verdict is None:
        return json.dumps(peers, indent=1) + "\n"
    facts = {name: value for name, value in verdict._asdict().items() if name not in ("members", "own_uuid")}
    return json.dumps({**facts, "self": verdict.own_uuid, "members": peers}, indent=1) + "\n"


def as_table(view: View) -> str:
    """A line for each key; characters that are not printable are shown as escapes."""
    rows = [("INSTANCE", "KEY", "VALUE")]
    for peer in view.peers:
        mark = " *" if peer.uuid == view.own_uuid else ""
        rows += [(peer.uuid + mark, printable(key), printable(value)) for key, value in sorted(peer.meta.items())]
        if not peer.meta:
            rows.append((peer.uuid + mark, "-", "-"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "".join(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip() + "\n" for row in rows)


def as_env(view: View) -> str:
    """
    Assignments in single quotes, for ``eval`` and for systemd's EnvironmentFile.

    A key becomes part of a variable's name: in capitals, with ``_`` for everything but letters and digits. If two keys
    give the same name, the first in alphabetical order is used. A value with control characters is left out, with a
    warning.
    """
    lines = {}
    if view.verdict is not None:
        for name in ("cluster", "verdict", "size", "founders", "term", "ordinal", "formed"):
            value = getattr(view.verdict, name)
            lines[name.upper()] = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    lines["SELF"] = view.own_uuid
    lines["COUNT"] = str(len(view.peers))
    lines["ADDRESSES"] = " ".join(node.endpoint.plain(view.options.port) for node in view.nodes(needed=False))
    for number, peer in enumerate(view.peers, start=1):
        lines[f"{number}_UUID"] = peer.uuid
        for key, value in sorted(peer.meta.items()):
            name = f"{number}_{re.sub('[^A-Z0-9]', '_', key.upper())}"
            if any(character < " " or character == "\x7f" for character in value):
                view.warn(f"instance {peer.uuid}: the value of {key!a} contains control characters; left out")
            else:
                lines.setdefault(name, value)
    return "".join(f"PEERDATA_{name}={single_quoted(value)}\n" for name, value in lines.items())


def as_hosts(view: View) -> str:
    """
    Lines ``ADDRESS NAME``; with a domain, ``ADDRESS NAME.DOMAIN NAME``.

    A name has one label: a peer may not become ``www.example.org`` or ``localhost`` for this machine.
    """
    domain = view.options.domain.strip(".")
    lines = []
    written: list[Node] = []
    for node in view.nodes(needed=False):
        host = node.endpoint.host
        lowered = node.name.lower()
        wrong = "." in lowered or "_" in lowered or lowered.startswith(_OWN_NAMES)
        if wrong or not (is_ipv4(host) or is_ipv6(host)):
            view.leave_out(node.uuid, f"instance {node.uuid}: {node.name} at {host} cannot be a line of a hosts file")
            continue
        written.append(node)
        lines.append(f"{host} {node.name}.{domain} {node.name}\n" if domain else f"{host} {node.name}\n")
    view.check_left(written)
    return "".join(lines)


def as_addresses(view: View) -> str:
    """The host of each peer, with a port where the peer or --port gives one; one on each line."""
    return "".join(f"{node.endpoint.plain(view.options.port)}\n" for node in view.nodes(needed=False))
