# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What goes in and out over HTTP, as plain values: a `Request`, an `Answer`, and the limits on both.

No I/O, and nothing of what the service means: `httpd.connection` reads and
writes these on a socket, the handlers turn the one into the other.
Imports `errors` alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from peerdata.errors import PeerdataError

GOES_ON: Final = b"\r\n"
"""Ends a head after which the connection stays open, as HTTP/1.1 does unless somebody says otherwise."""

GOES_ON_SAID: Final = b"connection: keep-alive\r\n\r\n"
"""The same towards HTTP/1.0, which stays open only if both sides say so (RFC 9112, 9.3)."""

CLOSES: Final = b"connection: close\r\n\r\n"
"""Ends a head after which the connection is closed (RFC 9112, 9.6)."""

JOIN_BYTES: Final = 32768
"""Up to this size a body is joined to its head and written as one; beyond, copying costs more than a vectored write."""

WITHOUT_BODY: Final = frozenset({204, 304})
"""Statuses whose answer ends with its head, and may not state a length of nothing (RFC 9110, 8.6 and 15.4.5)."""


# Neither Request nor Answer is frozen: that makes making them four times as slow, together 1.4 us of about 15 for a
# short answer with all that the kernel does. Nobody changes one after it was handed over, so both can be shared.
@dataclass(slots=True)
class Request:
    """
    One request, read to its end or to the point where reading it was given up.

    Attributes:
        method: As received; HTTP methods are upper case.
        target: Path and query as received, nothing decoded: ``b"/openstack/latest/shared.json?x=1"``.
            An absolute-form target is reduced to this; ``*`` and the ``host:port`` of CONNECT stay.
        headers: Names in lower case, in the order received, repeated ones repeated; values
            without the white space around them. Trailers of a chunked body are not among them.
        body: Decoded from chunks, 0 to ``HttpLimits.body_bytes`` bytes; ``b""`` when there is none.
        fault: What is wrong with the body: `BodyTooLarge` or `BodyTimedOut`; ``body`` is then the
            part that was read. A handler raises it once it knows who asks, and not before, so
            that the refusal can be remembered for that instance.
        client: Address of the peer, without port, zone and brackets; an IPv4 one also where it came
            mapped into IPv6; ``""`` on a unix socket.
    """

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    fault: PeerdataError | None
    client: str

    def header(self, name: bytes) -> bytes | None:
        """The first value of *name*, which is given in lower case; None when it is not there."""
        for known, value in self.headers:
            if known == name:
                return value
        return None


@dataclass(slots=True)
class Answer:
    """
    One answer. Date, Content-Length and Connection are added where it is written.

    Attributes:
        status: 200 to 599.
        body: In one piece or in several, which are then written one after the other without being
            joined, so that a long list many callers share is never copied. HEAD, 204 and 304
            send no body.
        content_type: ``b""`` for none.
        headers: Further ones, end-to-end only, so none of Connection, Content-Length,
            Transfer-Encoding and Date. A line break in one is a defect and is answered 500.
        head_length: To HEAD, the Content-Length of an answer that was passed through from
            elsewhere without its body; None: the length of ``body``, or none if that is empty.
        account: For whom its bytes count while the client has not read them; ``""``: for nobody
            in particular. See `HttpLimits.unwritten_bytes_of_account`.
    """

    status: int
    body: bytes | tuple[bytes, ...]
    content_type: bytes = b"application/json; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    head_length: int | None = None
    account: str = ""


Handler = Callable[[Request], Answer | Awaitable[Answer]]
"""Answers a request: at once, or later. A `PeerdataError` that it raises becomes an answer through `Refuse`."""

Settle = Callable[[Answer | Exception], None]
"""Takes what came of a request that was handed on: called once, now or later. A `PeerdataError` becomes an answer."""

Refuse = Callable[[PeerdataError], Answer]
"""The one place that gives an error its status: `api.answers`."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How much one client may take. Each deadline is looked at about once a second, so it is met within a second."""

    head_bytes: int = 65536
    """
    Request line and headers together, in bytes; over it: `HeadTooLarge`, and the connection is closed.

    nova's parameters and all keys of one call may stand in the query string, so this bounds a
    body-less publish. What stands around the pieces of a chunked body (sizes, extensions,
    trailers) may take as much again. Costs memory only while a head is incomplete: at worst
    ``connections * head_bytes``. An incomplete head is noticed at most `SLICE_BYTES` later.
    """

    body_bytes: int = 65536
    """
    The decoded body, in bytes; over it: `BodyTooLarge`, and the connection is closed.

    Nothing beyond it is kept, and with a Content-Length nothing at all is read. Costs at worst
    ``connections * body_bytes`` of memory.
    """

    head_timeout_s: float = 10.0
    """
    From the first byte of a head to its last, in seconds; over it the connection is closed without a word.

    Who dribbles a head is no client of ours that would read the answer. Longer serves slower
    links, shorter frees the places that a slow sender holds. Bounds the TLS handshake, too.
    """

    body_timeout_s: float = 30.0
    """From the end of the head to the end of the body, in seconds; over it: `BodyTimedOut`, and closed."""

    idle_timeout_s: float = 75.0
    """
    How long a connection may stay without a request, in seconds; and a client without reading its answer.

    haproxy and the metadata agents keep connections for reuse: longer saves them new ones, and
    holds a file descriptor and about 3 kB for each. A client that stops reading in the middle of
    an answer is dropped after one to two of these.
    """

    connections: int = 4096
    """
    How many at once, over all listeners, TLS handshakes included; one more is told `ServerBusy` and closed.

    Each takes a file descriptor: the process needs this many, and `admission.TOLD` more for those being
    rejected, besides the database's and upstream's.
    """

    connections_of_address: int = 0
    """How many of them one client address may have; 0: all. For clients that are not behind a proxy."""

    descriptors: int = 1 << 30
    """
    No client is served on a file descriptor of this number or above.

    The kernel gives the lowest number that is free, so a higher one means that so many are in use. What is left
    up to RLIMIT_NOFILE is for whoever must not be locked out by clients: operators, the store, upstream.
    """

    incoming_bytes: int = 64 * 1024 * 1024
    """
    Requests that are not whole or wait for the one before them, over all connections, in bytes.

    Over it the connections that have held the most for the longest are closed, until three quarters are left.
    """

    unwritten_bytes: int = 256 * 1024 * 1024
    """
    Answers that clients have not read yet, over all connections, in bytes; a body that several share counts once.

    Over it the slowest readers are closed, first those of the account that has the most.
    """

    unwritten_bytes_of_account: int = 64 * 1024 * 1024
    """The same for the answers of one `Answer.account`."""


@lru_cache(maxsize=512)
def opening(status: int, content_type: bytes) -> bytes:
    """Status line and Content-Type; there are few different ones, and they are remembered."""
    try:
        reason = HTTPStatus(status).phrase.encode()
    except ValueError:  # a status that only the service behind us knows
        reason = b""
    line = b"HTTP/1.1 %d %b\r\n" % (status, reason)
    return line + field(b"content-type", content_type) if content_type else line


def field(name: bytes, value: bytes) -> bytes:
    """
    One header line.

    Raises:
        ValueError: a line break inside, with which a value would write headers of its own.
    """
    line = b"%b: %b\r\n" % (name, value)
    if line.count(b"\n") > 1 or line.count(b"\r") > 1:
        raise ValueError("a line break in the header " + ascii(name))
    return line


def wire_form(answer: Answer, method: str, date: bytes, ending: bytes) -> bytes | list[bytes]:
    """
    *answer* as it is written: in one piece, or in several where joining them would copy much.

    Args:
        answer: What to say.
        method: Of the request; HEAD is told about the body and does not get it.
        date: The whole header line; it is made once a second and not for each answer.
        ending: `GOES_ON`, `GOES_ON_SAID` or `CLOSES`.

    Raises:
        ValueError: a line break in a header.
    """
    body = answer.body
    status = answer.status
    opened = opening(status, answer.content_type)
    if answer.headers:
        date += b"".join([field(name, value) for name, value in answer.headers])
    if isinstance(body, tuple):
        length = sum(map(len, body))
    else:
        length = len(body)
        if length <= JOIN_BYTES and method != "HEAD" and status not in WITHOUT_BODY:
            return b"%b%bcontent-length: %d\r\n%b%b" % (opened, date, length, ending, body)
    if method == "HEAD" and answer.head_length is not None:
        length, known = answer.head_length, True
    else:
        known = method != "HEAD" or length > 0
    if not known or status in WITHOUT_BODY:
        return opened + date + ending
    head = b"%b%bcontent-length: %d\r\n%b" % (opened, date, length, ending)
    if method == "HEAD":
        return head
    return [head, *body] if isinstance(body, tuple) else [head, body]


def origin_form(target: bytes) -> bytes:
    """*target* without scheme and authority, which a server must accept and has no use for (RFC 9112, 3.2.2)."""
    scheme, mark, rest = target.partition(b"://")
    if target.startswith(b"/") or not mark or b"?" in scheme:
        return target
    ends = [at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0]
    path = rest[min(ends) :] if ends else b""
    return path if path.startswith(b"/") else b"/" + path


def client_of(peername: object) -> str:
    """The address in what a transport calls ``peername``: a tuple of address and port, or the path of a unix socket."""
    if not isinstance(peername, tuple) or not peername:
        return ""
    address = str(peername[0]).partition("%")[0]
    if address.startswith("::ffff:"):
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
        return str(mapped) if mapped else address
    return address
