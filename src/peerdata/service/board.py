# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A project at one revision: its peers, what changed when, and the bytes that say so, each rendered once.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from peerdata.model import PREFIX, Changes, Peer


@dataclass(frozen=True, slots=True)
class _Shown:
    """A peer, and what shared.json and peer_data.json say of it."""

    peer: Peer
    in_shared: bytes
    in_peer_data: bytes


class News(NamedTuple):
    """What a reader who knows a revision has to learn; ``peers`` are JSON objects, ready to be joined."""

    revision: int
    full: bool
    peers: list[bytes]
    removed: list[str]

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.full or self.peers or self.removed)


class Board:
    """
    All that instances of one project can see of each other, at one revision.

    `apply` moves it on, at a cost that grows with what changed. Reading it takes no wait, so whoever
    renders an answer between two waits renders one revision.

    Args:
        now: When it is made (this server's own clock, seconds).
    """

    __slots__ = (
        "_changed",
        "_shared_json",
        "_shown",
        "changed_at",
        "checked_at",
        "forgotten",
        "removed",
        "revision",
        "size",
    )

    def __init__(self, now: float) -> None:
        self.revision = 0
        self._shown: dict[str, _Shown] = {}
        """By uuid, in the order of ``joined``."""
        self._changed: list[tuple[int, str]] = []
        """(revision, uuid) of changes to peers, ascending; the last one of each peer is its ``revision``."""
        self.removed: tuple[tuple[str, int], ...] = ()
        """(uuid, revision) of those that left, oldest first, after ``forgotten``."""
        self.forgotten = 0
        """Revision up to which it is no longer known who left."""
        self.changed_at = now
        """When this server saw the revision first."""
        self.checked_at: int | None = None
        """The store's version at which this was last known to be all; None: never, or it has none."""
        self.size = _BOARD_BYTES
        """Bytes of memory, by estimate."""
        self._shared_json: bytes | None = None

    def __len__(self) -> int:
        return len(self._shown)

    def apply(self, changes: Changes, now: float) -> None:
        """Move on by *changes*, which begin at this revision or are full. Only what changed is rendered."""
        if changes.full:
            self._shown, self._changed, self.removed, self.size = {}, [], (), _BOARD_BYTES
        for uuid, _ in changes.removed:
            self._take_out(uuid)
        # Who shares for the first time, or again after it left, joins last, so the order in which uuids were first put
        # in is that of `joined`; a dict keeps it when a value is replaced.
        for peer in changes.peers:
            shown = _show(peer)
            if before := self._shown.get(peer.uuid):
                self.size -= _size(before)
            self._shown[peer.uuid] = shown
            self.size += _size(shown)
        self._changed += sorted((peer.revision, peer.uuid) for peer in changes.peers)
        if len(self._changed) > 2 * len(self._shown) + 100:
            self._changed = sorted((one.peer.revision, one.peer.uuid) for one in self._shown.values())
        if changes.removed or changes.forgotten != self.forgotten:
            self.removed = tuple(left for left in (*self.removed, *changes.removed) if left[1] > changes.forgotten)
        self.revision, self.forgotten, self.changed_at = changes.revision, changes.forgotten, now
        self._shared_json = None

    def _take_out(self, uuid: str) -> None:
        if shown := self._shown.pop(uuid, None):
            self.size -= _size(shown)

    @property
    def shared_json(self) -> bytes:
        """The body of shared.json."""
        if self._shared_json is None:
            self._shared_json = b"[" + b",".join([one.in_shared for one in self._shown.values()]) + b"]"
        return self._shared_json

    def news(self, since: int | None, prefix: str) -> News:
        """What happened after *since*, of the keys that begin with *prefix*; everything where that cannot be told."""
        if since is None or since > self.revision or since < self.forgotten:
            listed = [rendered for one in self._shown.values() if (rendered := _choose(one, prefix))]
            return News(self.revision, full=True, peers=listed, removed=[])
        if since == self.revision:
            return News(self.revision, full=False, peers=[], removed=[])
        there = {one.peer.uuid: rendered for one in self._changed_after(since) if (rendered := _choose(one, prefix))}
        newest_first = reversed(self.removed)
        left = [uuid for uuid, _ in takewhile(lambda left: left[1] > since, newest_first) if uuid not in there]
        removed = list(dict.fromkeys(reversed(left)))
        return News(self.revision, full=False, peers=list(there.values()), removed=removed)

    def _changed_after(self, since: int) -> list[_Shown]:
        """The peers whose shared keys changed after *since*, in the order of ``joined``."""
        first = bisect_right(self._changed, since, key=lambda change: change[0])
        uuids = {uuid for _, uuid in self._changed[first:]}
        return sorted((self._shown[uuid] for uuid in uuids if uuid in self._shown), key=lambda one: one.peer.joined)


# Measured with tracemalloc: what a board and one of its peers hold beside the text itself.
_BOARD_BYTES = 2000
_PEER_BYTES = 900


def _show(peer: Peer) -> _Shown:
    return _Shown(
        peer,
        in_shared=render({"meta": prefixed(peer.meta.items()), "uuid": peer.uuid}),
        in_peer_data=_render_peer(peer, peer.meta.items()),
    )


def _choose(shown: _Shown, prefix: str) -> bytes:
    """The peer with the keys that begin with *prefix*; nothing where it has none of them."""
    if not prefix:
        return shown.in_peer_data
    items = [(key, value) for key, value in shown.peer.meta.items() if key.startswith(prefix)]
    return _render_peer(shown.peer, items) if items else b""


def _size(shown: _Shown) -> int:
    return _PEER_BYTES + 3 * len(shown.in_peer_data)


def _render_peer(peer: Peer, items: Iterable[tuple[str, str]]) -> bytes:
    return render({"uuid": peer.uuid, "revision": peer.revision, "joined": peer.joined, "meta": prefixed(items)})


def prefixed(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Keys as instances see them, with ``from_server_`` in front."""
    return {PREFIX + key: value for key, value in items}


def render(value: object) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
