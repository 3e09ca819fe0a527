# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The checked parts of which formats are made: nodes with an address and a name, from what peers published. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from peerdata.guest.endpoints import Endpoint, parse
from peerdata.guest.errors import Misused, Unusable
from peerdata.guest.model import Peer, Verdict

# What every configuration language takes unchanged: no dot at either end, nothing that looks like an option.
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?")

MAX_SHOWN_CHARS = 60
"""How much of an invalid value an error message repeats."""


class Options(NamedTuple):
    """The options --prefix, --address-key, --name-key, --port, --scheme and --domain."""

    prefix: str = ""
    address_key: str = ""
    """Empty: ``{prefix}addr``, else ``addr``."""
    name_key: str = ""
    """Empty: ``{prefix}name``, else ``name``, else the uuid."""
    port: int | None = None
    scheme: str = "http"
    domain: str = ""

    @property
    def address_keys(self) -> list[str]:
        """The keys that may hold a peer's address, best first."""
        return [self.address_key] if self.address_key else list(dict.fromkeys([f"{self.prefix}addr", "addr"]))

    @property
    def name_keys(self) -> list[str]:
        """The keys that may hold a peer's name, best first."""
        return [self.name_key] if self.name_key else list(dict.fromkeys([f"{self.prefix}name", "name"]))


class Node(NamedTuple):
    """A peer that can be written into a configuration."""

    uuid: str
    name: str
    named: bool
    """Whether the peer published its name; otherwise ``name`` is the uuid."""
    endpoint: Endpoint
    position: int
    """See `Peer.position`."""


class View(NamedTuple):
    """Everything that a format may write."""

    peers: tuple[Peer, ...]
    own_uuid: str
    options: Options = Options()
    verdict: Verdict | None = None
    """With `join`: the verdict, and ``peers`` are the members of the cluster."""
    warn: Callable[[str], None] = lambda _: None

    def with_default_port(self, port: int | None) -> View:
        """The same view, with *port* where the command has no --port."""
        return self._replace(options=self.options._replace(port=self.options.port or port))

    @property
    def founding(self) -> bool:
        """Whether this instance is to start the cluster now."""
        return self.verdict is not None and self.verdict.verdict == "bootstrap"

    @property
    def listed(self) -> tuple[Peer, ...]:
        """
        The peers to write. While founding, only the founders: others may be waiting already, but have not joined yet.
        """
        if self.founding:
            return tuple(peer for peer in self.peers if peer.founder or peer.uuid == self.own_uuid)
        return self.peers

    def nodes(self, *, needed: bool = True) -> list[Node]:
        """
        The listed peers with address and name, in the order that is the same for all readers.

        A peer is left out with a warning if its address is invalid, or if a peer before it has the same name. A peer
        without an address key belongs to another service and is left out silently; a member of a cluster is left out
        with a warning.

        Raises:
            Unusable: a founder would be left out while founding, or this instance itself, or all other members of the
                cluster; or the result is empty and *needed*.
        """
        found: list[Node] = []
        names: set[str] = set()
        for peer in self.listed:
            try:
                node = self._node(peer)
                if node.name.lower() in names:
                    raise Unusable(f"instance {peer.uuid} has the same name as a peer before it: {node.name}")
            except _KeyMissing as missing:
                if self.verdict is not None:
                    self.leave_out(peer.uuid, missing.message)
                continue
            except Unusable as error:
                self.leave_out(peer.uuid, error.message)
                continue
            names.add(node.name.lower())
            found.append(node)
        self.check_left(found)
        if not found and needed:
            raise Unusable(f"no peer has published {' or '.join(self.options.address_keys)}: nothing to write")
        return found

    def leave_out(self, uuid: str, problem: str) -> None:
        """
        Warn that an instance is left out.

        Raises:
            Unusable: the list of a cluster cannot be without it. All founders start the cluster together, so a list
                that lacks one of them would found another cluster.
        """
        if self.verdict is not None and (self.founding or uuid == self.own_uuid):
            raise Unusable(problem)
        self.warn(f"{problem}; left out")

    def check_left(self, found: list[Node]) -> None:
        """
        Check that a member which joins has another member to join.

        Raises:
            Unusable: there were other members, and none of them is in *found*.
        """
        others = [peer for peer in self.listed if peer.uuid != self.own_uuid]
        if self.verdict is not None and others and all(node.uuid == self.own_uuid for node in found):
            raise Unusable(f"no other member of {self.verdict.cluster} can be written: there would be none to join")

    def _node(self, peer: Peer) -> Node:
        options = self.options
        keys = options.address_keys
        key = next((key for key in keys if key in peer.meta), None)
        if key is None:
            raise _KeyMissing(f"instance {peer.uuid} has not published {' or '.join(keys)}")
        endpoint = parse(peer.meta[key])
        if endpoint is None:
            raise Unusable(f"instance {peer.uuid}: {key} is not an address: {_shown(peer.meta[key])}")
        name = next((peer.meta[key] for key in options.name_keys if key in peer.meta), None)
        if name is not None and not is_name(name):
            raise Unusable(f"instance {peer.uuid}: not a valid name: {_shown(name)}")
        return Node(peer.uuid, peer.uuid if name is None else name, name is not None, endpoint, peer.position)


class _KeyMissing(Unusable):
    """The peer has not published any of the address keys."""


def check_offered(meta: Mapping[str, str], options: Options, *, is_written: bool) -> bool:
    """
    Check what an instance is about to publish, because that cannot be changed afterwards.

    Args:
        meta: The keys to be published by `join`.
        is_written: Whether a format will write this instance's address and name.

    Returns:
        Whether *meta* has an address under one of the address keys.

    Raises:
        Misused: an address or a name in *meta* is invalid.
    """
    address_key = next((key for key in options.address_keys if key in meta), None)
    name_key = next((key for key in options.name_keys if key in meta), None)
    address_keys = [f"{options.prefix}addr"]
    if is_written and address_key is not None:
        address_keys.append(address_key)
    for key in address_keys:
        if key in meta and parse(meta[key]) is None:
            raise Misused(f"{key} is not an address: {_shown(meta[key])}; nothing was published")
    if is_written and name_key is not None and not is_name(meta[name_key]):
        raise Misused(f"{name_key} is not a valid name: {_shown(meta[name_key])}; nothing was published")
    return address_key is not None


def check_published(key: str, value: str) -> None:
    """
    Check an address that this instance has published before.

    Raises:
        Unusable: *value* is not an address.
    """
    if parse(value) is None:
        raise Unusable(
            f"this instance has published {key} for good, and it is not an address: {_shown(value)}; use another name "
            "for the cluster, or another key with --address-key"
        )


def is_name(text: str) -> bool:
    """Whether *text* is a name in every configuration: 1 to 64 letters, digits, ``_``, and inside also ``.-``."""
    return bool(_NAME.fullmatch(text))


def single_quoted(text: str) -> str:
    """Quote *text* as one word of a shell, whatever it contains."""
    return "'" + text.replace("'", "'\\''") + "'"


def _shown(value: str) -> str:
    return ascii(value[:MAX_SHOWN_CHARS])
