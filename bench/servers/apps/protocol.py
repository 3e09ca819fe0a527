# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m bench.servers.apps.protocol PORT`: llhttp (httptools) over uvloop, and nothing else.

No limits, no deadlines, no errors, no order of answers: what is left when a server is all given up, and so the
ceiling of what one in Python can reach.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import httptools
import uvloop

from bench.servers.signed import BODIES, CONTENT_TYPE, genuine

_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {type}\r\ncontent-length: {length}\r\n\r\n"
_WHOLE = {
    path.encode(): _HEAD.format(type=CONTENT_TYPE, length=len(body)).encode() + body for path, body in BODIES.items()
}


class Connection(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._headers: dict[bytes, bytes] = {}

    def on_url(self, target: bytes) -> None:
        """Its target."""
        self._target = target

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.lower()] = value

    def on_message_complete(self) -> None:
        """Answer."""
        headers = self._headers
        if genuine(headers.get(b"x-instance-id", b""), headers.get(b"x-instance-id-signature", b"")):
            self._transport.write(_WHOLE[self._target])
        else:
            self._transport.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
