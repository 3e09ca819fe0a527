# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The values of the library: a peer, the list of peers, a verdict, this instance. And the bounds of keys and names. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:. ")
MAX_KEY_CHARS = 243
MAX_VALUE_CHARS = 255
"""Source of the three: docs/protocol.md, "Publishing"."""

MAX_CLUSTER_SIZE = 1000
FOUNDERS = ("one", "all")
"""The modes in which a cluster can be founded. Source of both: docs/protocol.md, "Form a cluster"."""


class Peer(NamedTuple):
    """An instance that shares keys, or is a member of a cluster."""

    uuid: str
    meta: Mapping[str, str]
    """Its shared keys, without the prefix ``from_server_``. Only the peer itself vouches for them."""
    position: int
    """``joined`` of a peer, ``ordinal`` of a member: grows in the order that is the same for all readers."""
    founder: bool = False
    """Whether a member is a founder of this term."""


class PeerList(NamedTuple):
    """The peers of a project at one revision, in the order in which each first shared a key."""

    revision: int
    own_uuid: str
    peers: tuple[Peer, ...]
    poll_after_s: float
    read_at: float = 0.0
    """When a list from the state directory was received, in seconds since 1970; 0: just now."""

    @property
    def others(self) -> tuple[Peer, ...]:
        """All peers but this instance."""
        return tuple(peer for peer in self.peers if peer.uuid != self.own_uuid)


class Verdict(NamedTuple):
    """What an instance is to do about a cluster. Source: docs/protocol.md, "Form a cluster"."""

    cluster: str
    verdict: str
    """``wait``, ``bootstrap``, ``join`` or ``full``."""
    size: int | None
    founders: str | None
    closed: bool
    term: int
    ordinal: int | None
    """This instance's own ordinal; None: it is not a member."""
    formed: bool
    members: tuple[Peer, ...]
    """With ``bootstrap`` and several founders: only these."""
    why: str
    own_uuid: str
    revision: int
    poll_after_s: float

    @property
    def has_several_founders(self) -> bool:
        """Whether several members start the cluster together, instead of one alone."""
        return self.founders not in (None, "one")


class Me(NamedTuple):
    """This instance, as the metadata service describes it."""

    uuid: str
    name: str
    hostname: str
    project_id: str
    meta: Mapping[str, str]
    """What it has published, shared or not, without the prefix ``from_server_``."""
