# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The cloud: two servers on one store, the instances that exist, and what befalls the servers.

Which instances exist stands in the inventory, and the servers read it again at SIGHUP, each when it comes to it; so
for a moment one knows an instance that the other does not, as with two nova.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.databases import PROJECT
from tests.databases.ports import free_port
from tests.live.service import Sections, Service, inventory_text

SERVERS = 2

WRITE_EVERY_S = 0.8
"""The inventory; reading it again keeps a server busy for about 0.3 ms an instance."""

LOG_BYTES_MOST = 1_000_000


@dataclass(frozen=True)
class Instance:
    """One that exists, or will."""

    uuid: str
    address: str
    project: str


NOBODY = Instance("ffffffff-ffff-4fff-8fff-ffffffffffff", "127.255.0.1", "nobody")
"""So that the inventory is never empty, which a server refuses."""


class Cloud:
    """
    Args:
        directory: For the servers' files.
        url: Of the store, made already.
        module: What the servers run: peerdata, or what a test made of it.
    """

    def __init__(self, directory: Path, url: str, *, module: str = "peerdata") -> None:
        self._instances = {NOBODY.uuid: NOBODY}
        self._changed = asyncio.Event()
        self._peace = asyncio.Event()
        self.killed = 0
        """How often a server was."""
        sections: Sections = {"database": {"connection": url}, "limits": {"max_clusters_per_project": 1000}}
        projects = {NOBODY.project: {NOBODY.address: NOBODY.uuid}}
        self._servers = [
            Service(
                directory,
                sections,
                projects=projects,
                port=free_port(),
                module=module,
                environment={"PYTHONPATH": str(PROJECT)},
            )
            for _ in range(SERVERS)
        ]
        self._ready = [False] * SERVERS

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self._servers]

    async def open(self) -> None:
        """Start the servers."""
        await asyncio.gather(*map(self._start, range(SERVERS)))

    def close(self) -> None:
        """End them."""
        for server in self._servers:
            server.end()

    def add(self, instances: Iterable[Instance]) -> None:
        """Let them exist, soon."""
        self._instances |= {one.uuid: one for one in instances}
        self._changed.set()

    def forget(self, instances: Iterable[Instance]) -> None:
        """Leave them out when the inventory is next written: nobody asks for them any more."""
        for one in instances:
            self._instances.pop(one.uuid, None)

    def delete(self, instance: Instance) -> float:
        """Let it exist no more, soon; returns the moment before which everybody knew that it does."""
        moment = time.monotonic()
        del self._instances[instance.uuid]
        self._changed.set()
        return moment

    async def keep_inventory(self) -> None:
        """Write it when it changed, and let the servers read it again."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            projects: dict[str, dict[str, str]] = {}
            for one in self._instances.values():
                projects.setdefault(one.project, {})[one.address] = one.uuid
            inventory = self._servers[0].inventory
            new = inventory.with_suffix(".new")
            new.write_text(inventory_text(projects))
            new.rename(inventory)  # a server that starts at this moment reads the one or the other
            for number in range(SERVERS):
                self._reload(number)
            await asyncio.sleep(WRITE_EVERY_S)

    async def torment(self, seed: str) -> None:
        """Kill servers at random moments, one at a time or all at once, and start them again."""
        chance = Random(seed)
        while not await self._peace_within(chance.uniform(0.5, 4)):
            struck = chance.sample(range(SERVERS), k=chance.choice((1, 1, 1, 1, SERVERS)))
            for number in struck:
                self._ready[number] = False
                self._servers[number].kill()
                self.killed += 1
            await asyncio.sleep(chance.choice((0, 0, chance.uniform(0, 2))))
            await asyncio.gather(*map(self._start, struck))

    def leave_in_peace(self) -> None:
        """Let `torment` end, once all servers run."""
        self._peace.set()

    async def _peace_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._peace.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _start(self, number: int) -> None:
        server = self._servers[number]
        if server.log.exists() and server.log.stat().st_size > LOG_BYTES_MOST:
            server.log.unlink()  # how it is known that a server is ready reads it again and again
        await asyncio.to_thread(server.start)
        self._ready[number] = True
        self._reload(number)  # the inventory may have changed while it was not yet listening for signals

    def _reload(self, number: int) -> None:
        if self._ready[number]:
            self._servers[number].signal(signal.SIGHUP)
