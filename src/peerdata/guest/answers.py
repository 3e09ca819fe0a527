# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Turns the JSON of an answer into the values of `model`, and rejects everything that is not such an answer. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from peerdata.guest.errors import NotReached
from peerdata.guest.model import Me, Peer, PeerList, Verdict

PREFIX = "from_server_"
"""Begins the name of every published key, wherever the service shows it."""

DEFAULT_POLL_S = 5.0
"""Used where an answer has no usable ``poll_after_s``."""
MAX_POLL_S = 60.0

MAX_INTEGER = 2**63 - 1

# What configurations, file names and shell variables take unchanged. nova's uuids have this form.
_UUID = re.compile(r"[0-9A-Fa-f-]{1,36}")

# A mode of founding is evaluated by start scripts (format env), so it must be a plain word, known here or not.
_WORD = re.compile(r"[a-z0-9_-]{1,16}")

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What the functions below raise inside for an answer of another form."""


def apply(known: PeerList | None, document: Any) -> PeerList:
    """
    Update *known* by an answer of peer_data.json.

    Raises:
        NotReached: *document* is not such an answer.
    """
    try:
        peers = {} if known is None or document["full"] else {peer.uuid: peer for peer in known.peers}
        for uuid in _list(document["removed"]):
            peers.pop(_uuid(uuid), None)
        for item in _list(document["peers"]):
            peers[_uuid(item["uuid"])] = Peer(item["uuid"], _meta(item["meta"]), _whole(item["joined"]))
        return PeerList(
            _whole(document["revision"]),
            _uuid(document["self"]),
            tuple(sorted(peers.values(), key=lambda peer: peer.position)),
            _poll_after_s(document),
        )
    except _MALFORMED as error:
        raise _malformed("peer_data.json", error) from error


def read_verdict(document: Any, cluster: str) -> Verdict:
    """
    Read an answer of cluster/NAME.json.

    Args:
        cluster: The cluster that was asked for. Start scripts evaluate its name (it is in etcd's token), so an answer
            about another one is rejected.

    Raises:
        NotReached: *document* is not such an answer, or is about another cluster, or asks an instance to bootstrap that
            is not a member.
    """
    try:
        members = [
            Peer(_uuid(item["uuid"]), _meta(item["meta"]), _whole(item["ordinal"]), bool(item.get("founder")))
            for item in _list(document["members"])
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
            raise ValueError(f"it is about the cluster {verdict.cluster!a}")
        if verdict.founders is not None and not _WORD.fullmatch(verdict.founders):
            raise ValueError(f"founders is {verdict.founders!a}")
        if verdict.verdict == "bootstrap" and verdict.own_uuid not in {member.uuid for member in members}:
            raise ValueError("it asks an instance to bootstrap that is not a member")
        return verdict
    except _MALFORMED as error:
        raise _malformed("the state of a cluster", error) from error


def read_me(document: Any) -> Me:
    """
    Read the instance that meta_data.json describes.

    Raises:
        NotReached: *document* is not a meta_data.json.
    """
    try:
        return Me(
            uuid=_uuid(document["uuid"]),
            name=_text(document.get("name") or ""),
            hostname=_text(document.get("hostname") or ""),
            project_id=_text(document.get("project_id") or ""),
            meta=_meta(document.get("meta") or {}, only_published=True),
        )
    except _MALFORMED as error:
        raise _malformed("meta_data.json", error) from error


def _malformed(expected: str, error: Exception) -> NotReached:
    return NotReached(f"the answer is not {expected}: {type(error).__name__} {str(error)[:100]}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of text")
    value.encode("utf-8")  # a lone surrogate raises: it cannot be written anywhere
    return value


def _uuid(value: object) -> str:
    if not _UUID.fullmatch(_text(value)):
        raise ValueError(f"{str(value)[:40]!a} is not a uuid")
    return str(value)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INTEGER:
        raise TypeError(f"{type(value).__name__} instead of a whole number from 0 to 2^63-1")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} instead of a list")  # an empty text or object is not an empty list
    return value


def _meta(shown: Mapping[str, object], *, only_published: bool = False) -> dict[str, str]:
    published = {_text(key): value for key, value in shown.items() if key.startswith(PREFIX) or not only_published}
    return {key[len(PREFIX) :] if key.startswith(PREFIX) else key: _text(value) for key, value in published.items()}


def _poll_after_s(document: Mapping[str, Any]) -> float:
    value = document.get("poll_after_s")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:  # false for NaN
        return float(min(value, MAX_POLL_S))
    return DEFAULT_POLL_S
