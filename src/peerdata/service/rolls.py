# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Reading rolls: each is read from the store once for a revision of its project, however many members poll it.

Every change of a roll, and of what its members share, moves the project's revision on. So a roll read at the revision
that the project has now is the roll as it is now, and whether that is so costs what any read costs: see `discover`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from peerdata.service.discover import Discovery
from peerdata.store import clusters
from peerdata.store.clusters import Roll
from peerdata.store.engine import Engine

MOST_BYTES = 16 * 2**20
"""Memory for rolls, by estimate; some 20 000 members. The one unread for longest leaves; the last read stays."""

_Key = tuple[str, str]
"""Project and name."""


class Rolls:
    """The rolls that are being read."""

    def __init__(self, store: Engine, discovery: Discovery, *, max_bytes: int = MOST_BYTES) -> None:
        self._store = store
        self._discovery = discovery
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[_Key, Roll] = OrderedDict()
        self._reading: dict[_Key, asyncio.Task[Roll]] = {}

    async def read(self, project_id: str, name: str) -> Roll:
        """
        The cluster as it is now: everything answered 200 before this call is in it.

        Raises:
            StoreUnavailable: it cannot be told; an old roll is never given instead.
        """
        board = await self._discovery.read(project_id)
        key = project_id, name
        roll = self._kept.get(key)
        if roll is not None and roll.revision == board.revision:
            self._kept.move_to_end(key)
            return roll
        if (begun_before := self._reading.get(key)) is not None:
            roll = await asyncio.shield(begun_before)
            if roll.revision >= board.revision:
                return roll
        return await asyncio.shield(self._reading.get(key) or self._begin(key))

    def _begin(self, key: _Key) -> asyncio.Task[Roll]:
        self._reading[key] = task = asyncio.ensure_future(self._read(key))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # though nobody waits any more
        return task

    async def _read(self, key: _Key) -> Roll:
        try:
            roll = await self._store.read(lambda connection: clusters.read(connection, *key))
        finally:
            del self._reading[key]
        if before := self._kept.pop(key, None):
            self._bytes -= _size(before)
        self._kept[key] = roll
        self._bytes += _size(roll)
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        return roll

    async def close(self) -> None:
        """Read nothing more."""
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _size(roll: Roll) -> int:
    """Bytes of memory, about."""
    members = len(roll.cluster.members) if roll.cluster else 0
    texts = sum(len(key) + len(value) + 120 for meta in roll.metas.values() for key, value in meta.items())
    return 500 + 400 * members + texts
