# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
HTTP/1.1 of one guest: one connection that stays, one question at a time, every byte of the answers counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from bench.exchange import Reply

_LINE_MOST = 1 << 20


@dataclass
class Traffic:
    """What a server sent to all guests together."""

    answers: int = 0
    head_bytes: int = 0
    body_bytes: int = 0
    """As they travel, so with the frames of a chunked body."""

    @property
    def all_bytes(self) -> int:
        """Heads and bodies."""
        return self.head_bytes + self.body_bytes


class Connection:
    """Opened by `open`; closed at the end of a `with` block."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic) -> None:
        self._reader = reader
        self._writer = writer
        self._traffic = traffic

    @classmethod
    async def open(cls, port: int, traffic: Traffic) -> Self:
        """To 127.0.0.1; what comes is counted in *traffic*."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=_LINE_MOST), traffic)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    async def ask(self, asked: bytes) -> Reply:
        """The whole answer to *asked*."""
        status, fields = await self._head(asked)
        if b"content-length" in fields:
            body = await self._reader.readexactly(int(fields[b"content-length"]))
            self._traffic.body_bytes += len(body)
        else:
            body = b"".join([part async for part in self._chunks()])
        return Reply(status, fields.get(b"content-type", b"").decode(), body)

    async def stream(self, asked: bytes) -> AsyncIterator[bytes]:
        """The parts of an answer to *asked* that has no end, as they come."""
        await self._head(asked)
        async for part in self._chunks():
            yield part

    async def _head(self, asked: bytes) -> tuple[int, dict[bytes, bytes]]:
        self._writer.write(asked)
        head = await self._reader.readuntil(b"\r\n\r\n")
        self._traffic.answers += 1
        self._traffic.head_bytes += len(head)
        first, *lines = head[:-4].split(b"\r\n")
        return int(first.split(b" ", 2)[1]), dict(line.lower().split(b": ", 1) for line in lines)

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Source: RFC 9112, 7.1."""
        while True:
            size_line = await self._reader.readuntil(b"\r\n")
            part = await self._reader.readexactly(int(size_line, 16) + 2)
            self._traffic.body_bytes += len(size_line) + len(part)
            if len(part) == 2:
                return
            yield part[:-2]
