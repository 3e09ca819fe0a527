# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The load: wrk for what can be asked again and again, guests of our own for what can be asked only once.

Both keep `CONNECTIONS` connections busy, each with one request at a time, and run on the core that the servers leave.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import uvloop

from bench.exchange import AnswerWrong, Check, Reply, ask
from bench.tools import Tools

CONNECTIONS = 64

LONGEST_S = 60
"""For one round of `send`; then it has failed."""


@dataclass(frozen=True)
class Outcome:
    """What one round of load saw."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    failed: int
    """Answers that were not a 200, or wrong, or not there."""


class Load(Protocol):
    """One thing to be asked of one server."""

    @property
    def who(self) -> str:
        """As the tables say it."""

    @property
    def server(self) -> str:
        """The process, on the stage, whose CPU time is counted."""

    def check(self) -> None:
        """Ask once, and raise `AnswerWrong` where the answer is not what is to be measured."""

    def run(self) -> Outcome:
        """One round."""


# wrk calls `request` for each, and `done` at the end; https://github.com/wg/wrk/blob/master/SCRIPTING
_SCRIPT = """
local requests = {
%s
}
local turn = 0
request = function()
    turn = turn %% #requests + 1
    return requests[turn]
end
done = function(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.write + errors.status + errors.timeout
    local form = '{"requests": %%d, "microseconds": %%d, "p50": %%g, "p99": %%g, "failed": %%d, "cut": %%d}\\n'
    local p50, p99 = latency:percentile(50), latency:percentile(99)
    io.write(string.format(form, summary.requests, summary.duration, p50, p99, failed, errors.read))
end
"""


class Wrk:
    """
    The same requests in turn, as many as are answered in some seconds.

    Args:
        who, server: Source: `Load`.
        port: Of the server.
        requests: In turn, so that it is not always the same instance that asks.
        check: What each of *requests* must be answered.
        seconds: Of one round, whole.
        directory: For the script.
        closes: The server closes after each answer without saying so, as uWSGI's plain HTTP does. To wrk that is a
            failed read before it connects again; an answer that was cut is never counted as a request.
    """

    def __init__(
        self,
        tools: Tools,
        directory: Path,
        *,
        who: str,
        server: str,
        port: int,
        requests: Sequence[bytes],
        check: Check,
        seconds: int,
        closes: bool = False,
    ) -> None:
        self.who = who
        self.server = server
        self._port = port
        self._requests = requests
        self._check = check
        self._seconds = seconds
        self._closes = closes
        self._tools = tools
        number = sum(1 for _ in directory.glob("wrk-*.lua"))
        self._script = directory / f"wrk-{number}.lua"
        self._script.write_text(_SCRIPT % ",\n".join(_lua(one) for one in requests))

    def check(self) -> None:
        """Every request once."""
        for one in self._requests:
            self._check(ask(self._port, one))

    def run(self) -> Outcome:
        """One run of wrk."""
        command = [self._tools.wrk, "--threads", "1", "--connections", str(CONNECTIONS)]
        command += ["--duration", f"{self._seconds}s", "--timeout", "30s", "--script", str(self._script)]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{self._port}/"],
            capture_output=True,
            text=True,
            env=os.environ | self._tools.environment,
            timeout=self._seconds + 60,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            raise AnswerWrong(f"wrk failed: {(done.stderr or done.stdout)[-300:]}")
        said = json.loads(lines[-1])
        failed = said["failed"] + (0 if self._closes else said["cut"])
        return Outcome(said["requests"], said["microseconds"] / 1e6, said["p50"], said["p99"], failed)


def _lua(text: bytes) -> str:
    """*text*, which is ASCII, as a Lua string."""
    escaped = text.decode("ascii").replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
    return f'"{escaped}"'


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
