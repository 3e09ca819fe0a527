# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The HTTP server over real sockets: raw bytes in, raw bytes out.

The server runs in a thread of its own, on uvloop as in production and on
asyncio's own loop, which uvloop imitates; clients are plain blocking sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from prometheus_client import REGISTRY

from peerdata.errors import KeyTaken, PeerdataError
from peerdata.httpd.admission import TOLD
from peerdata.httpd.connection import FIRST_REQUEST_S
from peerdata.httpd.server import Answer, Handler, HttpLimits, HttpServer, Request, listen

T = TypeVar("T")

# CPython gh-127655, in 3.12 and 3.13 until both were mended; uvloop never had it.
WRITELINES_RUNS_AHEAD = (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)

PATIENCE_S = 5.0
"""How long a test waits for what must happen; only a failing one waits so long."""

GET = b"GET /a?x=1 HTTP/1.1\r\nhost: a\r\n\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    lines = (b"POST /p HTTP/1.1", b"host: a", b"content-length: %d" % len(body), *headers, b"", b"")
    return b"\r\n".join(lines) + body


@dataclass
class Said:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A blocking socket, and what has been read from it too early."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE_S)
        self.early = b""

    def send(self, data: bytes) -> Client:
        self.sock.sendall(data)
        return self

    def hear(self, *, bodiless: bool = False) -> Said:
        """One whole answer."""
        while b"\r\n\r\n" not in self.early:
            self.read_more()
        head, _, self.early = self.early.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = 0 if bodiless else int(headers["content-length"])
        while len(self.early) < length:
            self.read_more()
        body, self.early = self.early[:length], self.early[length:]
        return Said(int(first.split()[1]), headers, body)

    def read_more(self) -> None:
        part = self.sock.recv(1 << 20)
        if not part:
            raise EOFError(self.early)
        self.early += part

    def ask(self, data: bytes, *, bodiless: bool = False) -> Said:
        return self.send(data).hear(bodiless=bodiless)

    def rest(self) -> bytes:
        """Everything up to the server's closing the connection; a reset is an error."""
        with contextlib.suppress(EOFError):
            while True:
                self.read_more()
        return self.early

    def is_dropped(self) -> bool:
        """Whether the server ends the connection without another byte, by whichever means; then so does the client."""
        try:
            return self.rest() == b""
        except ConnectionResetError:
            return True
        finally:
            self.sock.close()


class Served:
    """A server in a thread, and the clients that have come to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: HttpServer) -> None:
        self.loop = loop
        self.server = server
        self.port = 0
        self.open: list[socket.socket] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def start(self, work: Coroutine[Any, Any, T]) -> Callable[[], T]:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        return lambda: future.result(PATIENCE_S)

    def listen(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        listener = listen(host, port)
        self.port = listener.getsockname()[1]
        self.run(self.server.accept(listener, tls=tls))
        return self.port

    def connect(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Client:
        sock = socket.create_connection((host, self.port), PATIENCE_S)
        self.open.append(sock)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname="localhost")
            self.open.append(sock)
        return Client(sock)

    def close(self, grace_s: float = 0) -> None:
        self.run(self.server.close(grace_s=grace_s))

    def connections_become(self, count: int) -> bool:
        return becomes(lambda: self.server.connections == count)


def becomes(true: Callable[[], bool]) -> bool:
    """Whether it does within the patience that a test has."""
    until = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def refuse(error: PeerdataError) -> Answer:
    return Answer(500 if type(error) is PeerdataError else 400, error.code.encode())


def echo(request: Request) -> Answer:
    """The target and the body, or the fault."""
    if request.fault is not None:
        raise request.fault
    return Answer(200, request.target + b" " + request.body)


Serve = Callable[..., Served]


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Make a server of a handler and limits; it listens on 127.0.0.1 unless told otherwise."""
    loop: asyncio.AbstractEventLoop = request.param()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    made: list[Served] = []

    def make(handler: Handler = echo, *, listening: bool = True, **limits: Any) -> Served:
        served = Served(loop, HttpServer(handler, limits=HttpLimits(**limits), refuse=refuse))
        made.append(served)
        if listening:
            served.listen()
        return served

    yield make
    for served in made:
        served.close()
        for sock in served.open:
            sock.close()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Gate:
    """A handler that waits until it is let go on; counts what came in and what went out."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.done: list[bytes] = []
        self.cancelled: list[bytes] = []
        self._open = asyncio.Event()

    async def __call__(self, request: Request) -> Answer:
        self.begun.append(request.target)
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.target)
            raise
        self.done.append(request.target)
        return echo(request)

    def open(self, served: Served) -> None:
        served.loop.call_soon_threadsafe(self._open.set)


async def later(request: Request) -> Answer:
    await asyncio.sleep(0)
    return echo(request)


both_ways = pytest.mark.parametrize("handler", [echo, later], ids=["at once", "later"])


# Answers


def test_an_answer_is_these_bytes_and_no_others(serve: Serve) -> None:
    said = serve().connect().send(GET.replace(b"host: a", b"connection: close")).rest()
    date = said.partition(b"date: ")[2].partition(b"\r\n")[0]
    assert said == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ndate: " + date + b"\r\n"
        b"content-length: 7\r\nconnection: close\r\n\r\n/a?x=1 "
    )
    assert abs(parsedate_to_datetime(date.decode()).timestamp() - time.time()) < 3


@both_ways
def test_a_connection_serves_one_request_after_the_other(serve: Serve, handler: Handler) -> None:
    client = serve(handler).connect()
    for number in range(3):
        said = client.ask(post(b"%d" % number))
        assert (said.status, said.body) == (200, b"/p %d" % number)
        assert "connection" not in said.headers


@both_ways
def test_pipelined_requests_are_answered_in_their_order(serve: Serve, handler: Handler) -> None:
    client = serve(handler).connect()
    client.send(b"".join(post(b"%d" % number) for number in range(500)))
    assert [client.hear().body for _ in range(500)] == [b"/p %d" % number for number in range(500)]


def test_a_pipelined_request_is_begun_when_the_one_before_it_is_answered(serve: Serve) -> None:
    gate = Gate()
    served = serve(gate)
    client = served.connect().send(GET + GET.replace(b"/a", b"/b"))
    client.send(GET.replace(b"/a", b"/c"))
    assert becomes(lambda: gate.begun == [b"/a?x=1"])
    gate.open(served)
    assert [client.hear().body for _ in range(3)] == [b"/a?x=1 ", b"/b?x=1 ", b"/c?x=1 "]


@both_ways
def test_who_asks_to_close_gets_its_answer_and_the_end(serve: Serve, handler: Handler) -> None:
    client = serve(handler).connect()
    assert client.ask(GET.replace(b"host: a", b"connection: close")).headers["connection"] == "close"
    assert client.rest() == b""


def test_http_1_0_ends_with_the_connection_or_is_told_that_it_stays(serve: Serve) -> None:
    served = serve()
    assert served.connect().send(b"GET / HTTP/1.0\r\n\r\n").rest().startswith(b"HTTP/1.1 200 OK\r\n")
    client = served.connect()
    for _ in range(2):
        said = client.ask(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        assert said.headers["connection"] == "keep-alive"


def test_head_has_the_length_and_not_the_body(serve: Serve) -> None:
    client = serve().connect()
    said = client.ask(b"HEAD /a HTTP/1.1\r\n\r\n", bodiless=True)
    assert said.headers["content-length"] == "3"
    assert client.ask(GET).body == b"/a?x=1 "


@pytest.mark.parametrize("status", [204, 304])
def test_no_body_where_none_may_be(serve: Serve, status: int) -> None:
    answers = [Answer(200, b"next"), Answer(status, b"not to be sent")]
    client = serve(lambda _: answers.pop()).connect()
    assert client.ask(GET, bodiless=True).status == status
    assert client.ask(GET).body == b"next"


@pytest.mark.parametrize("size", [0, 1, 13_000, 32_768, 32_769, 130_000, 5_000_000])
def test_bodies_of_every_size_arrive_whole(serve: Serve, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    client = serve(lambda _: Answer(200, body)).connect()
    for _ in range(2):
        assert client.ask(GET).body == body


def test_a_body_in_pieces_arrives_joined(serve: Serve) -> None:
    pieces = (b"[", b"", b"x" * 200_000, b",", b"y" * 10, b"]")
    client = serve(lambda _: Answer(200, pieces)).connect()
    assert client.ask(GET).body == b"".join(pieces)
    assert client.ask(GET.replace(b"GET", b"HEAD"), bodiless=True).headers["content-length"] == "200013"
    assert client.ask(GET).body == b"".join(pieces)


# Errors of handlers


def failing(error: Exception, *, late: bool) -> Handler:
    async def fail_later(request: Request) -> Answer:
        await asyncio.sleep(0)
        raise error

    def fail(request: Request) -> Answer | Awaitable[Answer]:
        if request.method == "GET":
            return echo(request)
        if late:
            return fail_later(request)
        raise error

    return fail


both_times = pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])


@both_times
def test_an_error_of_ours_becomes_its_answer_and_the_connection_goes_on(serve: Serve, late: bool) -> None:
    client = serve(failing(KeyTaken("taken"), late=late)).connect()
    assert client.ask(post(b"")).body == b"peerdata.key.taken"
    assert client.ask(GET).status == 200


@both_times
def test_a_defect_is_logged_with_its_trace_and_without_the_values_and_the_connection_goes_on(
    serve: Serve, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(failing(ZeroDivisionError("oops"), late=late)).connect()
    said = client.ask(post(b"").replace(b"/p", b"/p?meta.password=secret"))
    assert (said.status, said.body) == (500, b"peerdata.server.error")
    assert client.ask(GET).status == 200
    (record,) = caplog.records
    assert record.getMessage() == "POST /p failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert "secret" not in caplog.text


def test_an_answer_that_would_split_is_a_defect(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    answers = [Answer(200, b"next"), Answer(200, b"", headers=((b"x", b"a\r\nset-cookie: b"),))]
    client = serve(lambda _: answers.pop()).connect()
    said = client.ask(GET)
    assert (said.status, said.body) == (500, b"peerdata.server.error")
    assert "set-cookie" not in said.headers
    assert client.ask(GET).body == b"next"


def test_a_handler_that_cancels_itself_is_answered(serve: Serve) -> None:
    async def give_up(request: Request) -> Answer:
        raise asyncio.CancelledError

    assert serve(give_up).connect().ask(GET).body == b"peerdata.server.busy"


# What is refused


def test_what_is_not_http_is_told_so_even_while_it_sends_more(serve: Serve) -> None:
    """Without lingering, the kernel's reset would take the answer away."""
    client = serve().connect()
    client.send(b"nonsense\r\n" + b"x" * 200_000)
    said = client.hear()
    assert (said.status, said.headers["connection"], said.body) == (400, "close", b"peerdata.request.malformed")
    assert client.rest() == b""


def test_what_came_before_nonsense_is_answered_first(serve: Serve) -> None:
    client = serve(later).connect().send(GET + GET + b"nonsense\r\n\r\n")
    assert [client.hear().status for _ in range(3)] == [200, 200, 400]
    assert client.rest() == b""


def test_a_head_over_the_limit_is_refused(serve: Serve) -> None:
    client = serve().connect().send(b"GET / HTTP/1.1\r\nx: " + b"v" * 100_000)
    assert client.hear().body == b"peerdata.request.head_too_large"
    assert client.rest() == b""


@both_ways
def test_a_body_over_the_limit_is_the_handlers_to_refuse_and_the_sender_sees_it(serve: Serve, handler: Handler) -> None:
    client = serve(handler).connect().send(post(b"b" * 200_000))
    said = client.hear()
    assert (said.body, said.headers["connection"]) == (b"peerdata.body.too_large", "close")
    assert client.rest() == b""


@both_ways
def test_a_chunked_body_over_the_limit_is_refused_where_it_passes_it(serve: Serve, handler: Handler) -> None:
    client = serve(handler, body_bytes=1000).connect()
    client.send(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"64\r\n%b\r\n" % (b"b" * 100) * 500)
    assert client.hear().body == b"peerdata.body.too_large"
    assert client.rest() == b""


def test_a_body_over_the_limit_is_refused_before_it_is_sent(serve: Serve) -> None:
    client = serve().connect()
    head = b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 65537\r\n\r\n"
    assert client.ask(head).body == b"peerdata.body.too_large"


def test_a_body_that_is_waited_for_is_asked_for(serve: Serve) -> None:
    client = serve().connect()
    client.send(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    assert client.hear(bodiless=True).status == 100
    assert client.ask(b"hello").body == b"/ hello"


def test_100_continue_waits_for_the_answers_before_it(serve: Serve) -> None:
    gate = Gate()
    served = serve(gate)
    client = served.connect()
    client.send(GET + b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    assert becomes(lambda: len(gate.begun) == 1)
    gate.open(served)
    assert client.hear().status == 200
    assert client.hear(bodiless=True).status == 100
    assert client.ask(b"hello").body == b"/ hello"


def test_a_body_cut_by_the_client_reaches_nobody(serve: Serve) -> None:
    asked: list[Request] = []

    def note(request: Request) -> Answer:
        asked.append(request)
        return echo(request)

    served = serve(note)
    client = served.connect().send(post(b"hello")[:-1])
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest() == b""
    assert asked == []


def test_one_connection_too_many_is_told_so_and_those_before_it_go_on(serve: Serve) -> None:
    served = serve(connections=2)
    first, second = served.connect(), served.connect()
    assert first.ask(GET).status == second.ask(GET).status == 200
    third = served.connect().send(GET)
    said = third.hear()
    assert (said.body, said.headers["connection"]) == (b"peerdata.server.busy", "close")
    assert third.rest() == b""
    first.sock.close()
    third.sock.close()
    assert served.connections_become(1)
    assert served.connect().ask(GET).status == 200
    assert second.ask(GET).status == 200


def counted(reason: str, listener: str = "instances") -> float:
    """What the metrics say of rejected clients."""
    labels = {"listener": listener, "reason": reason}
    return REGISTRY.get_sample_value("peerdata_turned_away_total", labels) or 0


def test_over_the_limit_some_are_told_and_the_rest_are_closed_and_all_are_counted(serve: Serve) -> None:
    before = counted("max_connections"), counted("dropped")
    served = serve(connections=3)
    clients = [served.connect() for _ in range(3 + TOLD + 2)]
    assert [client.ask(GET).status for client in clients[:3]] == [200] * 3
    assert [client.hear().body for client in clients[3:-2]] == [b"peerdata.server.busy"] * TOLD
    assert all(client.is_dropped() for client in clients[-2:])
    assert (counted("max_connections"), counted("dropped")) == (before[0] + TOLD, before[1] + 2)


def test_an_address_has_its_share_of_connections(serve: Serve) -> None:
    served = serve(connections_of_address=1)
    first, second = served.connect(), served.connect()
    assert first.ask(GET).status == 200
    assert second.hear().body == b"peerdata.server.busy"
    other = Client(socket.create_connection(("127.0.0.1", served.port), PATIENCE_S, source_address=("127.0.0.2", 0)))
    served.open.append(other.sock)
    assert other.ask(GET).status == 200
    first.sock.close()
    second.sock.close()
    assert served.connections_become(1)
    assert served.connect().ask(GET).status == 200


def test_the_last_descriptors_are_kept_for_others(serve: Serve) -> None:
    before = counted("descriptors")
    served = serve(descriptors=1)  # all below are in use
    assert served.connect().hear().body == b"peerdata.server.busy"
    assert counted("descriptors") == before + 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
def test_where_descriptors_run_out_clients_wait_and_the_log_says_so_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The kernel would say at once again that somebody waits; asking it again and again would take a whole core."""
    tries = []

    def fail(_: object) -> None:
        tries.append(number)
        raise OSError(number, os.strerror(number))

    served = serve()
    with monkeypatch.context() as failing:
        failing.setattr(socket.socket, "_accept", fail)
        client = served.connect().send(GET)
        assert becomes(lambda: len(tries) == 2)
    assert client.hear().status == 200
    assert caplog.text.count(os.strerror(number)) == 1


def test_a_client_that_is_gone_before_it_is_accepted_disturbs_nobody(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    accept = socket.socket._accept  # type: ignore[attr-defined]
    failures = [errno.ECONNABORTED, errno.EPROTO]

    def fail_first(sock: socket.socket) -> object:
        if failures:
            raise OSError(failures.pop(), "gone")
        return accept(sock)

    monkeypatch.setattr(socket.socket, "_accept", fail_first)
    assert served.connect().ask(GET).status == 200


def test_requests_that_are_not_whole_are_bounded_together(serve: Serve) -> None:
    before = counted("incoming_bytes")
    served = serve(incoming_bytes=1_000_000)
    clients = [served.connect().send(post(b"x" * 60_000)[:-1]) for _ in range(30)]
    assert becomes(lambda: counted("incoming_bytes") > before)
    assert served.connect().ask(GET).status == 200
    time.sleep(0.1)
    assert served.server.connections <= 1_000_000 // 60_000 + 1
    assert len(clients) == 30


def test_slow_readers_of_an_account_are_dropped_before_those_of_another(serve: Serve) -> None:
    """Of bodies of their own; one that many are sent would count once."""

    def answer(request: Request) -> Answer:
        account = request.target.decode()
        return Answer(200, b"x" * 8_000_000, account=account)

    before = counted("unwritten_bytes")
    served = serve(answer, unwritten_bytes_of_account=30_000_000)
    other = served.connect().send(GET.replace(b"/a?x=1", b"/green"))
    greedy = [served.connect().send(GET.replace(b"/a?x=1", b"/blue")) for _ in range(8)]
    assert becomes(lambda: counted("unwritten_bytes") - before >= 4)
    assert len(other.hear().body) == 8_000_000
    assert len(greedy) == 8


def test_a_body_that_many_slow_readers_are_sent_counts_once(serve: Serve, request: pytest.FixtureRequest) -> None:
    body = b"x" * 8_000_000
    served = serve(lambda _: Answer(200, body, account="blue"), unwritten_bytes_of_account=30_000_000)
    clients = [served.connect().send(GET) for _ in range(8)]
    time.sleep(0.2)
    assert [client.hear().body == body for client in clients] == [True] * 8


# Deadlines


def test_a_head_that_does_not_end_is_closed_without_a_word(serve: Serve) -> None:
    client = serve(head_timeout_s=0.1).connect().send(GET[:-2])
    assert client.rest() == b""


@both_ways
def test_a_body_that_does_not_end_is_the_handlers_to_refuse(serve: Serve, handler: Handler) -> None:
    client = serve(handler, body_timeout_s=0.1).connect().send(post(b"hello")[:-1])
    said = client.hear()
    assert (said.body, said.headers["connection"]) == (b"peerdata.body.timed_out", "close")
    assert client.rest() == b""


def test_an_idle_connection_is_closed(serve: Serve) -> None:
    served = serve(idle_timeout_s=0.1)
    client = served.connect()
    assert client.ask(GET).status == 200
    assert client.rest() == b""
    assert served.connect().rest() == b""
    assert served.connections_become(0)


def test_a_handler_may_take_longer_than_any_of_the_deadlines(serve: Serve) -> None:
    async def slow(request: Request) -> Answer:
        await asyncio.sleep(0.3)
        return echo(request)

    client = serve(slow, idle_timeout_s=0.1, head_timeout_s=0.1, body_timeout_s=0.1).connect()
    assert client.ask(post(b"hello")).body == b"/p hello"


# Clients that are slow, or gone


def test_a_client_that_reads_slowly_gets_all_and_nothing_is_made_ahead_for_it(
    serve: Serve, request: pytest.FixtureRequest
) -> None:
    if "asyncio" in request.node.name and WRITELINES_RUNS_AHEAD:
        pytest.skip("asyncio's own loop does not hold writers back here")
    body = b"x" * 1_000_000
    made: list[bytes] = []

    def big(request: Request) -> Answer:
        made.append(request.target)
        return Answer(200, body)

    client = serve(big).connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(GET * 50)
    time.sleep(0.2)
    assert len(made) < 20  # as many as the kernel's buffers hold, and one
    for _ in range(50):
        assert client.hear().body == body


def test_a_client_that_does_not_read_its_answer_is_dropped(serve: Serve) -> None:
    served = serve(lambda _: Answer(200, b"x" * 20_000_000), idle_timeout_s=0.2)
    client = served.connect().send(GET)
    assert served.connections_become(1)
    assert served.connections_become(0)
    with pytest.raises((EOFError, ConnectionResetError)):
        client.hear()


def test_no_more_is_read_from_a_client_while_its_request_is_at_work(serve: Serve) -> None:
    served = serve(Gate())
    client = served.connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    client.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.send(GET * 1_000_000)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_call_whose_client_is_gone_runs_to_its_end(serve: Serve, reset: bool) -> None:
    gate = Gate()
    served = serve(gate)
    client = served.connect().send(post(b"hello"))
    assert becomes(lambda: gate.begun == [b"/p"])
    if reset:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.sock.close()
    time.sleep(0.05)
    gate.open(served)
    assert becomes(lambda: gate.done == [b"/p"])
    assert served.connections_become(0)


@both_ways
def test_a_client_that_only_stops_sending_still_gets_its_answers(serve: Serve, handler: Handler) -> None:
    client = serve(handler).connect().send(GET * 3)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest().count(b"HTTP/1.1 200 OK") == 3


# Shutting down


def test_closing_closes_idle_connections_at_once_and_listens_no_more(serve: Serve) -> None:
    served = serve()
    client = served.connect()
    assert client.ask(GET).status == 200
    began = time.monotonic()
    served.close(grace_s=PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S / 2
    assert client.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        served.connect()


async def close_once(both: threading.Barrier, served: Served) -> None:
    """Hold up the loop between two meetings, and close before it has looked at any socket again."""
    both.wait()
    both.wait()
    await served.server.close(grace_s=PATIENCE_S)


def test_who_waits_in_the_kernels_queue_when_the_server_closes_is_answered(serve: Serve) -> None:
    """More than are accepted at once; nobody looks at the queue while the loop is held up."""
    served = serve()
    both = threading.Barrier(2, timeout=PATIENCE_S)
    closed = served.start(close_once(both, served))
    both.wait()
    clients = [served.connect().send(GET) for _ in range(50)]
    both.wait()
    for client in clients:
        said = client.hear()
        assert (said.status, said.headers["connection"]) == (200, "close")
        assert client.rest() == b""
    closed()


def test_a_request_that_is_in_the_kernel_when_the_server_closes_is_answered(serve: Serve) -> None:
    served = serve()
    clients = [served.connect() for _ in range(50)]
    assert [client.ask(GET).status for client in clients] == [200] * 50
    both = threading.Barrier(2, timeout=PATIENCE_S)
    closed = served.start(close_once(both, served))
    both.wait()
    for client in clients:
        client.send(GET)
    both.wait()
    assert [client.hear().headers["connection"] for client in clients] == ["close"] * 50
    closed()


def test_who_has_connected_and_sent_nothing_when_the_server_closes_may_still_ask(serve: Serve) -> None:
    served = serve()
    client, silent = served.connect(), served.connect()
    assert served.connections_become(2)
    began = time.monotonic()
    closed = served.start(served.server.close(grace_s=PATIENCE_S))
    time.sleep(0.2)
    assert client.ask(GET).headers["connection"] == "close"
    assert silent.rest() == b""
    closed()
    assert FIRST_REQUEST_S <= time.monotonic() - began < FIRST_REQUEST_S + PATIENCE_S / 2


async def say_last(served: Served) -> None:
    served.server.say_last()


def test_last_answers_are_given_while_others_still_connect(serve: Serve) -> None:
    served = serve()
    client, idle = served.connect(), served.connect()
    assert client.ask(GET).status == idle.ask(GET).status == 200
    served.run(say_last(served))
    assert client.ask(GET).headers["connection"] == "close"
    assert client.rest() == b""
    assert served.connect().ask(GET).headers["connection"] == "close"
    assert served.connections_become(1)
    assert idle.ask(GET).headers["connection"] == "close"  # nobody is sent away before it was told


def test_closing_waits_for_the_answers_under_way_and_they_are_the_last(serve: Serve) -> None:
    gate = Gate()
    served = serve(gate)
    client = served.connect().send(GET + GET)
    half = served.connect().send(post(b"hello")[:-1])
    assert becomes(lambda: len(gate.begun) == 1 and served.server.connections == 2)
    time.sleep(0.05)
    closed = served.start(served.server.close(grace_s=PATIENCE_S))
    gate.open(served)
    said = client.hear()
    assert (said.status, said.headers["connection"]) == (200, "close")
    assert client.rest() == b""
    assert half.ask(b"o").headers["connection"] == "close"
    assert gate.begun == [b"/a?x=1", b"/p"]  # the second of the first client was not; it knows, and can ask elsewhere
    client.sock.close()
    closed()
    assert served.server.connections == 0


def test_after_the_grace_the_rest_is_dropped_and_cancelled(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    served = serve(gate)
    client = served.connect().send(GET)
    gone = served.connect().send(GET)
    assert becomes(lambda: len(gate.begun) == 2)
    gone.sock.close()
    served.close(grace_s=0.1)
    assert client.is_dropped()
    assert len(gate.cancelled) == 2
    assert served.server.connections == 0
    assert "dropping 1 connections and 2 calls" in caplog.text or "dropping 2 connections and 2 calls" in caplog.text


def test_a_call_whose_client_is_gone_is_waited_for_too(serve: Serve) -> None:
    gate = Gate()
    served = serve(gate)
    client = served.connect().send(GET)
    assert becomes(lambda: len(gate.begun) == 1)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.sock.close()
    closed = served.start(served.server.close(grace_s=PATIENCE_S))
    time.sleep(0.05)
    gate.open(served)
    closed()
    assert len(gate.done) == 1


def test_closing_twice_does_no_harm_and_may_shorten_the_grace(serve: Serve) -> None:
    gate = Gate()
    served = serve(gate)
    served.connect().send(GET)
    assert becomes(lambda: len(gate.begun) == 1)
    first = served.start(served.server.close(grace_s=60))
    served.close(grace_s=0)
    first()
    served.close()
    assert len(gate.cancelled) == 1


# Addresses


def test_a_port_in_use_is_an_error(serve: Serve) -> None:
    served = serve()
    with pytest.raises(OSError, match="in use") as caught:
        served.listen(port=served.port)
    assert caught.value.errno == errno.EADDRINUSE


def test_ipv4_and_ipv6_stand_side_by_side_on_one_port(serve: Serve) -> None:
    served = serve(lambda request: Answer(200, request.client.encode()), listening=False)
    port = served.listen("0.0.0.0")
    try:
        served.listen("::", port)
    except OSError as exc:
        pytest.skip(f"no IPv6 here: {exc}")
    assert served.connect("127.0.0.1").ask(GET).body == b"127.0.0.1"
    assert served.connect("::1").ask(GET).body == b"::1"


# TLS


@dataclass
class Keys:
    """A certificate authority, and contexts for servers and clients that it signed."""

    path: Path

    def server(self, *, demand: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path / "server.pem", self.path / "key.pem")
        if demand:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.path / "ca.pem")
        return context

    def client(self, *, shows: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.path / "ca.pem")
        if shows:
            context.load_cert_chain(self.path / "client.pem", self.path / "key.pem")
        return context


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Made anew, so that none can be out of date."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make certificates")
    path = tmp_path_factory.mktemp("keys")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=path, check=True, capture_output=True)

    run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem")
    new = ("req", "-x509", "-new", "-key", "key.pem", "-days", "1")
    run(*new, "-subj", "/CN=test authority", "-out", "ca.pem")
    signed = (*new, "-CA", "ca.pem", "-CAkey", "key.pem", "-addext", "basicConstraints=critical,CA:FALSE")
    run(*signed, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", "server.pem")
    run(*signed, "-subj", "/CN=client", "-out", "client.pem")
    return Keys(path)


def tls_served(serve: Serve, context: ssl.SSLContext, handler: Handler = echo, **limits: Any) -> Served:
    served = serve(handler, listening=False, **limits)
    served.listen(tls=context)
    return served


@both_ways
def test_tls_carries_the_same_conversation(serve: Serve, keys: Keys, handler: Handler) -> None:
    served = tls_served(serve, keys.server(), handler)
    client = served.connect(tls=keys.client())
    assert client.ask(GET).body == b"/a?x=1 "
    assert client.ask(post(b"hello")).body == b"/p hello"
    client.send(GET * 20)
    assert [client.hear().status for _ in range(20)] == [200] * 20
    assert client.ask(GET.replace(b"host: a", b"connection: close")).status == 200
    assert client.is_dropped()
    assert served.connections_become(0)


def test_tls_carries_long_answers_to_slow_readers(serve: Serve, keys: Keys) -> None:
    served = tls_served(serve, keys.server(), lambda _: Answer(200, (b"x" * 3_000_000, b"y")))
    client = served.connect(tls=keys.client()).send(GET * 3)
    time.sleep(0.1)
    for _ in range(3):
        assert len(client.hear().body) == 3_000_001


def test_over_tls_too_a_refused_client_sees_why(serve: Serve, keys: Keys) -> None:
    client = tls_served(serve, keys.server()).connect(tls=keys.client())
    assert client.ask(post(b"b" * 200_000)).body == b"peerdata.body.too_large"


def test_a_client_certificate_that_is_demanded_must_be_shown(serve: Serve, keys: Keys) -> None:
    served = tls_served(serve, keys.server(demand=True))
    assert served.connect(tls=keys.client(shows=True)).ask(GET).status == 200
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        served.connect(tls=keys.client()).ask(GET)


def test_another_context_counts_for_new_connections_and_leaves_the_open_ones(serve: Serve, keys: Keys) -> None:
    served = tls_served(serve, keys.server())
    plain = served.port, served.listen()
    served.port = plain[0]
    asks_nobody = keys.client()
    before = served.connect(tls=asks_nobody)
    assert before.ask(GET).status == 200
    session = before.sock.session  # type: ignore[attr-defined]
    served.run(served.server.change_tls(keys.server(demand=True)))
    assert before.ask(GET).status == 200
    assert served.connect(tls=keys.client(shows=True)).ask(GET).status == 200
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        served.connect(tls=asks_nobody).ask(GET)
    resumed = asks_nobody.wrap_socket(
        socket.create_connection(("127.0.0.1", served.port), PATIENCE_S), server_hostname="localhost", session=session
    )
    served.open.append(resumed)
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        Client(resumed).ask(GET)
    served.port = plain[1]
    assert served.connect().ask(GET).status == 200


@pytest.mark.parametrize("serve", [uvloop.new_event_loop], ids=["uvloop"], indirect=True)
def test_whoever_connects_while_the_context_is_changed_is_served(serve: Serve, keys: Keys) -> None:
    """Asyncio's own server forgets whom it is just accepting when it is closed; the service never runs on it."""
    served = tls_served(serve, keys.server())
    with ThreadPoolExecutor(1) as beside:
        changing = beside.submit(lambda: [served.run(served.server.change_tls(keys.server())) for _ in range(50)])
        while not changing.done():
            assert served.connect(tls=keys.client()).ask(GET).status == 200
        changing.result()


def test_who_is_turned_away_from_a_tls_listener_is_counted_there(serve: Serve, keys: Keys) -> None:
    before = counted("not_http", "instances_tls")
    tls_served(serve, keys.server()).connect(tls=keys.client()).ask(b"get / HTTP/1.1\r\n\r\n")
    assert counted("not_http", "instances_tls") == before + 1


def test_a_tls_handshake_that_stalls_is_given_up(serve: Serve, keys: Keys) -> None:
    before = counted("handshake", "instances_tls")
    served = tls_served(serve, keys.server(), head_timeout_s=0.2)
    assert served.connect().is_dropped()
    assert served.connections_become(0)
    assert becomes(lambda: counted("handshake", "instances_tls") == before + 1)


def test_whoever_does_not_shake_hands_is_counted_and_one_too_many_is_closed(serve: Serve, keys: Keys) -> None:
    before = counted("max_connections", "instances_tls")
    served = tls_served(serve, keys.server(), connections=2)
    silent = [served.connect() for _ in range(2)]
    assert served.connections_become(2)
    assert served.connect().is_dropped()
    assert counted("max_connections", "instances_tls") == before + 1
    for client in silent:
        client.sock.close()
    assert served.connections_become(0)
    assert served.connect(tls=keys.client()).ask(GET).status == 200


def test_closing_does_not_wait_for_a_handshake_that_has_failed(serve: Serve, keys: Keys) -> None:
    served = tls_served(serve, keys.server())
    client = served.connect()
    assert served.connections_become(1)
    began = time.monotonic()
    closed = served.start(served.server.close(grace_s=PATIENCE_S))
    client.sock.close()
    closed()
    assert time.monotonic() - began < PATIENCE_S / 2


def test_closing_waits_for_a_handshake_and_the_request_behind_it(serve: Serve, keys: Keys) -> None:
    served = tls_served(serve, keys.server())
    raw = socket.create_connection(("127.0.0.1", served.port), PATIENCE_S)
    served.open.append(raw)
    assert served.connections_become(1)
    closed = served.start(served.server.close(grace_s=PATIENCE_S))
    time.sleep(0.1)
    client = Client(keys.client().wrap_socket(raw, server_hostname="localhost"))
    assert client.ask(GET).headers["connection"] == "close"
    reading = threading.Thread(target=client.is_dropped)  # answers the server's farewell
    reading.start()
    closed()
    reading.join()


def test_plain_http_on_a_tls_port_disturbs_nobody(serve: Serve, keys: Keys) -> None:
    served = tls_served(serve, keys.server())
    client = served.connect().send(GET)
    with contextlib.suppress(ConnectionResetError):
        assert b"HTTP" not in client.rest()
    assert served.connect(tls=keys.client()).ask(GET).status == 200


def test_closing_ends_tls_connections_too(serve: Serve, keys: Keys) -> None:
    served = tls_served(serve, keys.server())
    client = served.connect(tls=keys.client())
    assert client.ask(GET).status == 200
    reading = threading.Thread(target=client.is_dropped)  # answers the server's farewell
    reading.start()
    served.close(grace_s=PATIENCE_S)
    reading.join()
    assert served.server.connections == 0
