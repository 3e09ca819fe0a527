# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One HTTP exchange over a socket: a request without a body, an answer whole or not at all.

Why not `http.client`: with `email` and `ssl` behind it, it takes 20 to 45 ms to import, as long as Python itself takes
to start (docs/guest.md, "Start time"). What is needed here is one request on one connection, and the strictness that
`http.client` lacks: an answer that is cut is an error, also where its length was not told.
No proxy of the environment is ever asked: the metadata address is this machine's own.
"""

from __future__ import annotations

import os
import socket
import time
from typing import NamedTuple

from peerdata import __version__
from peerdata.guest.errors import Misused, NotReached

V4 = "169.254.169.254"
V6 = "fe80::a9fe:a9fe"

CONNECT_S = 5.0
MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 64 * 1024 * 1024
"""A project of 20 000 keys of 255 characters is a tenth of it."""

STAND_IN = "/as/"
"""Stands before one name in the URL of an instance of `peerdata.testing.Cloud`; no other URL has a path."""

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Place(NamedTuple):
    """Where a metadata service may be."""

    host: str
    """A name or an address, without brackets; IPv6 with its zone behind ``%``."""
    port: int
    base: str
    """What stands before ``/openstack``: of an instance of the stand-in `STAND_IN` and its name, else empty."""
    source: str = ""
    """The address to ask from, of those that this machine has; empty: the kernel chooses."""

    def __str__(self) -> str:
        return f"http://{self.authority}{self.base}"

    @property
    def is_link_local(self) -> bool:
        """Whether it is one of the metadata addresses, where neutron may limit the rate."""
        return self.host.partition("%")[0] in (V4, V6)

    @property
    def is_stand_in(self) -> bool:
        """Whether it is an instance of `peerdata.testing.Cloud`, whose tests are to be quick."""
        return self.base.startswith(STAND_IN)

    @property
    def authority(self) -> str:
        """For the header Host, where a zone means nothing."""
        host = self.host.partition("%")[0]
        shown = f"[{host}]" if ":" in host else host
        return shown if self.port == 80 else f"{shown}:{self.port}"


class Answer(NamedTuple):
    """What came back, whole."""

    status: int
    headers: dict[str, str]
    """By lower-case name; of one that stands twice, the last."""
    body: bytes
    local_address: str
    """This end of the connection."""


class NotConnected(NotReached):
    """No connection came about, so certainly nothing was sent."""


def places(url: str, source: str = "") -> list[Place]:
    """
    Where to ask, best first.

    Args:
        url: Such as ``http://127.0.0.1:8775``, then there alone; empty: the metadata addresses, IPv4 before IPv6.
        source: See `Place.source`; for laboratories, where the address says which instance asks.

    Raises:
        Misused: *url* is not such.
    """
    if url:
        return [parse_url(url)._replace(source=source)]
    return [Place(V4, 80, ""), *(Place(f"{V6}%{zone}", 80, "") for zone in _zones())]


def _zones() -> list[str]:
    """The interfaces with an IPv6 link-local address: through one of them, `V6` is reached."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as table:
            rows = [line.split() for line in table]
    except OSError:
        return []
    return sorted({row[5] for row in rows if len(row) == 6 and row[0].startswith("fe80") and row[5] != "lo"})


def parse_url(url: str) -> Place:
    """The place that *url* names."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() != "http" or any(not "!" <= character <= "~" for character in url):
        raise Misused(f"PEERDATA_URL must be like http://169.254.169.254 or http://[fe80::a9fe:a9fe%eth0], not '{url}'")
    authority, slash, base = rest.partition("/")
    port = "80"
    if authority.startswith("["):
        host, closed, behind = authority[1:].partition("]")
        host = host.replace("%25", "%")
        if not closed or (behind and not behind.startswith(":")):
            raise Misused(f"'{authority}' is no address in brackets, with or without a port")
        port = behind[1:] or port
    else:
        host, _, given = authority.partition(":")
        port = given or port
    if not host or not (port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise Misused(f"'{authority}' is not a host, or a host and a port; IPv6 goes into brackets")
    path = (slash + base).rstrip("/")
    if path and not (path.startswith(STAND_IN) and path.count("/") == STAND_IN.count("/")):
        raise Misused(f"PEERDATA_URL ends with its host and port, http://{authority}: not '{url}'")
    return Place(host, int(port), path)


def quote(text: str) -> str:
    """*text* as it stands in a path or a query, all but unreserved characters as escapes of UTF-8."""
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:
        raise Misused(f"{text!r} is not text: it holds bytes that are no UTF-8") from None
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in raw)


def exchange(
    place: Place, method: str, target: str, timeout_s: float, *, late_body: bytes = b"", late_s: float = 0.0
) -> Answer:
    """
    Ask once.

    Args:
        target: Path and query, escaped.
        timeout_s: For all of it.
        late_body: Only the doctor has one, to see whether it gets lost; sent *late_s* after the headers.

    Raises:
        NotConnected: nothing was sent.
        NotReached: something was, and no whole answer came.
    """
    deadline = time.monotonic() + timeout_s
    connection = _connect(place, min(CONNECT_S, timeout_s))
    try:
        head = (
            f"{method} {place.base}{target} HTTP/1.1\r\nHost: {place.authority}\r\n"
            f"User-Agent: peerdata/{__version__}\r\nAccept: application/json\r\nConnection: close\r\n"
        )
        if method == "POST":
            head += f"Content-Length: {len(late_body)}\r\n"
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        connection.sendall(f"{head}\r\n".encode("ascii"))
        if late_body:
            time.sleep(late_s)
            connection.sendall(late_body)
        local_address = str(connection.getsockname()[0])
        status, headers, body = _Reader(connection, deadline).read()
        return Answer(status, headers, body, local_address)
    except socket.timeout:
        raise NotReached(f"{place} did not answer within {timeout_s:.0f} s") from None
    except OSError as error:
        raise NotReached(f"{place} broke off: {_reason(error)}") from error
    finally:
        connection.close()


def _connect(place: Place, timeout_s: float) -> socket.socket:
    try:
        source = (place.source, 0) if place.source else None
        return socket.create_connection((place.host, place.port), timeout_s, source)
    except socket.timeout:
        raise NotConnected(f"{place} does not take connections (tried for {timeout_s:.0f} s)") from None
    except (OSError, UnicodeError) as error:
        raise NotConnected(f"{place} cannot be reached: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else str(error)


class _Reader:
    """Reads one answer off a connection, until *deadline* (of the monotonic clock)."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._held = b""
        """Received, of which all before `_at` has been read."""
        self._at = 0

    def read(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = self._read_head()
        while 100 <= status < 200:  # until the deadline: `_read_until` looks at it
            status, headers = self._read_head()
        if status in (204, 304):
            return status, headers, b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return status, headers, self._read_chunks()
        length = headers.get("content-length")
        if length is None:
            return status, headers, self._read_rest()
        # Not more digits than it may have: int() takes long for thousands, and later Pythons refuse.
        if not (length.isascii() and length.isdigit() and len(length) <= 20 and int(length) <= MOST_BODY_BYTES):
            raise NotReached("the answer has no length that could be")
        return status, headers, self._read_exactly(int(length))

    def _remaining_s(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise socket.timeout
        return remaining

    def _receive(self) -> bytes:
        self._connection.settimeout(self._remaining_s())
        return self._connection.recv(65536)

    def _take_held(self) -> bytes:
        taken = self._held[self._at :]
        self._held, self._at = b"", 0
        return taken

    def _read_until(self, end: bytes, most: int) -> bytes:
        self._remaining_s()  # also where all of it is held already: a server may send many small parts
        while (found := self._held.find(end, self._at)) < 0:
            if len(self._held) - self._at > most:
                raise NotReached("the answer's head is longer than any should be")
            piece = self._receive()
            if not piece:
                raise NotReached("the answer was cut in its head" if self._held else "the connection closed unanswered")
            self._held = self._take_held() + piece
        text = self._held[self._at : found]
        self._at = found + len(end)
        return text

    def _read_head(self) -> tuple[int, dict[str, str]]:
        lines = self._read_until(b"\r\n\r\n", MOST_HEAD_BYTES).decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (len(code) == 3 and code.isascii() and code.isdigit()):
            raise NotReached("what answered does not speak HTTP")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(code), headers

    def _read_exactly(self, length: int) -> bytes:
        whole = self._held[self._at : self._at + length]
        self._at += len(whole)
        if len(whole) == length:
            return whole
        pieces, missing = [whole], length - len(whole)
        while missing > 0:
            piece = self._receive()
            if not piece:
                raise NotReached(f"the answer was cut after {length - missing} of {length} bytes")
            pieces.append(piece[:missing])
            self._held, self._at = piece[missing:], 0
            missing -= len(piece)
        return b"".join(pieces)

    def _read_rest(self) -> bytes:
        body = bytearray(self._take_held())
        while piece := self._receive():
            body += piece
            if len(body) > MOST_BODY_BYTES:
                raise NotReached("the answer does not end")
        return bytes(body)

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = self._read_until(b"\r\n", 1024).partition(b";")[0].strip()
            try:
                size = int(line, 16)
            except ValueError:
                raise NotReached("the answer's chunks are garbled") from None
            if size == 0:
                return bytes(body)
            if not 0 < size <= MOST_BODY_BYTES - len(body):
                raise NotReached("the answer does not end")
            body += self._read_exactly(size)
            self._read_until(b"\r\n", 1024)
