# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The process that forks the guests, as those see it who boot them."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from . import guest
from .guest import Boot


class Cradle:
    """A context: when it ends, so do all guests."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Cradle:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(Path(guest.__file__)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.close()
        await self._process.wait()
        if self._reading:
            self._reading.cancel()

    async def boot(self, boot: Boot) -> int:
        """Boot a guest; returns how it ended: 0 it is where it should be, 1 it gave up, negative: the signal."""
        self._ends[boot.id] = end = asyncio.get_running_loop().create_future()
        self._tell({"boot": asdict(boot)})
        status: int = await end
        if status > 1:
            raise RuntimeError(f"a guest failed: {boot.log}.error")
        return status

    def kill(self, number: int) -> None:
        """Kill that guest with SIGKILL, if it has not ended."""
        if number in self._ends:
            self._tell({"kill": number})

    def _tell(self, order: dict[str, Any]) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process
        assert self._process.stdout
        async for line in self._process.stdout:
            said = json.loads(line)
            end = self._ends.pop(said["ended"])
            if not end.done():  # else who waited for it has been cancelled
                end.set_result(said["status"])
        for end in self._ends.values():
            if not end.done():
                end.set_exception(RuntimeError("the cradle has ended"))
