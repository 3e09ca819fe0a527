# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Guests: HTTP requests that are sent once each, with every answer checked.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import uvloop

from bench.exchange import AnswerWrong, Check, Reply
from bench.load import CONNECTIONS, Outcome

LONGEST_S = 60
"""For one round of `send`; then it has failed."""


class Guests:
    """
    Requests that are sent once each, and every answer checked.

    Args:
        who, server: Source: `Load`.
        port: Of the server.
        rounds: The requests of each round; made when the round begins, before the clock runs.
        check: What each request must be answered.
        connections: How many ask at a time.
    """

    def __init__(
        self,
        *,
        who: str,
        server: str,
        port: int,
        rounds: Iterator[Sequence[bytes]],
        check: Check,
        connections: int = CONNECTIONS,
    ) -> None:
        self.who = who
        self.server = server
        self._port = port
        self._rounds = rounds
        self._check = check
        self._connections = connections
        self._next = next(rounds)

    def check(self) -> None:
        """Every answer is checked as it comes."""

    def run(self) -> Outcome:
        """All requests of the next round."""
        requests, self._next = self._next, next(self._rounds, ())
        return send(self._port, requests, self._check, connections=self._connections)


def send(port: int, requests: Sequence[bytes], check: Check, *, connections: int = CONNECTIONS) -> Outcome:
    """Send each of *requests* once, over *connections* connections."""
    return uvloop.run(_send(port, requests, check, connections))


async def _send(port: int, requests: Sequence[bytes], check: Check, connections: int) -> Outcome:
    loop = asyncio.get_running_loop()
    waiting = iter(requests)
    took: list[float] = []

    def make_guest() -> _Guest:
        return _Guest(waiting, took, check, loop.create_future())

    began = time.perf_counter()
    made = [await loop.create_connection(make_guest, "127.0.0.1", port) for _ in range(connections)]
    try:
        async with asyncio.timeout(LONGEST_S):
            await asyncio.gather(*(guest.done for _, guest in made))
    except TimeoutError:
        raise AnswerWrong(f"only {len(took)} of {len(requests)} requests were answered in {LONGEST_S} s") from None
    finally:
        for transport, _ in made:
            transport.abort()
    seconds = time.perf_counter() - began
    if len(took) < len(requests):
        raise AnswerWrong(f"{len(requests) - len(took)} of {len(requests)} requests were not answered")
    cuts = statistics.quantiles(took, n=100) if len(took) > 1 else took * 99
    return Outcome(len(took), seconds, cuts[49] * 1e6, cuts[98] * 1e6, 0)


class _Guest(asyncio.Protocol):
    """One connection: sends the next request as soon as it has the answer to the last. `done` says how it ended."""

    _transport: asyncio.WriteTransport

    def __init__(self, waiting: Iterator[bytes], took: list[float], check: Check, done: asyncio.Future[None]) -> None:
        self.done = done
        self._waiting = waiting
        self._took = took
        self._check = check
        self._received = b""
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.split(b"\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in lines[1:])
        if len(body) < int(fields.get(b"content-length", b"0")):
            return
        self._took.append(time.perf_counter() - self._asked_at)
        self._received = b""
        try:
            self._check(Reply(int(lines[0].split(b" ", 2)[1]), fields.get(b"content-type", b"").decode(), body))
        except AnswerWrong as error:
            self.done.set_exception(error)
            self._transport.close()
            return
        self._ask()

    def _ask(self) -> None:
        request = next(self._waiting, None)
        if request is None:
            self._transport.close()
            return
        self._asked_at = time.perf_counter()
        self._transport.write(request)


def in_rounds(requests: Callable[[int], Sequence[bytes]]) -> Iterator[Sequence[bytes]]:
    """*requests* of round 0, 1, 2 and so on."""
    number = 0
    while True:
        yield requests(number)
        number += 1
