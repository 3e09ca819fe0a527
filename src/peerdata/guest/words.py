# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The words of a guest, as values: peers, their list, a verdict. What an answer says is checked here. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from peerdata.guest.errors import NotReached

PREFIX = "from_server_"
"""Stands before every key that an instance published, wherever the service shows it."""

KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:. ")

POLL_S = 5.0
"""Where an answer does not say when to ask again."""


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
        for uuid in document["removed"]:
            peers.pop(uuid, None)
        for told in document["peers"]:
            peers[told["uuid"]] = Peer(_text(told["uuid"]), _meta(told["meta"]), int(told["joined"]))
        return PeerList(
            int(document["revision"]),
            _text(document["self"]),
            tuple(sorted(peers.values(), key=lambda peer: peer.place)),
            _poll_after_s(document),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _garbled("peer_data.json", error) from error


def read_verdict(document: Any) -> Verdict:
    """
    The verdict in an answer of cluster/NAME.json.

    Raises:
        NotReached: it is no such answer.
    """
    try:
        members = [
            Peer(_text(told["uuid"]), _meta(told["meta"]), int(told["ordinal"]), bool(told.get("founder")))
            for told in document["members"]
        ]
        return Verdict(
            cluster=_text(document["cluster"]),
            verdict=_text(document["verdict"]),
            size=None if document["size"] is None else int(document["size"]),
            founders=None if document["founders"] is None else _text(document["founders"]),
            closed=bool(document.get("closed")),
            term=int(document["term"]),
            ordinal=None if document["ordinal"] is None else int(document["ordinal"]),
            formed=bool(document["formed"]),
            members=tuple(members),
            why=_text(document["why"]),
            own_uuid=_text(document["self"]),
            revision=int(document["revision"]),
            poll_after_s=_poll_after_s(document),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _garbled("the cluster's state", error) from error


def read_me(document: Any) -> Me:
    """
    The instance that meta_data.json describes.

    Raises:
        NotReached: it is no such document.
    """
    try:
        return Me(
            uuid=_text(document["uuid"]),
            name=_text(document.get("name") or ""),
            hostname=_text(document.get("hostname") or ""),
            project_id=_text(document.get("project_id") or ""),
            meta=_meta(document.get("meta") or {}, only_ours=True),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _garbled("meta_data.json", error) from error


def _garbled(what: str, error: Exception) -> NotReached:
    return NotReached(f"what came back is not {what}: {type(error).__name__} {error}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _meta(told: Mapping[str, object], *, only_ours: bool = False) -> dict[str, str]:
    ours = {key: value for key, value in told.items() if key.startswith(PREFIX) or not only_ours}
    return {key[len(PREFIX) :] if key.startswith(PREFIX) else key: _text(value) for key, value in ours.items()}


def _poll_after_s(document: Mapping[str, Any]) -> float:
    return min(60.0, max(0.0, float(document.get("poll_after_s", POLL_S))))
