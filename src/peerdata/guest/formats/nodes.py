# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Peers with checked addresses and names: the parts of which configurations are made. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from peerdata.guest.endpoints import Endpoint, parse
from peerdata.guest.errors import Unusable
from peerdata.guest.words import Peer, Verdict

# What every configuration language takes as it is. No dot at the front or end, nothing that begins like an option.
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?")


class Options(NamedTuple):
    """What --prefix, --address-key, --name-key, --port, --scheme and --domain say."""

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
        """Of these the first that a peer has is its address."""
        return [self.address_key] if self.address_key else list(dict.fromkeys([f"{self.prefix}addr", "addr"]))

    @property
    def name_keys(self) -> list[str]:
        """The same for its name."""
        return [self.name_key] if self.name_key else list(dict.fromkeys([f"{self.prefix}name", "name"]))


class Node(NamedTuple):
    """A peer that can stand in a configuration."""

    uuid: str
    name: str
    named: bool
    """Whether it published its name; else ``name`` is the uuid."""
    endpoint: Endpoint
    place: int


class View(NamedTuple):
    """What is to be written."""

    peers: tuple[Peer, ...]
    own_uuid: str
    options: Options = Options()
    verdict: Verdict | None = None
    """Of `join`."""
    warn: Callable[[str], None] = lambda _: None

    def with_default_port(self, port: int | None) -> View:
        """The same, with the port of a format where the command named none."""
        return self._replace(options=self.options._replace(port=self.options.port or port))

    @property
    def founding(self) -> bool:
        """Whether this instance is to start the cluster now."""
        return self.verdict is not None and self.verdict.verdict == "bootstrap"

    @property
    def exact(self) -> bool:
        """Whether all founders start it together: a list without one of them would found another cluster."""
        return self.verdict is not None and self.founding and self.verdict.founders == "all"

    @property
    def listed(self) -> tuple[Peer, ...]:
        """Those to write of: who founds alone knows nobody yet, even if others wait on the roll already."""
        if self.verdict is not None and self.founding and self.verdict.founders == "one":
            return tuple(peer for peer in self.peers if peer.uuid == self.own_uuid)
        return self.peers

    def nodes(self, *, needed: bool = True) -> list[Node]:
        """
        The listed peers with address and name, in the order that all readers see.

        An unusable address, or a name that another before it has, is left out with a warning. Who has no address key
        is of another service and left out silently; a member of a cluster, with a warning.

        Raises:
            Unusable: who would be left out is a founder of those who must all be there (`exact`), or this instance
                itself, or the last of the other members; or nobody is left, and somebody is *needed*.
        """
        found: list[Node] = []
        names: set[str] = set()
        for peer in self.listed:
            try:
                node = self._node(peer)
                if node.name.lower() in names:
                    raise Unusable(f"instance {peer.uuid} has a name that another had before it: {node.name}")
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
        Warn that an instance is not written of.

        Raises:
            Unusable: in a cluster, where the list would not do without it.
        """
        if self.verdict is not None and (self.exact or uuid == self.own_uuid):
            raise Unusable(problem)
        self.warn(f"{problem}; left out")

    def check_left(self, found: list[Node]) -> None:
        """
        Of those who join a cluster, somebody must be there whom they can join.

        Raises:
            Unusable: there were other members, and none of them is *found*.
        """
        others = [peer for peer in self.listed if peer.uuid != self.own_uuid]
        if self.verdict is not None and others and all(node.uuid == self.own_uuid for node in found):
            raise Unusable(f"no other member of {self.verdict.cluster} can be written of: nobody would be left to join")

    def _node(self, peer: Peer) -> Node:
        options = self.options
        keys = options.address_keys
        key = next((key for key in keys if key in peer.meta), None)
        if key is None:
            raise _KeyMissing(f"instance {peer.uuid} has not published {' or '.join(keys)}")
        endpoint = parse(peer.meta[key])
        if endpoint is None:
            raise Unusable(f"instance {peer.uuid}: {key} is no address: {peer.meta[key][:60]!a}")
        name = next((peer.meta[key] for key in options.name_keys if key in peer.meta), None)
        if name is not None and not is_name(name):
            raise Unusable(f"instance {peer.uuid}: this is no name: {name[:60]!a}")
        return Node(peer.uuid, peer.uuid if name is None else name, name is not None, endpoint, peer.place)


class _KeyMissing(Unusable):
    """The peer has no such key."""


def is_name(text: str) -> bool:
    """Whether *text* can stand as a name in every configuration: 1 to 64 letters, digits, ``_``, inside also ``.-``."""
    return bool(_NAME.fullmatch(text))


def single_quoted(text: str) -> str:
    """*text* as one word of a shell, whatever stands in it."""
    return "'" + text.replace("'", "'\\''") + "'"
