# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The words of a guest, as values: peers, their list, a verdict. What an answer says is checked here. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from peerdata.guest.errors import NotReached

PREFIX = "from_server_"
"""Stands before every key that an instance published, wherever the service shows it."""

KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:. ")

MOST_KEY_CHARS = 243

POLL_S = 5.0
"""Where an answer does not say when to ask again, or not as a number that could be."""
MOST_POLL_S = 60.0

MOST_REVISION = 2**63 - 1

# What stands in configurations, file names and shell variables as it is. nova's are of this form.
_UUID = re.compile(r"[0-9A-Fa-f-]{1,36}")

_WRONG = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading raises where an answer is not of its form."""


class Peer(NamedTuple):
    """An instance that shares keys, or stands on the roll of a cluster."""

    uuid: str
    meta: Mapping[str, str]
    """Its shared keys, without `PREFIX`. What stands in it was written by that peer, and is to be trusted as such."""
    place: int
    """``joined`` of a peer, ``ordinal`` of a member: grows in the order that all readers see."""
    founder: bool = False
    """Of a member: of this term."""


class PeerList(NamedTuple):
    """The peers of a project at one revision, in the order in which each first shared."""

    revision: int
    own_uuid: str
    peers: tuple[Peer, ...]
    poll_after_s: float
    read_at: float = 0.0
    """Of a list that was kept: when it was good, in seconds since 1970; 0: now."""

    @property
    def others(self) -> tuple[Peer, ...]:
        """All but this instance."""
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
    """Of this instance on the roll; None: it is not on it."""
    formed: bool
    members: tuple[Peer, ...]
    why: str
    own_uuid: str
    revision: int
    poll_after_s: float


class Me(NamedTuple):
    """This instance, as the metadata service knows it."""

    uuid: str
    name: str
    hostname: str
    project_id: str
    meta: Mapping[str, str]
    """What it published, shared or not, without `PREFIX`."""


def apply(known: PeerList | None, document: Any) -> PeerList:
    """
    *known*, moved on by an answer of peer_data.json.

    Raises:
        NotReached: it is no such answer.
    """
    try:
        peers = {} if known is None or document["full"] else {peer.uuid: peer for peer in known.peers}
        for uuid in _list(document["removed"]):
            peers.pop(_uuid(uuid), None)
        for told in _list(document["peers"]):
            peers[_uuid(told["uuid"])] = Peer(told["uuid"], _meta(told["meta"]), _whole(told["joined"]))
        return PeerList(
            _whole(document["revision"]),
            _uuid(document["self"]),
            tuple(sorted(peers.values(), key=lambda peer: peer.place)),
            _poll_after_s(document),
        )
    except _WRONG as error:
        raise _garbled("peer_data.json", error) from error


def read_verdict(document: Any, cluster: str) -> Verdict:
    """
    The verdict in an answer of cluster/NAME.json.

    Args:
        cluster: The one that was asked for; its name stands in what others evaluate (etcd's token).

    Raises:
        NotReached: it is no such answer, or one of another cluster, or tells to start a cluster of others.
    """
    try:
        members = [
            Peer(_uuid(told["uuid"]), _meta(told["meta"]), _whole(told["ordinal"]), bool(told.get("founder")))
            for told in _list(document["members"])
        ]
        verdict = Verdict(
            cluster=_text(document["cluster"]),
            verdict=_text(document["verdict"]),
            size=None if document["size"] is None else _whole(document["size"]),
            founders=None if document["founders"] is None else _text(document["founders"]),
            closed=bool(document.get("closed")),
            term=_whole(document["term"]),
            ordinal=None if document["ordinal"] is None else _whole(document["ordinal"]),
            formed=bool(document["formed"]),
            members=tuple(members),
            why=_text(document["why"]),
            own_uuid=_uuid(document["self"]),
            revision=_whole(document["revision"]),
            poll_after_s=_poll_after_s(document),
        )
        if verdict.cluster != cluster:
            raise ValueError(f"it is of the cluster {verdict.cluster!a}")
        if verdict.founders not in (None, "one", "all"):
            raise ValueError(f"founders are {verdict.founders!a}")
        if verdict.verdict == "bootstrap" and verdict.own_uuid not in {member.uuid for member in members}:
            raise ValueError("it tells to bootstrap who is no member")
        return verdict
    except _WRONG as error:
        raise _garbled("the cluster's state", error) from error


def read_me(document: Any) -> Me:
    """
    The instance that meta_data.json describes.

    Raises:
        NotReached: it is no such document.
    """
    try:
        return Me(
            uuid=_uuid(document["uuid"]),
            name=_text(document.get("name") or ""),
            hostname=_text(document.get("hostname") or ""),
            project_id=_text(document.get("project_id") or ""),
            meta=_meta(document.get("meta") or {}, only_ours=True),
        )
    except _WRONG as error:
        raise _garbled("meta_data.json", error) from error


def _garbled(what: str, error: Exception) -> NotReached:
    return NotReached(f"what came back is not {what}: {type(error).__name__} {str(error)[:100]}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text should be")
    value.encode("utf-8")  # a lone surrogate raises: it could be written nowhere
    return value


def _uuid(value: object) -> str:
    if not _UUID.fullmatch(_text(value)):
        raise ValueError(f"{str(value)[:40]!a} is no uuid")
    return str(value)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_REVISION:
        raise TypeError(f"{type(value).__name__} where a number that could be should be")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where a list should be")  # an empty one of another kind is no list
    return value


def _meta(told: Mapping[str, object], *, only_ours: bool = False) -> dict[str, str]:
    ours = {_text(key): value for key, value in told.items() if key.startswith(PREFIX) or not only_ours}
    return {key[len(PREFIX) :] if key.startswith(PREFIX) else key: _text(value) for key, value in ours.items()}


def _poll_after_s(document: Mapping[str, Any]) -> float:
    told = document.get("poll_after_s")
    if isinstance(told, (int, float)) and not isinstance(told, bool) and told >= 0:  # NaN is not
        return float(min(told, MOST_POLL_S))
    return POLL_S
