# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One HTTP exchange over a socket: sends a request without a body, and returns the whole answer or none.

Why not `http.client`: with `email` and `ssl`, which it imports, it takes 20 to 45 ms to import, as long as Python takes
to start (docs/guest.md, "Start time"). The guest needs one request on one connection, and a strictness that
`http.client` lacks: an answer that is cut is an error, even where it has no length.
The proxies of the environment are never used: the metadata address is local to this machine.
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
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Ten times the answer for a project with 20 000 keys of 255 characters."""

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Server(NamedTuple):
    """Where a metadata service may be reached."""

    host: str
    """A name or an address, without brackets; a link-local IPv6 address with its zone after ``%``."""
    port: int
    source: str = ""
    """The address of this machine to connect from; empty: the kernel chooses."""

    def __str__(self) -> str:
        return f"http://{self.authority}"

    @property
    def is_link_local(self) -> bool:
        """Whether this is one of the metadata addresses, where neutron may limit the rate."""
        return self.host.partition("%")[0] in (V4, V6)

    @property
    def authority(self) -> str:
        """The value of the header Host, which has no zone."""
        host = self.host.partition("%")[0]
        shown = f"[{host}]" if ":" in host else host
        return shown if self.port == 80 else f"{shown}:{self.port}"


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    """By lower-case name; of a repeated header, the last."""
    body: bytes
    local_address: str
    """The address of this machine on the connection."""


class NotConnected(NotReached):
    """The connection failed, so nothing was sent."""


def servers(url: str, source: str = "") -> list[Server]:
    """
    List the servers to try, in order.

    Args:
        url: For example ``http://127.0.0.1:8775``: the only server. Empty: the metadata addresses, IPv4 before IPv6.
        source: See `Server.source`; for test setups, in which the address decides which instance is asking.

    Raises:
        Misused: *url* is invalid, or has a path.
    """
    if url:
        return [parse_url(url)._replace(source=source)]
    return [Server(V4, 80), *(Server(f"{V6}%{zone}", 80) for zone in _zones())]


def _zones() -> list[str]:
    """The interfaces with a link-local IPv6 address; `V6` is reached through one of them."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as table:
            rows = [line.split() for line in table]
    except OSError:
        return []
    return sorted({row[5] for row in rows if len(row) == 6 and row[0].startswith("fe80") and row[5] != "lo"})


def parse_url(url: str) -> Server:
    """Parse a URL of scheme, host and port."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() != "http" or any(not "!" <= character <= "~" for character in url):
        raise Misused(f"PEERDATA_URL must be like http://169.254.169.254 or http://[fe80::a9fe:a9fe%eth0], not '{url}'")
    authority, _, path = rest.partition("/")
    port = "80"
    if authority.startswith("["):
        host, closed, after = authority[1:].partition("]")
        host = host.replace("%25", "%")
        if not closed or (after and not after.startswith(":")):
            raise Misused(f"'{authority}' is not an address in brackets, with or without a port")
        port = after[1:] or port
    else:
        host, _, given = authority.partition(":")
        port = given or port
    if not host or not (port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise Misused(f"'{authority}' is not a host, or a host and a port; put IPv6 addresses in brackets")
    if path.strip("/"):
        raise Misused(f"PEERDATA_URL ends after its host and port: use http://{authority}, not '{url}'")
    return Server(host, int(port))


def quote(text: str) -> str:
    """Percent-encode the UTF-8 of *text* for a path or a query, except for unreserved characters."""
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:
        raise Misused(f"{text!r} is not text: it contains bytes that are not UTF-8") from None
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in raw)


def exchange(
    server: Server, method: str, target: str, timeout_s: float, *, late_body: bytes = b"", late_s: float = 0.0
) -> Answer:
    """
    Send one request, and return its answer.

    Args:
        target: Path and query, escaped.
        timeout_s: For the whole exchange.
        late_body: A body to send *late_s* after the headers; only `doctor` does, to see whether it arrives.

    Raises:
        NotConnected: nothing was sent.
        NotReached: the request was sent, wholly or in part, but no whole answer came.
    """
    deadline = time.monotonic() + timeout_s
    connection = _connect(server, min(CONNECT_S, timeout_s))
    try:
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: {server.authority}\r\n"
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
        raise NotReached(f"{server} did not answer within {timeout_s:.0f} s") from None
    except OSError as error:
        raise NotReached(f"the connection to {server} failed: {_reason(error)}") from error
    finally:
        connection.close()


def _connect(server: Server, timeout_s: float) -> socket.socket:
    try:
        source = (server.source, 0) if server.source else None
        return socket.create_connection((server.host, server.port), timeout_s, source)
    except socket.timeout:
        raise NotConnected(f"{server} did not accept a connection within {timeout_s:.0f} s") from None
    except (OSError, UnicodeError) as error:
        raise NotConnected(f"{server} cannot be reached: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else str(error)


class _Reader:
    """Reads one answer from a connection, until *deadline* (of the monotonic clock)."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = b""
        """Received bytes; everything before `_at` has been read."""
        self._at = 0

    def read(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = self._read_head()
        while 100 <= status < 200:  # `_read_until` ends this at the deadline
            status, headers = self._read_head()
        if status in (204, 304):
            return status, headers, b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return status, headers, self._read_chunks()
        length = headers.get("content-length")
        if length is None:
            return status, headers, self._read_rest()
        # Count the digits first: int() is slow for thousands of them, and later Pythons refuse.
        if not (length.isascii() and length.isdigit() and len(length) <= 20 and int(length) <= MAX_BODY_BYTES):
            raise NotReached("the length of the answer is invalid")
        return status, headers, self._read_exactly(int(length))

    def _remaining_s(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise socket.timeout
        return remaining

    def _receive(self) -> bytes:
        self._connection.settimeout(self._remaining_s())
        return self._connection.recv(65536)

    def _take_buffer(self) -> bytes:
        taken = self._buffer[self._at :]
        self._buffer, self._at = b"", 0
        return taken

    def _read_until(self, end: bytes, max_bytes: int) -> bytes:
        self._remaining_s()  # even if everything is buffered: a server may send very many small parts
        while (found := self._buffer.find(end, self._at)) < 0:
            if len(self._buffer) - self._at > max_bytes:
                raise NotReached("the head of the answer is too long")
            piece = self._receive()
            if not piece:
                raise NotReached(
                    "the answer was cut in its head" if self._buffer else "the connection was closed without an answer"
                )
            self._buffer = self._take_buffer() + piece
        text = self._buffer[self._at : found]
        self._at = found + len(end)
        return text

    def _read_head(self) -> tuple[int, dict[str, str]]:
        lines = self._read_until(b"\r\n\r\n", MAX_HEAD_BYTES).decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (len(code) == 3 and code.isascii() and code.isdigit()):
            raise NotReached("the answer is not HTTP")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(code), headers

    def _read_exactly(self, length: int) -> bytes:
        whole = self._buffer[self._at : self._at + length]
        self._at += len(whole)
        if len(whole) == length:
            return whole
        pieces, missing = [whole], length - len(whole)
        while missing > 0:
            piece = self._receive()
            if not piece:
                raise NotReached(f"the answer was cut after {length - missing} of {length} bytes")
            pieces.append(piece[:missing])
            self._buffer, self._at = piece[missing:], 0
            missing -= len(piece)
        return b"".join(pieces)

    def _read_rest(self) -> bytes:
        body = bytearray(self._take_buffer())
        while piece := self._receive():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise NotReached("the answer is too long")
        return bytes(body)

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = self._read_until(b"\r\n", 1024).partition(b";")[0].strip()
            try:
                size = int(line, 16)
            except ValueError:
                raise NotReached("the chunks of the answer are malformed") from None
            if size == 0:
                return bytes(body)
            if not 0 < size <= MAX_BODY_BYTES - len(body):
                raise NotReached("the answer is too long")
            body += self._read_exactly(size)
            self._read_until(b"\r\n", 1024)
