# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One connection that asks one call after the other, with as little of its own in between as Python allows.
"""

from __future__ import annotations

import http.client
import socket
from typing import Self

from bench.exchange import Reply


class Connection:
    """Kept open for the time of a `with` block."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __enter__(self) -> Self:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, asked: bytes) -> Reply:
        """The whole answer to *asked*, which states its length."""
        self._socket.sendall(asked)
        received = self._socket.recv(65536)
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in lines)
        parts, missing = [body], int(fields.get(b"content-length", b"0")) - len(body)
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        return Reply(int(first.split(b" ", 2)[1]), fields.get(b"content-type", b"").decode(), b"".join(parts))

    def _more(self) -> bytes:
        part = self._socket.recv(1 << 20)
        if not part:
            raise http.client.IncompleteRead(b"")
        return part
