# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One project that floods a server with publishes, while the promises to others are checked: new keys, repeats and keys
that are taken, as fast as they are answered.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from random import Random
from uuid import UUID

from .clients import Instance

CONNECTIONS = 32

INSTANCES = [
    Instance("flood", str(UUID(int=(0x4000 << 64) | (0x8000 << 48) | 0xF000 | number)), f"127.1.254.{number}")
    for number in range(1, 9)
]
"""They take no part in the history."""

_REQUEST = "POST /openstack/latest/metadata?shared=project&{} HTTP/1.1\r\nhost: flood\r\n\r\n"


class Flood:
    """Begins at one server, and goes on until it is told to stop, whatever the server does meanwhile."""

    def __init__(self) -> None:
        self.answered = 0
        """Requests of all floods so far, whatever the answer."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._number = itertools.count()

    def begin(self, port: int, chance: Random) -> None:
        """Let all connections ask the server at *port*."""
        self._stop.clear()
        mix = [chance.choice(("new", "repeat", "conflict")) for _ in range(CONNECTIONS)]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask_all(port, mix)), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Hang up, and return once all have."""
        self._stop.set()
        if self._thread:
            self._thread.join(30)
            assert not self._thread.is_alive(), "the flood does not end"

    async def _ask_all(self, port: int, mix: list[str]) -> None:
        asking = [
            asyncio.ensure_future(self._ask(port, INSTANCES[place % len(INSTANCES)].address, kind))
            for place, kind in enumerate(mix)
        ]
        await asyncio.to_thread(self._stop.wait)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(self, port: int, address: str, kind: str) -> None:
        requests = self._requests(kind)
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
                try:
                    while True:
                        writer.write(next(requests))
                        head = await reader.readuntil(b"\r\n\r\n")
                        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
                        self.answered += 1
                finally:
                    writer.close()
            except (OSError, EOFError, ValueError):  # the server was killed, is paused, or is not there yet
                await asyncio.sleep(0.05)

    def _requests(self, kind: str) -> Iterator[bytes]:
        while True:
            number = next(self._number)
            keys = {"new": f"meta.k{number}=v", "repeat": "meta.repeat=v", "conflict": f"meta.taken=v{number}"}
            yield _REQUEST.format(keys[kind]).encode()
