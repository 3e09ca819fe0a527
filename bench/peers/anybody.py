# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A stand-in for nova that knows every instance in every project: `python -m bench.peers.anybody PORT`.

Where tens of thousands of instances ask and nova's own speed is not the question: making one costs the real nova 50 ms.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import cast

import uvloop
from tests.chain.ports import answers, free_port
from tests.chain.run import until

from bench.stage import Stage


class Anybody:
    """The stand-in, on the core of the load."""

    name = "anybody"

    def __init__(self, stage: Stage) -> None:
        self.port = free_port()
        self._stage = stage

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return once it answers."""
        command = [sys.executable, "-m", __name__, str(self.port)]
        self._stage.start(self.name, command, environment={"PYTHONPATH": str(Path(__file__).parents[2])})
        until("the stand-in answers", lambda: answers(self.port))


class _Connection(asyncio.Protocol):
    _transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        # What asks is ours, and sends a head without a body at once.
        self._transport.write(answer(data))


def answer(asked: bytes) -> bytes:
    """The whole answer to the request *asked*, whoever it is from."""
    first, *lines = asked.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    body = b"2012-08-10\nlatest"
    if first.split(" ")[1].endswith("meta_data.json"):
        document = {"uuid": headers["x-instance-id"], "project_id": headers["x-tenant-id"], "meta": {}}
        body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
