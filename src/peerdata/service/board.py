# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A project at one revision: its peers, what changed when, and the bytes that say so, each rendered once.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

from peerdata.model import PREFIX, Changes, Peer


class _Names:
    """
    The names of a peer's keys. Most peers of a project publish the same, so those that do share one.

    Args:
        names: Without the prefix that instances see, in the order of their bytes.
    """

    __slots__ = ("names", "peers")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.peers = 0
        """How many share it."""

    @property
    def size(self) -> int:
        """Bytes of memory, by estimate."""
        return _NAMES_BYTES + sum(_NAME_BYTES + len(name) for name in self.names)

    def beginning_with(self, prefix: str) -> range:
        """The places of those that begin with *prefix*: they lie side by side."""
        names = self.names
        if names[0].startswith(prefix):
            first = 0
        elif len(names) == 1:
            return range(0)
        else:
            first = bisect_left(names, prefix)
        # Cut to the length of the prefix they are still in order, and those that begin with it are equal to it.
        return range(first, bisect_right(names, prefix, first, key=lambda name: name[: len(prefix)]))


class _Shown(NamedTuple):
    """A peer: when it joined, when it changed last, and what peer_data.json says of it."""

    joined: int
    revision: int
    rendered: bytes
    names: _Names


class News(NamedTuple):
    """What a reader who knows a revision has to learn; ``peers`` are JSON objects."""

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
        "_names",
        "_peers_json",
        "_shared_json",
        "_shown",
        "_size",
        "changed_at",
        "checked_at",
        "forgotten",
        "removed",
        "revision",
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
        self._size = _BOARD_BYTES
        self._names: dict[tuple[str, ...], _Names] = {}
        self._shared_json: bytes | None = None
        self._peers_json: bytes | None = None

    def __len__(self) -> int:
        return len(self._shown)

    @property
    def size(self) -> int:
        """Bytes of memory, by estimate. Grows when a text is asked for that was not yet made."""
        return self._size + len(self._shared_json or b"") + len(self._peers_json or b"")

    def apply(self, changes: Changes, now: float) -> None:
        """Move on by *changes*, which begin at this revision or are full. Only what changed is rendered."""
        if changes.full:
            self._shown, self._names, self.removed, self._size = {}, {}, (), _BOARD_BYTES
            self._note_changes(())
        for uuid, _ in changes.removed:
            self._take_out(uuid)
        # Who shares for the first time, or again after it left, joins last, so the order in which uuids were first put
        # in is that of `joined`; a dict keeps it when a value is replaced.
        for peer in changes.peers:
            if before := self._shown.get(peer.uuid):
                self._let_go(before)
            self._shown[peer.uuid] = shown = _show(peer, self._names)
            shown.names.peers += 1
            self._size += _PEER_BYTES + len(shown.rendered) + (shown.names.size if shown.names.peers == 1 else 0)
        by_revision = sorted((peer.revision, peer.uuid) for peer in changes.peers)
        self._changed_at.extend(revision for revision, _ in by_revision)
        self._changed_uuid.extend(uuid for _, uuid in by_revision)
        if len(self._changed_at) > 2 * len(self._shown) + 100:
            self._note_changes(sorted((one.revision, uuid) for uuid, one in self._shown.items()))
        if changes.removed or changes.forgotten != self.forgotten:
            self.removed = tuple(left for left in (*self.removed, *changes.removed) if left[1] > changes.forgotten)
        self.revision, self.forgotten, self.changed_at = changes.revision, changes.forgotten, now
        self._shared_json = self._peers_json = None

    def _note_changes(self, by_revision: Sequence[tuple[int, str]]) -> None:
        """Let these be all changes that are known."""
        self._changed_at = array("q", (revision for revision, _ in by_revision))
        self._changed_uuid = [uuid for _, uuid in by_revision]

    def _take_out(self, uuid: str) -> None:
        if shown := self._shown.pop(uuid, None):
            self._let_go(shown)

    def _let_go(self, shown: _Shown) -> None:
        self._size -= _PEER_BYTES + len(shown.rendered)
        shown.names.peers -= 1
        if not shown.names.peers:
            self._size -= shown.names.size
            del self._names[shown.names.names]

    @property
    def shared_json(self) -> bytes:
        """The body of shared.json."""
        if self._shared_json is None:
            self._shared_json = b"[" + b",".join([_as_shared(one) for one in self._shown.values()]) + b"]\n"
        return self._shared_json

    @property
    def peers_json(self) -> bytes:
        """All peers as peer_data.json has them, with commas between: one text for all who read in full."""
        if self._peers_json is None:
            self._peers_json = b",".join([one.rendered for one in self._shown.values()])
        return self._peers_json

    def news(self, since: int | None, prefix: str) -> News:
        """What happened after *since*, of the keys that begin with *prefix*; everything where that cannot be told."""
        if since is None or since > self.revision or since < self.forgotten:
            listed = _choose(self._shown.values(), prefix)
            return News(self.revision, full=True, peers=listed, removed=[])
        if since == self.revision:
            return News(self.revision, full=False, peers=[], removed=[])
        changed = self._changed_after(since)
        there = {uuid: rendered for uuid, one in changed for rendered in _choose((one,), prefix)}
        newest_first = reversed(self.removed)
        left = [uuid for uuid, _ in takewhile(lambda left: left[1] > since, newest_first) if uuid not in there]
        removed = list(dict.fromkeys(reversed(left)))
        return News(self.revision, full=False, peers=list(there.values()), removed=removed)

    def _changed_after(self, since: int) -> list[tuple[str, _Shown]]:
        """The peers whose shared keys changed after *since*, in the order of ``joined``."""
        uuids = set(self._changed_uuid[bisect_right(self._changed_at, since) :])
        found = [(uuid, shown) for uuid in uuids if (shown := self._shown.get(uuid))]
        return sorted(found, key=lambda one: one[1].joined)


# Measured (tracemalloc): what a board, one of its peers, one set of names and one name hold beside their text.
_BOARD_BYTES = 2000
_PEER_BYTES = 330
_NAMES_BYTES = 250
_NAME_BYTES = 60


def _show(peer: Peer, known: dict[tuple[str, ...], _Names]) -> _Shown:
    """The peer, with its names out of *known* where they are there."""
    # A database may have an order of its own.
    meta = sorted(peer.meta.items())
    names = tuple(key for key, _ in meta)
    rendered = render({"uuid": peer.uuid, "revision": peer.revision, "joined": peer.joined, "meta": prefixed(meta)})
    if (shared := known.get(names)) is None:
        shared = known[names] = _Names(names)
    return _Shown(peer.joined, peer.revision, rendered, shared)


def _as_shared(shown: _Shown) -> bytes:
    """What shared.json says of the peer: the same JSON texts, cut out of what `_show` made."""
    head, _, rest = shown.rendered.partition(b',"meta":')
    uuid = head[len(b'{"uuid":') : head.index(b',"revision":')]
    return b'{"meta":%b,"uuid":%b}' % (rest[:-1], uuid)


def _choose(peers: Iterable[_Shown], prefix: str) -> list[bytes]:
    """Each of *peers* with its keys that begin with *prefix*; without those that have none."""
    if not prefix:
        return [one.rendered for one in peers]
    # Looked up once for all peers that have the same.
    places: dict[_Names, range] = {}
    chosen = []
    for _, _, rendered, names in peers:
        if (wanted := places.get(names)) is None:
            wanted = places[names] = names.beginning_with(prefix)
        if len(wanted) == len(names.names):
            chosen.append(rendered)
        elif wanted:
            chosen.append(_cut(rendered, names.names, wanted))
    return chosen


def _cut(rendered: bytes, names: tuple[str, ...], wanted: range) -> bytes:
    """A rendered peer with *wanted* of its keys alone, which is not all of them."""
    meta = rendered.index(b',"meta":{') + len(b',"meta":{')
    begins = _find(rendered, names[wanted.start], meta) if wanted.start else meta
    ends = _find(rendered, names[wanted.stop], begins) - 1 if wanted.stop < len(names) else len(rendered) - 2
    return b"%b%b}}" % (rendered[:meta], rendered[begins:ends])


def _find(rendered: bytes, name: str, after: int) -> int:
    """Where the member of a key that is not the first begins. Within a value each quotation mark has a backslash."""
    return rendered.index(b',"%b%b":"' % (PREFIX.encode(), name.encode()), after - 1) + 1


def prefixed(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Keys as instances see them, with ``from_server_`` in front."""
    return {PREFIX + key: value for key, value in items}


def render(value: object) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
