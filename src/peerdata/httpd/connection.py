# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One client's connection: bytes become a `Request`, the handler's `Answer` becomes bytes, in the order asked.

The way of most requests is short on purpose: read, parsed, answered and written
within one call of `Connection.data_received`, without a task, a timer or a wait.
Whatever cannot go that way (a handler that takes its time, a client that does
not read, a request that is wrong) is marked in ``_waits`` or ``_state``, and
`Connection._advance` goes on from there.

llhttp, inside httptools, decides what a request is, and is left as strict as it
comes: it refuses bare LF or CR, folded lines, white space before a colon, control
characters, and whatever leaves the end of a body in doubt (Content-Length twice,
as a list, with a sign, or beside Transfer-Encoding; chunk sizes that are not plain
hexadecimal). What it lets through and this module refuses: a first request in a
version other than 1.0 and 1.1, a target that is no path, and a Transfer-Encoding
that is more than ``chunked`` or comes with HTTP/1.0. Before httptools 0.9 an empty
Transfer-Encoding passes for none. Host is not looked at: there is one site here.

`httpd.messages` has the values, `httpd.listener` makes connections, `httpd.server` has the clock and the way out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from fcntl import ioctl
from functools import partial
from termios import FIONREAD
from typing import Any, Final, cast

import httptools

from peerdata import metrics
from peerdata.errors import BodyTimedOut, BodyTooLarge, HeadTooLarge, PeerdataError, RequestMalformed, ServerBusy
from peerdata.httpd.admission import Admission
from peerdata.httpd.buffers import Incoming, Unwritten
from peerdata.httpd.messages import (
    CLOSES,
    GOES_ON,
    GOES_ON_SAID,
    JOIN_BYTES,
    Answer,
    Handler,
    HttpLimits,
    Refuse,
    Request,
    origin_form,
    wire_form,
)

log = logging.getLogger(__name__)

SLICE_BYTES: Final = 4096
"""How much is parsed before looking whether anybody must be waited for: at most 228 requests are parsed ahead."""

HEADER_LINES: Final = 256
"""More than these are `HeadTooLarge`, however short: each takes some 100 bytes here, even if it is only ``a:``."""

LINGER_S: Final = 2.0
"""How long, in seconds, a connection that was refused still reads, so that no reset overtakes the answer."""

LINGER_BYTES: Final = 262144
"""How much, in bytes, it reads and throws away in that time."""

FIRST_REQUEST_S: Final = 2.0
"""How long, in seconds, a connection may take for its first request once nobody else is accepted."""

TURN_BYTES: Final = 512
"""What a request that waits for the one before it takes in memory, about, besides its bytes."""

REASONS: Final[dict[type[PeerdataError], str]] = {
    RequestMalformed: "not_http",
    HeadTooLarge: "head_too_large",
}
"""What is answered without having been read, as the metrics call it."""

SLASH: Final = ord("/")

# How much of a request is in. Odd: it has only begun, and `_settle` has not looked at it yet.
IDLE: Final = 0
HEAD_BEGUN: Final = 1
HEAD: Final = 2
BODY_BEGUN: Final = 3
BODY: Final = 4

# How far the connection is.
OPEN: Final = 0  # reads requests and answers them
ENDING: Final = 1  # the last request is in, its answer is not written
LEAVING: Final = 2  # the last answer is written
LOST: Final = 3  # closed on either side

# Who must be waited for before the next request is begun; bits, several may be set.
HANDLER: Final = 1
CLIENT: Final = 2  # it has not read enough of the answers before
OTHERS: Final = 4  # the other connections: this one has had a slice full of requests


@dataclass(slots=True)
class Common:
    """
    What all connections of one server share.

    Attributes:
        handler: Answers every request.
        refuse: Turns an error into its answer.
        limits: Sizes and deadlines.
        whom: Who connects, for the metrics.
        is_proxy: Whether an address stands for many clients; see `Admission`.
        date: The header line ``date: ...``, renewed about once a second.
        closing: The server is to shut down: each answer is the last of its connection.
        closed: Nobody is accepted any more.
        admission: Counts connections from accept to their end.
        incoming: What connections have sent and no handler has yet.
        unwritten: What they have not read.
        connections: All with whom a conversation has begun, also those that are leaving.
        tasks: Handlers at work, also those whose client is gone, and TLS handshakes.
        emptied: Set whenever there is no connection and no task.
    """

    handler: Handler
    refuse: Refuse
    limits: HttpLimits
    whom: str = "instances"
    is_proxy: InitVar[Callable[[str], bool]] = lambda _: False
    date: bytes = b""
    closing: bool = False
    closed: bool = False
    admission: Admission = field(init=False)
    incoming: Incoming = field(init=False)
    unwritten: Unwritten = field(init=False)
    connections: set[Connection] = field(default_factory=set)
    tasks: set[asyncio.Future[Any]] = field(default_factory=set)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self, is_proxy: Callable[[str], bool]) -> None:
        limits = self.limits
        self.admission = Admission(limits, is_proxy)
        self.incoming = Incoming(limits.incoming_bytes)
        self.unwritten = Unwritten(limits.unwritten_bytes, limits.unwritten_bytes_of_account)

    def leave(self, client: str, *, rejected: bool) -> None:
        """A connection that was accepted has ended."""
        self.admission.leave(client, rejected=rejected)
        if self.closing:
            self.look_whether_empty()

    def forget(self, task: asyncio.Future[Any]) -> None:
        """*task* is done."""
        self.tasks.discard(task)
        if self.closing:
            self.look_whether_empty()

    def look_whether_empty(self) -> None:
        """Bring ``emptied`` up to date."""
        if self.admission.open or self.tasks:
            self.emptied.clear()
        else:
            self.emptied.set()


class Enough(Exception):
    """What is behind here is not to be interpreted; ``_turns`` says what to do instead."""


class Connection(asyncio.Protocol):
    """
    One connection; the listener makes one for each client.

    Args:
        client: The address of the peer, see `client_of`.
        rejection: What it is told instead of being served.

    Attributes:
        deadline: Loop time, in seconds, from which `expire` is due.
    """

    __slots__ = (
        "_account",
        "_body",
        "_client",
        "_common",
        "_discarded",
        "_ending",
        "_eof",
        "_head",
        "_headers",
        "_idle_s",
        "_linger",
        "_loop",
        "_parser",
        "_partial",
        "_phase",
        "_reading",
        "_rejection",
        "_request",
        "_seen",
        "_state",
        "_surely_bytes",
        "_target",
        "_time",
        "_transport",
        "_turns",
        "_unread",
        "_unwritten",
        "_waits",
        "deadline",
    )

    _parser: httptools.HttpRequestParser
    _request: Request
    _transport: asyncio.Transport

    def __init__(
        self,
        common: Common,
        loop: asyncio.AbstractEventLoop,
        client: str = "",
        rejection: PeerdataError | None = None,
    ) -> None:
        self._common = common
        self._loop = loop
        self._time = loop.time
        self._idle_s = common.limits.idle_timeout_s
        self._surely_bytes = common.limits.head_bytes - SLICE_BYTES  # a head seen with this much or less is not over it
        self._client = client
        self._rejection = rejection
        self._account = ""  # of the last answer
        self._state = OPEN
        self._phase = IDLE
        self._waits = 0
        # Of answers' heads. Known from the first request: asking httptools for the version takes as long as making a
        # Request, and who changes it on the way is only told once too often, or too rarely, that the connection stays.
        self._ending = b""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        # What is to be answered next, in order, each with the ending of its answer's head.
        self._turns: list[tuple[Request | PeerdataError, bytes]] = []
        self._unread: memoryview | None = None  # came while somebody was waited for
        self._seen = 0  # bytes since this head, or the body behind it, began; the slice in which it did not counted
        self._partial = False  # `Common.incoming` counts something of this connection
        self._head = 0  # bytes of the last head, and of what came with it in one slice
        self._unwritten = 0  # bytes that the client had not read when `expire` looked last
        self._discarded = 0  # bytes thrown away while leaving
        self._reading = True
        self._eof = False
        self._linger = False  # the client may be sending what nobody will read
        self.deadline = 0.0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; or say why not, and leave."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        common = self._common
        self.deadline = self._time() + (FIRST_REQUEST_S if common.closed else self._idle_s)
        common.connections.add(self)
        if self._rejection is not None:
            self._end(self._rejection)
            self._advance()

    def data_received(self, data: bytes) -> None:
        """Parse, answer, write."""
        if self._state or self._waits or len(data) > SLICE_BYTES:
            self._hold(data)
        else:
            self._feed(data)
            self._advance()
        if self._phase or self._partial or self._turns or self._unread:
            self._weigh()

    def eof_received(self) -> bool:
        """The client sends no more; True keeps the other direction open for the answers that are due."""
        self._eof = True
        # TLS has no half-closed connections that could be relied on.
        return self._state < LEAVING and bool(self._turns or self._waits) and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything but the task, which runs to its end: what it publishes must not be half done."""
        self._state = LOST
        self._turns.clear()
        self._unread = None
        del self._parser  # it refers back to here
        common = self._common
        common.connections.discard(self)
        if self._partial:
            common.incoming.release(self)
            self._partial = False  # else a handler that is still at work would count it again, for ever
        if common.unwritten:
            common.unwritten.release(self)
        common.leave(self._client, rejected=self._rejection is not None)

    def pause_writing(self) -> None:
        """The client does not keep up: begin nothing more."""
        self._waits |= CLIENT

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._waits &= ~CLIENT
        self._common.unwritten.release(self)
        self._advance()

    # What the server calls.

    def shut(self) -> None:
        """
        Leave if nothing is under way but the reading of answers; what else is, is answered first.

        Who has sent nothing yet gets `FIRST_REQUEST_S` for it: whoever connected could not know that this is the end.
        So does whoever's next request is in the kernel already.
        """
        if self._state != OPEN or self._phase or self._waits & ~CLIENT or self._turns or self._unread:
            return
        if self._ending and not self._has_more():
            self._leave()
        else:
            self.deadline = min(self.deadline, self._time() + FIRST_REQUEST_S)

    def settle_opening(self) -> None:
        """The opening of the transport is over; if it failed, `connection_lost` will not come."""
        if not hasattr(self, "_transport"):
            self._common.leave(self._client, rejected=self._rejection is not None)

    def look(self, now: float) -> None:
        """Count what the client has not read, about once a second; act if a deadline has passed."""
        unwritten = self._transport.get_write_buffer_size()
        common = self._common
        if (unwritten or common.unwritten) and common.unwritten.hold(self, unwritten, now, self._account):
            common.unwritten.shed()
        if self.deadline <= now:
            self.expire(now)

    def drop(self, reason: str) -> None:
        """Leave now, because of *reason*, which is counted."""
        self._count_turned_away(reason)
        self.abort()

    def abort(self) -> None:
        """Leave now, whatever is under way."""
        self._state = max(self._state, LEAVING)
        self._transport.abort()

    def expire(self, now: float) -> None:
        """The deadline has passed; for what, the state says."""
        unwritten = self._transport.get_write_buffer_size()
        if self._state < LEAVING and self._waits & HANDLER:
            self.deadline = now + self._idle_s  # handlers have deadlines of their own
        elif unwritten and not 0 < self._unwritten <= unwritten:
            self._unwritten = unwritten  # the client reads, or this is the first look at whether it does
            self.deadline = now + self._idle_s
        elif unwritten or (self._state == LEAVING and not self._linger):
            self.abort()
        elif self._state == LEAVING or self._phase < BODY_BEGUN:
            if self._state < LEAVING and self._phase:
                self._count_turned_away("head_timeout")
            self._leave(at_once=True)
        else:
            limit = self._common.limits.body_timeout_s
            fault = BodyTimedOut(f"the body was not whole after {limit:g} s; send it again", timeout_s=limit)
            self._give_up(fault)
            self._advance()

    # What the parser calls. An exception leaving one of these stops the parser for good.

    def on_message_begin(self) -> None:
        """The first byte of a request line."""
        self._phase = HEAD_BEGUN

    def on_url(self, part: bytes) -> None:
        """The target, or a part of it."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        self._headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """The head is whole; a body may follow."""
        parser = self._parser
        target = self._target
        if not self._ending:
            self._greet(parser.get_http_version())
        if self._seen > self._surely_bytes or len(self._headers) > HEADER_LINES:
            self._measure_whole_head()
        method = parser.get_method().decode()
        if target[0] != SLASH:
            target = self._path_of(target, method)
        self._request = Request(method, target, self._headers, b"", None, self._client)
        self._headers = []
        self._target = b""
        self._head = self._seen
        self._seen = 0
        self._phase = BODY_BEGUN

    def on_chunk_header(self) -> None:
        """The size of a chunk; so there is a Transfer-Encoding, which the first chunk shows whether it can be read."""
        if self._body:
            return
        codings = [value.lower() for name, value in self._request.headers if name == b"transfer-encoding"]
        if codings != [b"chunked"]:
            self._end(RequestMalformed("of Transfer-Encoding only chunked, by itself, is known here"))
            raise Enough
        if self._parser.get_http_version() == "1.0":  # its framing must be taken as faulty (RFC 9112, 6.1)
            self._end(RequestMalformed("HTTP/1.0 has no Transfer-Encoding; send a Content-Length"))
            raise Enough

    def on_body(self, part: bytes) -> None:
        """The body, decoded, or a part of it."""
        body = self._body
        body += part
        limit = self._common.limits.body_bytes
        if len(body) > limit:
            del body[limit:]
            self._give_up(self._too_large())
            raise Enough

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._body:
            self._request.body = bytes(self._body)
            self._body = bytearray()
        if self._headers:  # trailers: they are no headers, of this request or the next (RFC 9110, 6.5.1)
            self._headers = []
        self._seen = 0
        self._phase = IDLE
        if self._parser.should_keep_alive():
            self._turns.append((self._request, self._ending))
        else:
            self._turns.append((self._request, CLOSES))
            self._state = ENDING

    # Reading.

    def _feed(self, data: bytes | memoryview) -> None:
        """Parse one slice; the requests that ended in it are in ``_turns`` then."""
        self._seen += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._decline_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            if self._state != OPEN:
                self._linger = True  # stopped from here, or more came behind the last request
            elif isinstance(exc, httptools.HttpParserCallbackError):
                raise  # a defect in the callbacks
            else:
                self._end(RequestMalformed(f"this is not an HTTP/1.1 request: {exc}"))
        else:
            if self._phase:
                self._measure_part()

    def _hold(self, data: bytes) -> None:
        """Keep for later, or throw away, what is not to be parsed now."""
        if self._state >= LEAVING:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self._leave(at_once=True)
        elif self._state == ENDING:
            self._linger = True
            self._pause_reading()
        elif self._waits:
            self._unread = memoryview(bytes(self._unread or b"") + data)
            self._pause_reading()
        else:
            self._unread = memoryview(data)
            self._advance()

    def _weigh(self) -> None:
        """Count what was read and no handler has: parts of a request, and what waits behind one at work."""
        size = len(self._unread or b"") + TURN_BYTES * len(self._turns)
        if self._phase >= BODY_BEGUN:
            size += self._head + len(self._body)
        elif self._phase:
            size += self._seen
        self._partial = size > 0
        if size:
            self._common.incoming.hold(self, size, self._time())
        else:
            self._common.incoming.release(self)

    def _has_more(self) -> bool:
        """Whether bytes that the client has sent lie in the kernel."""
        sock = self._transport.get_extra_info("socket")
        if sock is None or self._transport.is_closing():
            return False
        return ioctl(sock.fileno(), FIONREAD, b"\0\0\0\0") != b"\0\0\0\0"

    def _settle(self) -> None:
        """Set the deadline of a head or body that did not come in one piece; see whether the body is wanted at all."""
        limits = self._common.limits
        self._phase += 1
        if self._phase == HEAD:
            self.deadline = self._time() + limits.head_timeout_s
            return
        self.deadline = self._time() + limits.body_timeout_s
        request = self._request
        # Python refuses to read numbers of more than 4300 digits, leading zeros included; llhttp does not.
        length = int((request.header(b"content-length") or b"").lstrip(b"0") or b"0")
        if length > limits.body_bytes:
            self._give_up(self._too_large())
        elif not self._body and self._waits_for_100():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _waits_for_100(self) -> bool:
        """HTTP/1.0 may say so by mistake, and would take the 100 for the answer (RFC 9110, 10.1.1)."""
        expected = self._request.header(b"expect") or b""
        return expected.lower() == b"100-continue" and self._parser.get_http_version() == "1.1"

    def _greet(self, version: str) -> None:
        """Refuse a first request in a *version* that is not spoken here; know from it how answers end."""
        if version == "1.1":
            self._ending = GOES_ON
        elif version == "1.0":
            self._ending = GOES_ON_SAID
        else:
            self._end(RequestMalformed(f"HTTP/{version} is not spoken here; use HTTP/1.1"))
            raise Enough

    def _path_of(self, target: bytes, method: str) -> bytes:
        """*target* without what stands before its path; llhttp lets ``*`` begin anything, as in ``*@example.org``."""
        path = origin_form(target)
        if not path.startswith(b"/") and path != b"*" and method != "CONNECT":
            self._end(RequestMalformed("the target of the request has no path; it begins with a slash"))
            raise Enough
        return path

    def _measure_whole_head(self) -> None:
        """Refuse a whole head that is over the limit."""
        size = len(self._parser.get_method()) + len(self._target) + len("  HTTP/1.1\r\n\r\n")
        size += sum(len(name) + len(value) + len(": \r\n") for name, value in self._headers)
        if size > self._common.limits.head_bytes or len(self._headers) > HEADER_LINES:
            self._end(self._head_too_large())
            raise Enough

    def _measure_part(self) -> None:
        """Refuse an incomplete head, or what stands around the pieces of an incomplete body, over the limit."""
        limit = self._common.limits.head_bytes
        if self._phase < BODY_BEGUN:
            if self._seen > limit or len(self._headers) > HEADER_LINES:
                self._end(self._head_too_large())
        elif self._seen - len(self._body) > limit or len(self._headers) > HEADER_LINES:
            self._give_up(self._too_large())

    def _decline_upgrade(self, rest: bytes | memoryview) -> None:
        """
        Take a request that wished to change the protocol as one that did not; *rest* is what came behind its head.

        A server may ignore Upgrade (RFC 9110, 7.8), but llhttp then leaves the
        body to the new protocol, and Java's HttpClient wishes for h2c with any
        POST. So the head is parsed once more, without the wish. After CONNECT
        nothing can be understood.
        """
        request, _ = self._turns.pop()
        if not isinstance(request, Request) or request.method == "CONNECT":
            self._end(request)
            return
        version = self._parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n" % (request.method.encode(), request.target, version)
        for name, value in request.headers:
            if name not in (b"connection", b"upgrade"):
                head += b"%b: %b\r\n" % (name, value)
        self._parser = httptools.HttpRequestParser(self)
        self._state = OPEN
        self._feed(head + CLOSES)
        if self._state == OPEN:
            self._feed(rest)
        elif rest:
            self._linger = True

    # Answering.

    def _advance(self) -> None:
        """Go as far as nobody must be waited for: answer what was read, then read what came meanwhile."""
        turns = self._turns
        while not self._waits:
            if turns:
                asked, ending = turns.pop(0)
                self._take(asked, ending)
            elif self._state:
                return
            elif self._unread:
                piece, self._unread = self._unread[:SLICE_BYTES], self._unread[SLICE_BYTES:]
                self._feed(piece)
                if self._turns and self._unread:  # some 2 ms of work; 64 such slices may have come at once
                    self._waits |= OTHERS
                    self._loop.call_soon(self._go_on)
            elif self._phase & 1:
                self._settle()
            elif self._eof:
                self._leave()
            else:
                if not self._reading:
                    self._resume_reading()
                return

    def _go_on(self) -> None:
        """The other connections have had their turn."""
        self._waits &= ~OTHERS
        self._advance()
        if self._partial:
            self._weigh()

    def _take(self, asked: Request | PeerdataError, ending: bytes) -> None:
        """Answer *asked* now, or begin to."""
        if isinstance(asked, PeerdataError):
            if reason := REASONS.get(type(asked)):
                self._count_turned_away(reason)
            self._send("", self._common.refuse(asked), ending)
            return
        try:
            given = self._common.handler(asked)
        except PeerdataError as exc:
            given = self._common.refuse(exc)
        except Exception:
            given = self._defect(asked)
        if isinstance(given, Answer):
            self._send(asked.method, given, ending)
            return
        self._waits |= HANDLER
        task = asyncio.ensure_future(given, loop=self._loop)
        self._common.tasks.add(task)
        task.add_done_callback(partial(self._answered, asked, ending))

    def _answered(self, asked: Request, ending: bytes, task: asyncio.Future[Answer]) -> None:
        """The handler's task is done; its client may be gone."""
        common = self._common
        common.tasks.discard(task)
        self._waits &= ~HANDLER
        try:
            answer = task.result()
        except PeerdataError as exc:
            answer = common.refuse(exc)
        except asyncio.CancelledError:
            answer = common.refuse(ServerBusy("the call was given up; ask again"))
        except Exception:
            answer = self._defect(asked)
        self._send(asked.method, answer, ending)
        self._advance()
        if self._partial:
            self._weigh()
        if common.closing:
            common.look_whether_empty()

    def _send(self, method: str, answer: Answer, ending: bytes) -> None:
        """Write *answer*, unless nobody is there to read it."""
        if self._state >= LEAVING:
            return
        common = self._common
        if common.closing:
            ending = CLOSES
        try:
            written = wire_form(answer, method, common.date, ending)
        except ValueError:
            log.exception("an answer that cannot be written")
            answer = common.refuse(PeerdataError("the answer could not be written; the log says why"))
            written = wire_form(answer, method, common.date, ending)
        self._account = answer.account
        if isinstance(written, bytes):
            self._transport.write(written)
        else:
            self._transport.writelines(written)
        if self._waits & CLIENT:
            self._count_unwritten(answer)
        if ending is CLOSES:
            self._leave()
        else:
            self.deadline = self._time() + self._idle_s

    def _count_unwritten(self, answer: Answer) -> None:
        """The client has not read enough, and *answer* was the last."""
        common = self._common
        body = answer.body if isinstance(answer.body, tuple) else (answer.body,)
        # A short body was copied when it was joined to its head, and TLS copies all.
        copied = self._transport.get_extra_info("sslcontext") is not None
        shared = [part for part in body if len(part) > JOIN_BYTES and not copied]
        size = self._transport.get_write_buffer_size()
        if common.unwritten.hold(self, size, self._time(), answer.account, shared):
            self._loop.call_soon(common.unwritten.shed)  # not now: the transport is in the middle of a write

    def _count_turned_away(self, reason: str) -> None:
        tls = "_tls" if self._transport.get_extra_info("sslcontext") else ""
        metrics.TURNED_AWAY.labels(self._common.whom + tls, reason).inc()

    def _defect(self, asked: Request) -> Answer:
        """Log the exception at hand, with the path and without the query, where values may stand."""
        log.exception("%s %s failed", asked.method, asked.target.partition(b"?")[0].decode("latin-1"))
        return self._common.refuse(PeerdataError("this call failed inside peerdata; the log says why"))

    # Leaving.

    def _end(self, last: Request | PeerdataError) -> None:
        """Make *last* the last that is answered; the client may be sending more."""
        self._turns.append((last, CLOSES))
        self._state = ENDING
        self._linger = True

    def _give_up(self, fault: PeerdataError) -> None:
        """Read no further in the body, and leave it to the handler when to say so."""
        self._request.fault = fault
        self._request.body = bytes(self._body)
        self._end(self._request)

    def _leave(self, *, at_once: bool = False) -> None:
        """
        Close, once all is written; but if the client may still be sending, not before it stops.

        A close with unread bytes makes the kernel send a reset, which can take the
        answer away before the client has read it (RFC 9112, 9.6). *at_once*: as it may be.
        """
        more = self._linger or self._turns or self._unread or self._phase
        self._linger = bool(more) and not (at_once or self._eof)
        self._state = LEAVING
        self._turns.clear()
        self._unread = None
        self.deadline = self._time() + (LINGER_S if self._linger else self._idle_s)
        if not self._linger:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._resume_reading()

    def _pause_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._transport.pause_reading()
            self._reading = False

    def _resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._transport.resume_reading()
            self._reading = True

    def _head_too_large(self) -> HeadTooLarge:
        limit = self._common.limits.head_bytes
        return HeadTooLarge(
            f"request line and headers are over {limit} bytes or {HEADER_LINES} lines; ask for less at once",
            limit=limit,
        )

    def _too_large(self) -> BodyTooLarge:
        limit = self._common.limits.body_bytes
        return BodyTooLarge(f"the body is over {limit} bytes; publish less in one call", limit=limit)
