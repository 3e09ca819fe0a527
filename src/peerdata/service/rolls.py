# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Reading rolls: each is read from the store once for a revision of its project, however many members poll it.

Every change of a roll, and of what its members share, moves the project's revision on. So a roll read at the revision
that the project has now is the roll as it is now, and whether that is so costs what any read costs: see `discover`.
"""

from __future__ import annotations

import asyncio
from functools import partial

from peerdata.service.discover import Discovery
from peerdata.service.memory import Memory
from peerdata.store import clusters
from peerdata.store.clusters import Roll
from peerdata.store.engine import Engine

_Key = tuple[str, str]
"""Project and name."""


class Rolls:
    """The rolls that are being read."""

    def __init__(self, store: Engine, discovery: Discovery, memory: Memory) -> None:
        self._store = store
        self._discovery = discovery
        self._memory = memory
        self._kept: dict[_Key, Roll] = {}
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
            self._memory.touch(key, _size(roll))
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
        self._kept[key] = roll
        self._memory.use(key, _size(roll), partial(self._kept.pop, key, None))
        return roll

    async def close(self) -> None:
        """Read nothing more."""
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _size(roll: Roll) -> int:
    """Bytes of memory, about; with what was rendered of it."""
    return roll.size + sum(map(len, roll.rendered.values()))
