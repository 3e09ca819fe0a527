# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A project at one revision: its peers, what changed when, and the bytes that say so, each rendered once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from peerdata.model import PREFIX, Changes, Peer


@dataclass(frozen=True, slots=True)
class _Shown:
    """A peer, and what shared.json and peer_data.json say of it."""

    peer: Peer
    in_shared: bytes
    in_peer_data: bytes


@dataclass(frozen=True, slots=True)
class News:
    """What a reader who knows a revision has to learn; ``peers`` are JSON objects, ready to be joined."""

    revision: int
    full: bool
    peers: list[bytes]
    removed: list[str]


class Board:
    """
    All that instances of one project can see of each other, at one revision. Never changed; `apply` makes the next.

    Args:
        shown: By uuid, in the order of ``joined``.
        removed: (uuid, revision) of those that left, oldest first, as far as known.
        forgotten: Revision up to which it is no longer known who left.
        changed_at: When this server saw the revision first (its own clock, seconds).
    """

    __slots__ = ("_shared_json", "_shown", "changed_at", "forgotten", "removed", "revision", "size")

    def __init__(
        self,
        revision: int,
        shown: dict[str, _Shown],
        removed: tuple[tuple[str, int], ...],
        forgotten: int,
        changed_at: float,
        size: int,
    ) -> None:
        self.revision = revision
        self._shown = shown
        self.removed = removed
        self.forgotten = forgotten
        self.changed_at = changed_at
        self.size = size
        """Bytes of memory, by estimate."""
        self._shared_json: bytes | None = None

    @classmethod
    def blank(cls, now: float) -> Board:
        """A project in which nothing was ever accepted."""
        return cls(0, {}, (), 0, now, _BOARD_BYTES)

    def __len__(self) -> int:
        return len(self._shown)

    def apply(self, changes: Changes, now: float) -> Board:
        """The board after *changes*, which begin at this revision or are full. Only what changed is rendered."""
        shown = {} if changes.full else dict(self._shown)
        for uuid, _ in changes.removed:
            shown.pop(uuid, None)
        # Who shares for the first time, or again after it left, joins last: the order of insertion is that of `joined`.
        for peer in changes.peers:
            shown[peer.uuid] = _show(peer)
        removed = changes.removed if changes.full else (*self.removed, *changes.removed)
        removed = tuple(left for left in removed if left[1] > changes.forgotten)
        size = _BOARD_BYTES + sum(_PEER_BYTES + 3 * len(one.in_peer_data) for one in shown.values())
        return Board(changes.revision, shown, removed, changes.forgotten, now, size)

    @property
    def shared_json(self) -> bytes:
        """The body of shared.json."""
        if self._shared_json is None:
            self._shared_json = b"[" + b",".join([one.in_shared for one in self._shown.values()]) + b"]"
        return self._shared_json

    def news(self, since: int | None, prefix: str) -> News:
        """What happened after *since*, of the keys that begin with *prefix*; everything where that cannot be told."""
        full = since is None or since > self.revision or since < self.forgotten
        after = 0 if full or since is None else since
        if after == self.revision and not full:
            return News(self.revision, full=False, peers=[], removed=[])
        changed = [one for one in self._shown.values() if one.peer.revision > after]
        listed = [
            (one.peer.uuid, one.in_peer_data if not prefix else _show_prefixed(one.peer, prefix)) for one in changed
        ]
        there = {uuid for uuid, rendered in listed if rendered}
        removed = [] if full else [uuid for uuid, revision in self.removed if revision > after and uuid not in there]
        return News(
            self.revision,
            full=full,
            peers=[rendered for _, rendered in listed if rendered],
            removed=list(dict.fromkeys(removed)),
        )


# Measured with tracemalloc: what a board and one of its peers hold beside the text itself.
_BOARD_BYTES = 2000
_PEER_BYTES = 900


def _show(peer: Peer) -> _Shown:
    return _Shown(
        peer,
        in_shared=render({"meta": prefixed(peer.meta.items()), "uuid": peer.uuid}),
        in_peer_data=_render_peer(peer, peer.meta.items()),
    )


def _show_prefixed(peer: Peer, prefix: str) -> bytes:
    """The peer with the keys that begin with *prefix*; nothing where it has none of them."""
    items = [(key, value) for key, value in peer.meta.items() if key.startswith(prefix)]
    return _render_peer(peer, items) if items else b""


def _render_peer(peer: Peer, items: Iterable[tuple[str, str]]) -> bytes:
    return render({"uuid": peer.uuid, "revision": peer.revision, "joined": peer.joined, "meta": prefixed(items)})


def prefixed(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Keys as instances see them, with ``from_server_`` in front."""
    return {PREFIX + key: value for key, value in items}


def render(value: object) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
