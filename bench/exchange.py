# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
HTTP/1.1 as bytes: a request to be sent as often as wanted, and one answer read and checked before it is measured.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Headers = Iterable[tuple[str, str]]


class AnswerWrong(Exception):
    """What a server answers is not what is to be measured."""


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    content_type: str
    body: bytes


Check = Callable[[Reply], None]
"""Raises `AnswerWrong`."""


def request(method: str, target: str, headers: Headers = (), body: bytes = b"") -> bytes:
    """The whole request; without a *body* it says nothing of one."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 169.254.169.254", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def ask(port: int, asked: bytes) -> Reply:
    """The answer of the server at *port* to the request *asked*."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(asked)
        response = http.client.HTTPResponse(connection, method=asked.split(b" ", 1)[0].decode())
        response.begin()
        return Reply(response.status, response.headers.get("Content-Type", ""), response.read())


def equals(body: bytes) -> Check:
    """A 200 with exactly this body, as JSON."""

    def check(reply: Reply) -> None:
        holds(b"")(reply)
        if reply.body != body:
            raise AnswerWrong(f"other bytes than expected: {len(reply.body)} instead of {len(body)}")

    return check


def holds(part: bytes, *, status: int = 200) -> Check:
    """That *status*, with *part* somewhere in its body, as JSON."""

    def check(reply: Reply) -> None:
        if reply.status != status:
            raise AnswerWrong(f"status {reply.status}: {reply.body[:200].decode(errors='replace')}")
        if not reply.content_type.startswith("application/json"):
            raise AnswerWrong(f"the content type is '{reply.content_type}'")
        if part not in reply.body:
            raise AnswerWrong(f"'{part.decode()}' is not in the answer")

    return check


def refused(status: int) -> Check:
    """That status, whatever the body."""

    def check(reply: Reply) -> None:
        if reply.status != status:
            raise AnswerWrong(f"status {reply.status} instead of {status}")

    return check
