# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Redis's protocol: one command, sent again and again for some seconds, whose answers all have the same length.

redis-benchmark makes an object of each of the 400 strings of such an answer, and is slower at that than Redis at
sending it; who only counts bytes keeps Redis busy. Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Mapping
from typing import cast

import uvloop

from bench.exchange import AnswerWrong
from bench.load import CONNECTIONS, Outcome


def command(*words: str) -> bytes:
    """A command as an array of bulk strings."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def read_reply(port: int, asked: bytes) -> bytes:
    """The bytes of the answer of the server at *port* to *asked*."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, connection.makefile("rb") as stream:
        connection.sendall(asked)
        read = first = stream.readline()
        if first.startswith(b"*"):
            for _ in range(int(first[1:])):
                head = stream.readline()
                read += head + stream.read(int(head[1:]) + 2)
        return read


class HashReads:
    """
    The same hash, read whole with HGETALL.

    Args:
        who, server: Source: `Load`.
        port: Of the server.
        key: Of the hash.
        fields: What it must hold.
        seconds: Of one round.
    """

    def __init__(self, *, who: str, server: str, port: int, key: str, fields: Mapping[str, str], seconds: int) -> None:
        self.who = who
        self.server = server
        self._port = port
        self._asked = command("HGETALL", key)
        self._fields = fields
        self._seconds = seconds

    def check(self) -> None:
        """Read it once, and compare every field."""
        words = read_reply(self._port, self._asked).decode().split("\r\n")[2::2]
        if dict(zip(words[::2], words[1::2], strict=True)) != self._fields:
            raise AnswerWrong(f"not the {len(self._fields)} fields that were set")

    def run(self) -> Outcome:
        """One round."""
        return uvloop.run(self._run(len(read_reply(self._port, self._asked))))

    async def _run(self, reply_bytes: int) -> Outcome:
        loop = asyncio.get_running_loop()
        took: list[float] = []
        made = [
            await loop.create_connection(lambda: _Reader(self._asked, reply_bytes, took), "127.0.0.1", self._port)
            for _ in range(CONNECTIONS)
        ]
        began = time.perf_counter()
        for _, reader in made:
            reader.ask()
        await asyncio.sleep(self._seconds)
        seconds = time.perf_counter() - began
        answered = took[:]
        lost = sum(reader.failed or transport.is_closing() for transport, reader in made)
        for transport, _ in made:
            transport.abort()
        cuts = statistics.quantiles(answered, n=100)
        return Outcome(len(answered), seconds, cuts[49] * 1e6, cuts[98] * 1e6, lost)


class _Reader(asyncio.BufferedProtocol):
    """One connection; what it reads is counted and forgotten."""

    _transport: asyncio.WriteTransport

    def __init__(self, asked: bytes, reply_bytes: int, took: list[float]) -> None:
        self.failed = False
        self._asked = asked
        self._reply_bytes = reply_bytes
        self._took = took
        self._buffer = memoryview(bytearray(1 << 16))
        self._received = 0
        self._asked_at = 0.0

    def ask(self) -> None:
        """Send the command; from then on it is sent again after each answer."""
        self._asked_at = time.perf_counter()
        self._transport.write(self._asked)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._received += nbytes
        if self._received < self._reply_bytes:
            return
        self.failed = self.failed or self._received > self._reply_bytes
        self._received = 0
        now = time.perf_counter()
        self._took.append(now - self._asked_at)
        self._asked_at = now
        self._transport.write(self._asked)
