# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A project at one revision: its peers, what changed when, and the bytes that say so, each rendered once.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from peerdata.model import PREFIX, Changes, Peer


class _Shown(NamedTuple):
    """A peer: when it joined, when it changed last, and what peer_data.json says of it."""

    joined: int
    revision: int
    rendered: bytes


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
        "_changed_at",
        "_changed_uuid",
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
        # Of all changes to peers: the revisions, ascending, and whose they were. The last of each peer is its own.
        self._changed_at = array("q")
        self._changed_uuid: list[str] = []
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
            self._shown, self.removed, self.size = {}, (), _BOARD_BYTES
            self._note_changes(())
        for uuid, _ in changes.removed:
            self._take_out(uuid)
        # Who shares for the first time, or again after it left, joins last, so the order in which uuids were first put
        # in is that of `joined`; a dict keeps it when a value is replaced.
        for peer in changes.peers:
            shown = _Shown(peer.joined, peer.revision, _render_peer(peer))
            if before := self._shown.get(peer.uuid):
                self.size -= _size(before)
            self._shown[peer.uuid] = shown
            self.size += _size(shown)
        by_revision = sorted((peer.revision, peer.uuid) for peer in changes.peers)
        self._changed_at.extend(revision for revision, _ in by_revision)
        self._changed_uuid.extend(uuid for _, uuid in by_revision)
        if len(self._changed_at) > 2 * len(self._shown) + 100:
            self._note_changes(sorted((one.revision, uuid) for uuid, one in self._shown.items()))
        if changes.removed or changes.forgotten != self.forgotten:
            self.removed = tuple(left for left in (*self.removed, *changes.removed) if left[1] > changes.forgotten)
        self.revision, self.forgotten, self.changed_at = changes.revision, changes.forgotten, now
        self._shared_json = None

    def _note_changes(self, by_revision: Sequence[tuple[int, str]]) -> None:
        """Let these be all changes that are known."""
        self._changed_at = array("q", (revision for revision, _ in by_revision))
        self._changed_uuid = [uuid for _, uuid in by_revision]

    def _take_out(self, uuid: str) -> None:
        if shown := self._shown.pop(uuid, None):
            self.size -= _size(shown)

    @property
    def shared_json(self) -> bytes:
        """The body of shared.json."""
        if self._shared_json is None:
            self._shared_json = b"[" + b",".join([_as_shared(one) for one in self._shown.values()]) + b"]"
        return self._shared_json

    def news(self, since: int | None, prefix: str) -> News:
        """What happened after *since*, of the keys that begin with *prefix*; everything where that cannot be told."""
        if since is None or since > self.revision or since < self.forgotten:
            listed = [rendered for one in self._shown.values() if (rendered := _choose(one, prefix))]
            return News(self.revision, full=True, peers=listed, removed=[])
        if since == self.revision:
            return News(self.revision, full=False, peers=[], removed=[])
        there = {uuid: rendered for uuid, one in self._changed_after(since) if (rendered := _choose(one, prefix))}
        newest_first = reversed(self.removed)
        left = [uuid for uuid, _ in takewhile(lambda left: left[1] > since, newest_first) if uuid not in there]
        removed = list(dict.fromkeys(reversed(left)))
        return News(self.revision, full=False, peers=list(there.values()), removed=removed)

    def _changed_after(self, since: int) -> list[tuple[str, _Shown]]:
        """The peers whose shared keys changed after *since*, in the order of ``joined``."""
        uuids = set(self._changed_uuid[bisect_right(self._changed_at, since) :])
        found = [(uuid, shown) for uuid in uuids if (shown := self._shown.get(uuid))]
        return sorted(found, key=lambda one: one[1].joined)


# Measured (tracemalloc, resident memory): what a board and one of its peers hold beside the rendered text.
_BOARD_BYTES = 2000
_PEER_BYTES = 240


def _size(shown: _Shown) -> int:
    # The text is there once, and once more in shared.json where that is asked for.
    return _PEER_BYTES + 2 * len(shown.rendered)


def _render_peer(peer: Peer) -> bytes:
    return render(
        {"uuid": peer.uuid, "revision": peer.revision, "joined": peer.joined, "meta": prefixed(peer.meta.items())}
    )


def _as_shared(shown: _Shown) -> bytes:
    """What shared.json says of the peer: the same JSON texts, cut out of what `_render_peer` made."""
    head, _, rest = shown.rendered.partition(b',"meta":')
    uuid = head[len(b'{"uuid":') : head.index(b',"revision":')]
    return b'{"meta":%b,"uuid":%b}' % (rest[:-1], uuid)


def _choose(shown: _Shown, prefix: str) -> bytes:
    """The peer with the keys that begin with *prefix*; nothing where it has none of them."""
    return _choose_again(shown.rendered, PREFIX + prefix) if prefix else shown.rendered


@lru_cache(maxsize=16_384)
def _choose_again(rendered: bytes, prefix: str) -> bytes:
    """Everybody who follows a forming cluster asks for the same prefix, and most of its peers have no other keys."""
    peer = json.loads(rendered)
    chosen = {key: value for key, value in peer["meta"].items() if key.startswith(prefix)}
    if len(chosen) == len(peer["meta"]):
        return rendered
    return render({**peer, "meta": chosen}) if chosen else b""


def prefixed(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Keys as instances see them, with ``from_server_`` in front."""
    return {PREFIX + key: value for key, value in items}


def render(value: object) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
