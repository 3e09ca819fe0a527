"""
Connections to nova, against a server that does what a script says: every framing, every way to die, reuse, TLS.

Each test runs on asyncio's loop and on uvloop, which imitates it and is what the service runs on (`conftest.py`).
"""

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from peerdata.errors import UpstreamFailed
from peerdata.upstream.connections import CLOSED_EARLY, KEPT_S, LINGER_S, MAX_LINGERING, Connections, Exchange, Outcome
from peerdata.upstream.messages import NovaAnswer, write_request

PATIENCE_S = 5.0
"""How long a test waits for what must happen; only a failing one waits so long."""


@dataclass
class Say:
    """What the server does with a request: bytes, one write for each, and then what."""

    parts: tuple[bytes, ...]
    then: str = "go on"  # close, reset, hang


def say(*parts: bytes, then: str = "go on") -> Say:
    return Say(parts, then)


def ok(body: bytes = b"abc", *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"Content-Length: %d" % len(body), b"", body])


Script = Callable[[int, int], Say]
"""What to say on which connection, counted from 0, to which of its requests."""


@dataclass
class Server:
    """Listens on loopback, and remembers what it was asked on which connection, and who closed it."""

    script: Script = lambda _connection, _request: say(ok())
    seen: list[list[bytes]] = field(default_factory=list)
    closed_by_client: list[int] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def open(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.seen)
        self._writers.append(writer)
        requests: list[bytes] = []
        self.seen.append(requests)
        try:
            while True:
                requests.append(await _read_request(reader))
                said = self.script(number, len(requests) - 1)
                for part in said.parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if said.then == "close":
                    writer.close()
                    return
                if said.then == "reset":
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                    return
                if said.then == "hang":
                    await asyncio.Event().wait()
        except asyncio.IncompleteReadError:
            self.closed_by_client.append(number)
            writer.close()
        except (OSError, asyncio.CancelledError):
            pass


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Way:
    """The connections under test, and their server."""

    server: Server
    connections: Connections
    clock: Clock

    def begin(
        self, method: str = "GET", path: bytes = b"/a", body: bytes = b""
    ) -> tuple[Exchange, asyncio.Future[Outcome]]:
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        wire = write_request(method, path, (), body, b"nova").wire
        safe = method in ("GET", "HEAD")
        exchange = self.connections.send(wire, is_head=method == "HEAD", safe=safe, done=told.set_result)
        return exchange, told

    async def ask(self, method: str = "GET", path: bytes = b"/a", body: bytes = b"") -> Outcome:
        return await asyncio.wait_for(self.begin(method, path, body)[1], PATIENCE_S)

    async def answer(self, method: str = "GET", path: bytes = b"/a", body: bytes = b"") -> NovaAnswer:
        outcome = await self.ask(method, path, body)
        assert isinstance(outcome, NovaAnswer), outcome
        return outcome

    def pass_s(self, seconds: float) -> None:
        """Let time go by, and have it noticed."""
        self.clock.now += seconds
        self.connections.look_around(self.clock.now)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)


def make(server: Server, clock: Clock, **changed: Any) -> Connections:
    given: dict[str, Any] = {
        "tls": None,
        "max_connections": 8,
        "idle_s": 30.0,
        "max_answer_bytes": 1000,
        "clock": clock,
    }
    return Connections("127.0.0.1", server.port, **(given | changed))


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    server, clock = Server(), Clock()
    await server.open()
    way = Way(server, make(server, clock), clock)
    yield way
    way.connections.close()
    await server.close()


# Framing

FRAMINGS: dict[str, tuple[str, Say, int, bytes, int | None, bool]] = {
    "a length": ("GET", say(ok()), 200, b"abc", None, True),
    "a length of nothing": ("GET", say(ok(b"")), 200, b"", None, True),
    "chunks": (
        "GET",
        say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n"),
        200,
        b"abc",
        None,
        True,
    ),
    "the end of the connection": (
        "GET",
        say(b"HTTP/1.0 200 OK\r\n\r\na", b"bc", then="close"),
        200,
        b"abc",
        None,
        False,
    ),
    "the end of it in HTTP/1.1": (
        "GET",
        say(b"HTTP/1.1 200 OK\r\n\r\n", b"abc", then="close"),
        200,
        b"abc",
        None,
        False,
    ),
    "nothing, and the end of it": ("GET", say(b"HTTP/1.0 200 OK\r\n\r\n", then="close"), 200, b"", None, False),
    "HTTP/1.0 that stays": (
        "GET",
        say(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"),
        200,
        b"abc",
        None,
        True,
    ),
    "HTTP/1.0 that does not": (
        "GET",
        say(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
        200,
        b"abc",
        None,
        False,
    ),
    "it says that it closes": ("GET", say(ok(b"abc", b"Connection: close")), 200, b"abc", None, False),
    "204": ("GET", say(b"HTTP/1.1 204 No\r\n\r\n"), 204, b"", None, False),
    "304 with a length": ("GET", say(b"HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n"), 304, b"", None, False),
    "HEAD with a length": ("HEAD", say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), 200, b"", 3, False),
    "HEAD in chunks": ("HEAD", say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), 200, b"", None, False),
    "HEAD without a length": ("HEAD", say(b"HTTP/1.1 200 OK\r\n\r\n"), 200, b"", None, False),
    "interim answers": (
        "GET",
        say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n", ok()),
        200,
        b"abc",
        None,
        True,
    ),
    "an interim answer with a length": (
        "GET",
        say(b"HTTP/1.1 102 X\r\nContent-Length: 0\r\n\r\n" + ok()),
        200,
        b"abc",
        None,
        True,
    ),
    "no reason": ("GET", say(b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"), 404, b"", None, True),
}
"""Method, what is said, status, body, stated length of a HEAD, and whether the connection is used again."""


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize("in_bytes", [False, True], ids=["", "byte by byte"])
async def test_every_way_of_framing_an_answer_is_understood(way: Way, name: str, in_bytes: bool) -> None:
    method, said, status, body, head_length, stays = FRAMINGS[name]
    if in_bytes:
        whole = b"".join(said.parts)
        said = Say(tuple(whole[at : at + 1] for at in range(len(whole))), said.then)
    times = 2 if stays else 1
    way.server.script = lambda connection, request: said if connection == 0 and request < times else say(ok())

    for _ in range(times):
        answer = await way.answer(method)
        assert (answer.status, answer.body, answer.head_length) == (status, body, head_length)
    await way.answer()
    assert [len(requests) for requests in way.server.seen] == ([3] if stays else [1, 1])


async def test_a_long_answer_comes_whole_up_to_the_limit(way: Way) -> None:
    way.server.script = lambda _connection, request: say(ok(b"x" * (1000 + request)))
    assert (await way.answer()).body == b"x" * 1000
    outcome = await way.ask()
    assert isinstance(outcome, UpstreamFailed)
    assert outcome.facts == {"limit": 1000}


async def test_headers_come_as_they_were_sent_without_those_of_the_connection(way: Way) -> None:
    way.server.script = lambda *_: say(
        ok(b"", b"X-B: 1 \t", b"x-a:\xe9\xff", b"X-B: 2", b"Date: x", b"Keep-Alive: 5", b"content-TYPE: a/b", b"X-E:")
    )
    answer = await way.answer()
    assert answer.headers == ((b"X-B", b"1"), (b"x-a", b"\xe9\xff"), (b"X-B", b"2"), (b"X-E", b""))
    assert answer.content_type == b"a/b"


async def test_nothing_of_one_answer_is_in_the_next(way: Way) -> None:
    said = [ok(b"abc", b"X: 1", b"Content-Type: a/b"), b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", ok(b"")]
    way.server.script = lambda _connection, request: say(said[request])
    assert (await way.answer()).headers == ((b"X", b"1"),)
    for status in (404, 200):
        answer = await way.answer()
        assert (answer.status, answer.headers, answer.content_type, answer.body) == (status, (), b"", b"")
    assert len(way.server.seen) == 1


# What is not an answer

NO_ANSWERS = {
    "closed without a word": say(then="close"),
    "reset": say(then="reset"),
    "not HTTP": say(b"220 mail.example.org ESMTP\r\n\r\n"),
    "HTTP/2": say(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "cut within the head": say(b"HTTP/1.1 200 OK\r\nContent-Le", then="close"),
    "cut within the body": say(ok()[:-1], then="close"),
    "reset within the body": say(ok()[:-1], then="reset"),
    "reset before the end of a body without a length": say(b"HTTP/1.0 200 OK\r\n\r\nabc", then="reset"),
    "cut within a chunk": say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", then="close"),
    "cut between chunks": say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", then="close"),
    "cut before the trailers": say(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", then="close"
    ),
    "cut behind an interim answer": say(b"HTTP/1.1 100 Continue\r\n\r\n", then="close"),
    "two lengths": say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab"),
    "a length and chunks": say(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    ),
    "another coding": say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", then="close"),
    "a coding within chunks": say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    "another protocol": say(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "a status of no class": say(b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n"),
    "an endless header": say(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000),
    "endless headers": say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000),
    "endless headers at once": say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"Content-Length: 0\r\n\r\n"),
    "endless trailers": say(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 40_000, then="hang"
    ),
    "endless chunks of nothing": say(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200_000, then="hang"
    ),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_not_an_answer_is_an_error_and_its_connection_is_not_used_again(
    way: Way, name: str, method: str
) -> None:
    way.server.script = lambda connection, _: NO_ANSWERS[name] if connection == 0 else say(ok())
    outcome = await way.ask(method)
    assert isinstance(outcome, UpstreamFailed | OSError), outcome
    assert str(outcome).isprintable()
    assert (await way.answer()).body == b"abc"
    assert [len(requests) for requests in way.server.seen] == [1, 1], "a new connection is not tried twice"
    await way.until(lambda: len(way.connections) == 1)


async def test_a_server_that_is_not_there_is_an_error_with_its_number(way: Way) -> None:
    await way.server.close()
    outcome = await way.ask()
    assert isinstance(outcome, ConnectionRefusedError)
    assert len(way.connections) == 0


@pytest.mark.parametrize("surplus", [b"x", ok(b"of somebody else"), b"\0"])
@pytest.mark.parametrize("apart", [True, False], ids=["later", "at once"])
async def test_after_more_than_an_answer_a_connection_is_not_used_again(way: Way, surplus: bytes, apart: bool) -> None:
    """Whose answer would it be?"""
    way.server.script = lambda connection, _: (
        say(ok()) if connection else say(ok(), surplus) if apart else say(ok() + surplus)
    )
    assert (await way.answer()).body == b"abc"
    await way.until(lambda: len(way.connections) == 0)
    assert (await way.answer()).body == b"abc"
    assert [len(requests) for requests in way.server.seen] == [1, 1]


async def test_a_body_behind_the_head_of_a_head_is_not_taken_for_an_answer(way: Way) -> None:
    way.server.script = lambda connection, _: say(ok())
    assert (await way.answer("HEAD")).body == b""
    await way.until(lambda: len(way.connections) == 0)


async def test_bytes_that_came_while_a_connection_was_unused_are_nobodys_answer(way: Way) -> None:
    """They lie in the kernel, and the loop has not looked yet: whoever asks next must not be given them."""
    assert (await way.answer()).body == b"abc"
    way.server._writers[0].write(ok(b"of somebody else"))
    assert (await way.answer()).body == b"abc"
    assert [len(requests) for requests in way.server.seen] == [1, 1]


# Reuse


async def test_the_connection_that_was_used_last_is_used_first(way: Way) -> None:
    await asyncio.gather(*(way.answer() for _ in range(3)))
    for _ in range(5):
        await way.answer()
    assert sorted(len(requests) for requests in way.server.seen) == [1, 1, 6]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_what_may_change_something_has_a_new_connection_that_the_server_closes(way: Way, method: str) -> None:
    """The side that closes first keeps the port in TIME_WAIT."""
    await way.answer()
    await way.answer(method, body=b"x")
    await way.answer(method, body=b"x")
    assert [len(requests) for requests in way.server.seen] == [1, 1, 1]
    assert [b"connection: close" in requests[0] for requests in way.server.seen] == [False, True, True]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_read_on_a_used_connection_that_dies_before_its_answer_is_sent_once_more(
    way: Way, method: str, then: str
) -> None:
    def script(connection: int, request: int) -> Say:
        return say(ok(b"")) if request == 0 and connection in (0, 2) else say(then=then)

    way.server.script = script
    await way.answer()
    assert isinstance(await way.ask(method), OSError), "on the new one it is not repeated"
    assert [len(requests) for requests in way.server.seen] == [2, 1]


async def test_the_second_sending_has_a_new_connection_whatever_lies_ready(way: Way) -> None:
    def script(connection: int, request: int) -> Say:
        return say(ok()) if request == 0 else say(then="close")

    way.server.script = script
    await asyncio.gather(*(way.answer() for _ in range(3)))
    await way.answer()
    assert sorted(len(requests) for requests in way.server.seen) == [1, 1, 1, 2]


async def test_a_read_whose_answer_has_begun_is_not_sent_again(way: Way) -> None:
    way.server.script = lambda _connection, request: say(
        b"H" if request else ok(), then="close" if request else "go on"
    )
    await way.answer()
    assert isinstance(await way.ask(), OSError)
    assert [len(requests) for requests in way.server.seen] == [2]


async def test_a_connection_that_the_server_closes_while_it_is_unused_is_noticed_at_once(way: Way) -> None:
    way.server.script = lambda *_: say(ok(), then="close")
    await way.answer()
    await way.until(lambda: len(way.connections) == 0)


async def test_a_server_that_closes_without_saying_so_costs_a_few_attempts_and_then_none(way: Way) -> None:
    """Nova under uWSGI. Here the closing is never noticed in time: the worst case."""

    def script(_connection: int, request: int) -> Say:
        return say(ok()) if request == 0 else say(then="close")

    way.server.script = script
    for _ in range(20):
        await way.answer()
        await asyncio.sleep(0)
    attempts = sum(len(requests) for requests in way.server.seen)
    assert 20 <= attempts <= 20 + CLOSED_EARLY


async def test_a_server_that_closes_after_each_answer_is_recognised_by_that_alone(way: Way) -> None:
    way.server.script = lambda *_: say(ok(), then="close")
    for _ in range(CLOSED_EARLY):
        await way.answer()
        await way.until(lambda: len(way.connections) == 0)
    assert not way.connections._habit.keeps


async def test_a_server_that_keeps_connections_again_is_recognised(way: Way) -> None:
    await test_a_server_that_closes_after_each_answer_is_recognised_by_that_alone(way)
    way.server.script = lambda *_: say(ok())
    way.server.seen.clear()
    for _ in range(3):
        await way.answer()
    assert [len(requests) for requests in way.server.seen] == [1, 1, 1]
    way.pass_s(KEPT_S)
    for _ in range(3):
        await way.answer()
    assert sorted(len(requests) for requests in way.server.seen) == [1, 1, 4]


async def test_a_server_that_closes_what_has_been_unused_for_a_while_keeps_connections(way: Way) -> None:
    """Gunicorn after 2 s, Apache after 5."""
    for _ in range(2 * CLOSED_EARLY):
        way.server.script = lambda *_: say(ok())
        await way.answer()
        way.pass_s(KEPT_S)
        for writer in way.server._writers:
            writer.close()
        await way.until(lambda: len(way.connections) == 0)
    assert way.connections._habit.keeps


# Bounds


async def test_an_unused_connection_is_closed_after_its_time(way: Way) -> None:
    await way.answer()
    way.pass_s(29.9)
    assert len(way.connections) == 1
    way.pass_s(0.1)
    await way.until(lambda: len(way.connections) == 0)
    await way.until(lambda: way.server.closed_by_client == [0])


async def test_with_an_idle_time_of_nothing_no_connection_is_used_again(way: Way) -> None:
    way.connections = make(way.server, way.clock, idle_s=0.0)
    for _ in range(3):
        await way.answer()
    assert [len(requests) for requests in way.server.seen] == [1, 1, 1]
    way.pass_s(LINGER_S)
    await way.until(lambda: len(way.connections) == 0)


async def test_unused_connections_make_room(way: Way) -> None:
    way.connections = make(way.server, way.clock, max_connections=3)
    await asyncio.gather(*(way.answer() for _ in range(3)))
    way.server.script = lambda *_: say(then="hang")
    for number in range(1, 4):
        way.begin("POST")
        await way.until(lambda number=number: len(way.server.closed_by_client) == number)  # type: ignore[misc]
    assert len(way.connections) <= 4


async def test_a_connection_that_will_not_be_used_again_is_the_server_s_to_close(way: Way) -> None:
    way.server.script = lambda *_: say(ok(b"", b"Connection: close"))
    await way.answer()
    way.pass_s(LINGER_S - 0.1)
    await asyncio.sleep(0.02)
    assert way.server.closed_by_client == []
    way.pass_s(0.1)
    await way.until(lambda: way.server.closed_by_client == [0])


async def test_the_server_closes_only_so_many(way: Way) -> None:
    way.server.script = lambda *_: say(ok(b"", b"Connection: close"))
    for _ in range(MAX_LINGERING + 5):
        await way.answer()
    await way.until(lambda: len(way.server.closed_by_client) == 5)
    assert len(way.connections) == MAX_LINGERING


async def test_what_is_abandoned_is_never_told_and_its_connection_is_gone(way: Way) -> None:
    way.server.script = lambda *_: say(b"HTTP/1.1 200 OK\r\nContent-Le", then="hang")
    connecting, told_first = way.begin()
    way.connections.abandon(connecting)
    sent, told_second = way.begin()
    await way.until(lambda: sent.connection)
    way.connections.abandon(sent)
    await way.until(lambda: len(way.connections) == 0)
    assert not told_first.done()
    assert not told_second.done()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_closing_fails_what_is_under_way(way: Way, method: str) -> None:
    await way.answer()
    way.server.script = lambda *_: say(then="hang")
    under_way = [way.begin(method)[1] for _ in range(2)]
    await asyncio.sleep(0.02)
    opening = way.begin("POST")[1]
    way.connections.close()
    for told in (*under_way, opening):
        assert isinstance(await asyncio.wait_for(told, PATIENCE_S), OSError)
    await way.until(lambda: len(way.connections) == 0)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make certificates")
    path = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=nova -keyout key.pem"
    san = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", "nova.pem"]
    subprocess.run([openssl, *words.split(), *san], cwd=path, check=True, capture_output=True)
    return path


async def tls_way(certificate: Path, trusts: bool = True) -> Way:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "nova.pem", certificate / "key.pem")
    server, clock = Server(), Clock()
    await server.open(context)
    client = ssl.create_default_context(cafile=str(certificate / "nova.pem") if trusts else None)
    return Way(server, make(server, clock, tls=client), clock)


async def test_a_connection_with_tls_is_used_again(certificate: Path) -> None:
    way = await tls_way(certificate)
    for _ in range(3):
        assert (await way.answer()).body == b"abc"
    assert [len(requests) for requests in way.server.seen] == [3]
    way.connections.close()
    await way.server.close()


async def test_a_connection_with_tls_that_dies_is_replaced(certificate: Path) -> None:
    way = await tls_way(certificate)
    way.server.script = lambda _connection, request: say(ok()) if request == 0 else say(then="close")
    await way.answer()
    assert (await way.answer()).body == b"abc"
    assert [len(requests) for requests in way.server.seen] == [2, 1]
    way.server.script = lambda *_: say(b"HTTP/1.0 200 OK\r\n\r\nabc", then="close")
    assert (await way.answer("POST")).body == b"abc"
    way.connections.close()
    await way.server.close()


async def test_a_server_that_is_not_trusted_gets_no_request(certificate: Path) -> None:
    way = await tls_way(certificate, trusts=False)
    assert isinstance(await way.ask(), ssl.SSLError)
    assert [requests for requests in way.server.seen if requests] == []
    way.connections.close()
    await way.server.close()
