# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A bare proxy on httptools and uvloop: `python -m bench.peers.bare PORT UPSTREAM_PORT`.

It parses both messages and copies their bytes, over kept connections. It has no limits, no deadlines, no errors and no
checks: the least that a proxy in Python can cost, and so what the service's own part is seen against.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

import httptools
import uvloop
from tests.chain.ports import answers, free_port
from tests.chain.run import until

from bench.stage import Stage


class Bare:
    """The proxy, on the servers' core."""

    name = "bare-proxy"

    def __init__(self, stage: Stage, upstream_port: int) -> None:
        self.port = free_port()
        self._stage = stage
        self._upstream_port = upstream_port

    def start(self) -> None:
        """Return once it answers."""
        command = [sys.executable, "-m", __name__, str(self.port), str(self._upstream_port)]
        self._stage.start(self.name, command, environment={"PYTHONPATH": str(Path(__file__).parents[2])})
        until("the bare proxy answers", lambda: answers(self.port))


class _Client(asyncio.Protocol):
    """One connection of the load."""

    transport: asyncio.WriteTransport

    def __init__(self, idle: list[_Upstream], upstream_port: int) -> None:
        self._idle = idle
        self._upstream_port = upstream_port
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._lines: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append(b"%s: %s\r\n" % (name, value))

    def on_message_complete(self) -> None:
        request = b"%s %s HTTP/1.1\r\n%s\r\n" % (self._parser.get_method(), self._target, b"".join(self._lines))
        self._target, self._lines = b"", []
        if self._idle:
            self._idle.pop().ask(self, request)
        else:
            asyncio.get_running_loop().create_task(self._ask_new(request))

    async def _ask_new(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: _Upstream(self._idle), "127.0.0.1", self._upstream_port)
        upstream.ask(self, request)


class _Upstream(asyncio.Protocol):
    """One kept connection to the upstream."""

    _transport: asyncio.WriteTransport
    _client: _Client

    def __init__(self, idle: list[_Upstream]) -> None:
        self._idle = idle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def ask(self, client: _Client, request: bytes) -> None:
        self._client = client
        self._parser = httptools.HttpResponseParser(self)
        self._lines: list[bytes] = []
        self._body: list[bytes] = []
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append(b"%s: %s\r\n" % (name, value))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        head = b"HTTP/1.1 %d OK\r\n%s\r\n" % (self._parser.get_status_code(), b"".join(self._lines))
        self._client.transport.write(b"".join([head, *self._body]))
        self._idle.append(self)


async def _serve(port: int, upstream_port: int) -> None:
    idle: list[_Upstream] = []
    server = await asyncio.get_running_loop().create_server(lambda: _Client(idle, upstream_port), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
