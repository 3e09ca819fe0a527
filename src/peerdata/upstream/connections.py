# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
HTTP/1.1 towards one server: a request is bytes written, its answer is told to a callback. No task for each request.

llhttp, inside httptools, decides what an answer is, and is left as strict as it comes. What it leaves open is
decided here: an answer without a length ends with its connection; one to HEAD, and a 204 or 304, with its head; of
Transfer-Encoding only ``chunked`` is taken; an interim answer (1xx) is skipped, and 101 is not an answer.

**Reuse.** A connection is used again, the one that was used last first. A server may close one just as it is used
again, and nobody can tell whether it has done the work; so only a GET or HEAD goes on a used connection, and if that
dies before the first byte of an answer, the request is sent once more, on a new one. Nothing else is ever repeated.

**Who closes first** keeps the port of the connection in TIME_WAIT for a minute, and a host has 28 000 of them towards
one address. So this side closes as little as it can: a connection that will not be used again is left to the server
to close, for `LINGER_S`.

**Servers that close without saying so**, as nova under uWSGI does, are recognised (`Habit`): then each request goes
on a new connection at once. Each connection that is left to the server is also the test whether that still holds.

No deadline is kept here: `Connections.look_around` is called about once a second, and `Connections.abandon` by who
waits no longer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl
from functools import partial
from termios import FIONREAD
from typing import Final, cast

import httptools

from peerdata.errors import UpstreamFailed
from peerdata.upstream.messages import OF_ONE_CONNECTION, NovaAnswer

HEAD_BYTES: Final = 102_400
"""Longest head of an answer, in bytes; what came with it in one read may be more. Nova's are 200 bytes."""

HEADER_LINES: Final = 256
"""Most header lines of an answer."""

LINGER_S: Final = 2.0
"""How long, in seconds, the server has to close a connection that will not be used again; then it is closed here."""

MAX_LINGERING: Final = 64
"""Connections that are left to the server to close; more are closed at once."""

KEPT_S: Final = 1.0
"""A connection that is open so long after its answer, in seconds, shows a server that keeps connections."""

CLOSED_EARLY: Final = 3
"""So many connections in a row, closed within `KEPT_S` of their first answer, show one that does not."""

WITHOUT_BODY: Final = frozenset({204, 304})
"""Statuses whose answer ends with its head (RFC 9110, 8.6 and 15.4.5)."""

# Headers of an answer that are not handed on as they are; Date is set anew.
_LOOKED_AT = OF_ONE_CONNECTION | {b"content-type", b"date"}

Task = asyncio.Task[tuple[asyncio.Transport, asyncio.BaseProtocol]]

Outcome = NovaAnswer | Exception
"""An answer; `UpstreamFailed` for what is none; OSError where the connection could not be made, or died."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One request under way. ``done`` is called once, unless it is abandoned first."""

    wire: bytes
    is_head: bool
    safe: bool
    done: Callable[[Outcome], None]
    connection: Connection | None = None
    connecting: Task | None = None
    abandoned: bool = False


class Habit:
    """Whether the server keeps connections open after an answer, by what it did lately."""

    def __init__(self) -> None:
        self.keeps = True
        self._closed = 0

    def closed_early(self) -> None:
        """A connection was closed soon after its first answer, without a word."""
        self._closed += 1
        if self._closed >= CLOSED_EARLY:
            self.keeps = False

    def kept(self) -> None:
        """A connection gave a second answer, or stayed open."""
        self._closed = 0
        self.keeps = True


class _Enough(Exception):
    """The answer is refused; ``_fault`` says why."""


class Connections:
    """
    All connections to one server.

    Args:
        host: Name or address.
        port: 1 to 65535.
        tls: For https.
        max_connections: More than these are only open where more requests are under way; unused ones are closed first.
        idle_s: How long an unused connection is kept, in seconds; 0: none is used again.
        max_answer_bytes: Of the body; a longer one is `UpstreamFailed`.
        clock: Seconds; only differences count.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        max_connections: int,
        idle_s: float,
        max_answer_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self.max_answer_bytes = max_answer_bytes
        self._host = host
        self._port = port
        self._tls = tls
        self._max_connections = max_connections
        self._idle_s = idle_s
        self._clock = clock
        self._habit = Habit()
        self._open: set[Connection] = set()
        # Dicts as ordered sets, the one that came last behind.
        self._idle: dict[Connection, None] = {}
        self._lingering: dict[Connection, None] = {}
        self._connecting: set[Task] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many are open, or being opened."""
        return len(self._open) + len(self._connecting)

    def send(self, wire: bytes, *, is_head: bool, safe: bool, done: Callable[[Outcome], None]) -> Exchange:
        """
        Send one request; *done* is called with what comes of it, at once or later.

        Args:
            wire: The whole request.
            is_head: Its answer has no body.
            safe: It may go on a used connection, and once more on a new one.
            done: Called once. Must not raise.
        """
        exchange = Exchange(wire, is_head, safe, done)
        while safe and self._idle:
            connection, _ = self._idle.popitem()
            if connection.has_more():
                connection.abort()
                continue
            exchange.connection = connection
            connection.ask(exchange)
            return exchange
        self._connect(exchange)
        return exchange

    def abandon(self, exchange: Exchange) -> None:
        """Nobody waits for *exchange* any more: drop its connection, and never call ``done``."""
        exchange.abandoned = True
        if exchange.connecting:
            exchange.connecting.cancel()
        if exchange.connection:
            exchange.connection.drop()
            exchange.connection = None

    def look_around(self, now: float) -> None:
        """Close what has been unused, or left to the server, for too long; and see whether the server keeps them."""
        for connection in list(self._idle):
            age = now - connection.free_since
            if age >= KEPT_S:
                self._habit.kept()
            if age < self._idle_s:
                break
            del self._idle[connection]
            connection.close()
        for connection in list(self._lingering):
            age = now - connection.free_since
            if age >= KEPT_S and connection.stays and self._idle_s:
                self._habit.kept()
                del self._lingering[connection]
                self._idle[connection] = None
            elif age >= LINGER_S:
                connection.close()

    def close(self) -> None:
        """Close all of them; what is under way fails."""
        self._closed = True
        for task in tuple(self._connecting):
            task.cancel()
        for connection in tuple(self._open):
            connection.abort()

    def _connect(self, exchange: Exchange) -> None:
        if self._idle and len(self) >= self._max_connections:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.close()
        loop = asyncio.get_running_loop()
        task = loop.create_task(
            loop.create_connection(
                partial(Connection, self, exchange),
                self._host,
                self._port,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
                ssl_shutdown_timeout=LINGER_S if self._tls else None,
            )
        )
        exchange.connecting = task
        self._connecting.add(task)
        task.add_done_callback(partial(self._tried_to_connect, exchange))

    def _tried_to_connect(self, exchange: Exchange, task: Task) -> None:
        self._connecting.discard(task)
        if exchange.connecting is not task:  # there is a connection, which tells what comes of it
            return
        exchange.connecting = None
        if exchange.abandoned:
            return
        if task.cancelled():
            exchange.done(ConnectionAbortedError("the service is stopping"))
        elif isinstance(error := task.exception(), Exception):
            exchange.done(error)

    # What connections report.

    def opened(self, connection: Connection) -> None:
        """It is there."""
        self._open.add(connection)

    def answered(self, connection: Connection, exchange: Exchange, answer: NovaAnswer) -> None:
        """A whole answer came; keep the connection, or leave it to the server."""
        exchange.connection = None
        connection.free_since = self._clock()
        if connection.answers > 1:
            self._habit.kept()
        if connection.stays and self._idle_s and self._habit.keeps:
            self._idle[connection] = None
        elif len(self._lingering) < MAX_LINGERING:
            self._lingering[connection] = None
        else:
            connection.close()
        exchange.done(answer)

    def failed(self, connection: Connection, exchange: Exchange, error: Exception, *, nothing_came: bool) -> None:
        """The connection died, or what came on it is not an answer."""
        exchange.connection = None
        if nothing_came and connection.answers and exchange.safe and not self._closed:
            self._notice_early_end(connection)
            self._connect(exchange)
        else:
            exchange.done(error)

    def ended(self, connection: Connection) -> None:
        """It is not to be used again: the server closes it, or sent what nobody had asked for."""
        if connection in self._idle:
            del self._idle[connection]
            self._notice_early_end(connection)

    def lost(self, connection: Connection) -> None:
        """It is closed, by whomever."""
        self.ended(connection)
        self._open.discard(connection)
        self._lingering.pop(connection, None)

    def _notice_early_end(self, connection: Connection) -> None:
        if connection.answers == 1 and self._clock() - connection.free_since < KEPT_S:
            self._habit.closed_early()


class Connection(asyncio.Protocol):
    """
    One connection, and the answer that is being read from it.

    Attributes:
        answers: How many came on it.
        stays: After the last of them the server did not say that it closes.
        free_since: When the last of them was whole.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_complete",
        "_content_type",
        "_exchange",
        "_fault",
        "_head_whole",
        "_headers",
        "_length",
        "_limit",
        "_more",
        "_owner",
        "_parser",
        "_seen",
        "_size",
        "_status",
        "_surplus",
        "_transport",
        "answers",
        "free_since",
        "stays",
    )

    _body: bytes
    _chunked: bool
    _headers: list[tuple[bytes, bytes]]
    _length: int | None
    _more: list[bytes] | None
    _size: int
    _transport: asyncio.Transport

    def __init__(self, owner: Connections, exchange: Exchange) -> None:
        self._owner = owner
        self._limit = owner.max_answer_bytes
        self._exchange: Exchange | None = exchange
        self._parser = httptools.HttpResponseParser(self)
        self._fault: UpstreamFailed | None = None
        self._seen = 0  # bytes since the request was sent
        self._complete = False
        self._surplus = False
        self._begin()
        self.answers = 0
        self.stays = False
        self.free_since = 0.0

    def ask(self, exchange: Exchange) -> None:
        """Send one more request."""
        self._exchange = exchange
        self._seen = 0
        self._transport.write(exchange.wire)

    def has_more(self) -> bool:
        """Whether bytes that nobody asked for lie in the kernel: they would be taken for the next answer."""
        return ioctl(self._transport.get_extra_info("socket").fileno(), FIONREAD, b"\0\0\0\0") != b"\0\0\0\0"

    def drop(self) -> None:
        """Give up what is under way."""
        self._exchange = None
        self._transport.abort()

    def close(self) -> None:
        """Close it from here."""
        self._transport.close()

    def abort(self) -> None:
        """Close it now; what is under way fails."""
        self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request for which it was made."""
        self._transport = cast(asyncio.Transport, transport)
        self._owner.opened(self)
        exchange = self._exchange
        assert exchange is not None
        if exchange.abandoned:
            self.drop()
            return
        exchange.connection = self
        exchange.connecting = None
        self._transport.write(exchange.wire)

    def data_received(self, data: bytes) -> None:
        """Parse; tell of the answer once it is whole."""
        if self._exchange is None:  # nobody asked for this, and nobody is to have it
            self._owner.ended(self)
            self._transport.abort()
            return
        self._seen += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._fail(self._what_is_wrong(error))
                return
            self._surplus = True
        if self._complete:
            self._finish()
        elif self._seen - self._size > (HEAD_BYTES + self._limit if self._head_whole else HEAD_BYTES):
            self._fail(_head_too_long())

    def eof_received(self) -> None:
        """The server closes: the end of an answer without a length, and the end of the connection in any case."""
        if self._exchange is None:
            self._owner.ended(self)
        elif self._head_whole and self._length is None and not self._chunked and self._fault is None:
            self.stays = False
            self._complete = True
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._owner.lost(self)
        exchange, self._exchange = self._exchange, None
        del self._parser  # it refers back to here
        if exchange:
            where = "in the middle of its answer" if self._seen else "without an answer"
            error = exc or ConnectionResetError(f"it closed the connection {where}")
            self._owner.failed(self, exchange, error, nothing_came=not self._seen)

    # What the parser calls. An exception leaving one of these stops the parser for good.

    def on_message_begin(self) -> None:
        """The first byte of an answer, or of one that follows an interim one."""
        if self._complete:
            self._surplus = True
        else:
            self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which is dropped (RFC 9110, 6.5.1)."""
        lower = name.lower()
        if self._head_whole:
            return
        if lower not in _LOOKED_AT:
            self._headers.append((name, value.rstrip(b" \t")))
        elif lower == b"content-type":
            self._content_type = value.rstrip(b" \t")
        elif lower == b"content-length":
            # llhttp has seen that it is a number, and the only one; Python reads no number of more than 4300 digits.
            self._length = int(value.lstrip(b"0") or b"0")
        elif lower == b"transfer-encoding":
            if self._chunked or value.strip().lower() != b"chunked":
                self._refuse(UpstreamFailed("nova's answer has a Transfer-Encoding other than chunked"))
            self._chunked = True

    def on_headers_complete(self) -> None:
        """The head is whole; a body may follow."""
        status = self._status = self._parser.get_status_code()
        if (not 200 <= status <= 599 and not 100 <= status <= 199) or status == 101:
            self._refuse(UpstreamFailed(f"nova answered with the status {status}", status=status))
        if not self.answers and not self._parser.get_http_version().startswith("1."):
            self._refuse(UpstreamFailed("nova does not answer in HTTP/1.1"))
        size = sum(len(name) + len(value) for name, value in self._headers) if self._seen > HEAD_BYTES else 0
        if size > HEAD_BYTES or len(self._headers) > HEADER_LINES:
            self._refuse(_head_too_long())
        if status < 200:
            return
        self._head_whole = True
        exchange = self._exchange
        if exchange is None or exchange.is_head:
            # Not used again: a server that sends a body all the same would give it to whoever asks next.
            self._complete = True
            self.stays = False

    def on_body(self, part: bytes) -> None:
        """The body, out of its chunks, or a part of it."""
        if self._complete or self._status < 200:
            self._surplus = True
            return
        self._size += len(part)
        if self._size > self._limit:
            self._refuse(UpstreamFailed(f"nova's answer is longer than {self._limit} bytes", limit=self._limit))
        if not self._body:
            self._body = part
        elif self._more is None:
            self._more = [part]
        else:
            self._more.append(part)

    def on_message_complete(self) -> None:
        """The answer is whole, if it is not an interim one."""
        if self._head_whole and not self._complete:
            self._complete = True
            self.stays = self._status not in WITHOUT_BODY and self._parser.should_keep_alive()

    # Further

    def _begin(self) -> None:
        self._status = 0
        self._headers = []
        self._content_type = b""
        self._length = None
        self._chunked = False
        self._head_whole = False
        self._body = b""
        self._more = None
        self._size = 0

    def _finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        body = self._body if self._more is None else b"".join([self._body, *self._more])
        answer = NovaAnswer(self._status, self._content_type, tuple(self._headers), body)
        if exchange.is_head:
            answer.head_length = self._length
            self._parser = httptools.HttpResponseParser(self)  # the one before waits for a body
        self._complete = False
        self._body = b""  # an idle connection need not hold it
        self._more = None
        self.answers += 1
        if self._surplus or self._transport.get_write_buffer_size():
            # Which question would what comes next belong to?
            self.stays = False
            self._transport.abort()
        self._owner.answered(self, exchange, answer)

    def _fail(self, error: Exception) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        self._transport.abort()
        self._owner.failed(self, exchange, error, nothing_came=False)

    def _refuse(self, fault: UpstreamFailed) -> None:
        self._fault = fault
        raise _Enough

    def _what_is_wrong(self, error: Exception) -> Exception:
        """What the parser's *error* means; a defect of a callback here is handed on as it is."""
        if self._fault:
            return self._fault
        if isinstance(error, httptools.HttpParserCallbackError):
            return error
        return UpstreamFailed(f"nova's answer is not HTTP/1.1: {error}")


def _head_too_long() -> UpstreamFailed:
    return UpstreamFailed(f"the head of nova's answer is longer than {HEAD_BYTES} bytes or {HEADER_LINES} lines")
