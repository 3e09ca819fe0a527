# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A request to nova and nova's answer, as values and as bytes. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from peerdata.errors import RequestMalformed

Headers = Iterable[tuple[bytes, bytes]]
"""Names and values, in order; the names of requests are in lower case."""

OF_ONE_CONNECTION: Final = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length expect".split()
)
"""RFC 9110, 7.6.1: these belong to one connection; Content-Length is set anew from the body."""

SAFE: Final = frozenset({"GET", "HEAD"})
"""Methods that change nothing, so that they can be sent again, and shared by several callers."""

# Nova closes the connection on a POST without a Content-Length; RFC 9110, 8.6: such calls state 0.
_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})

_OUTSIDE_ASCII = re.compile(rb"[\x80-\xff]")


# Not frozen: that makes making one four times as slow. Nobody changes one, so several callers can share it.
@dataclass(slots=True)
class NovaAnswer:
    """What nova answered; its body is whole, as nova sent it (never unpacked)."""

    status: int
    content_type: bytes
    """Empty where nova sent none."""
    headers: tuple[tuple[bytes, bytes], ...]
    """All other end-to-end headers, in order."""
    body: bytes
    head_length: int | None = None
    """Of an answer to HEAD, the Content-Length that nova stated."""


class Written(NamedTuple):
    """A request as it is sent, and whom it names."""

    wire: bytes
    """The whole request."""
    caller: bytes
    """The instance that it names, or the address; not a proof, but enough to share and to take turns by."""
    project: bytes
    """The same of the project."""


def write_request(method: str, target: bytes, headers: Headers, body: bytes, host: bytes) -> Written:
    """
    A whole request, as it is sent.

    Anything but GET and HEAD asks nova to close the connection, on which nothing else will be sent: who closes first
    keeps the port in TIME_WAIT, and this host has some 28 000 of them towards nova.

    Args:
        method: Any token.
        target: Path and query as they came, sent without a change, but that bytes outside ASCII are escaped.
        headers: All of the request's; those of the connection itself are left out.
        body: Sent as it is, behind its Content-Length.
        host: The Host header, where *headers* have none.

    Raises:
        RequestMalformed: *target* is not a path, or a line break stands in *target* or *headers*.
    """
    if target[:1] != b"/":
        raise RequestMalformed("the request target must be a path, beginning with a slash")
    if not target.isascii():
        target = _OUTSIDE_ASCII.sub(_escape, target)
    headers = list(headers)
    named = dict(headers)
    if len(named) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:  # RFC 9112, 3.2
        raise RequestMalformed("the header host is there more than once")
    if OF_ONE_CONNECTION.isdisjoint(named):
        lines = [b"%b: %b" % header for header in headers]
    else:
        lines = [b"%b: %b" % header for header in headers if header[0] not in OF_ONE_CONNECTION]
    if b"host" not in named:
        lines.insert(0, b"host: " + host)
    lines.insert(0, b"%b %b HTTP/1.1" % (_token(method), target))
    if body or method in _WITH_LENGTH or b"content-length" in named:
        lines.append(b"content-length: %d" % len(body))
    if method not in SAFE:
        lines.append(b"connection: close")
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    # The parser of our own requests lets neither through. It is looked at again because behind a line break would
    # stand a header, or a request, of the caller's own making.
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b" " in target:
        raise RequestMalformed("this request cannot be passed on to nova: white space where none may be")
    address = named.get(b"x-forwarded-for", b"")
    return Written(
        head + body if body else head, named.get(b"x-instance-id", address), named.get(b"x-tenant-id", address)
    )


@lru_cache(maxsize=64)
def _token(method: str) -> bytes:
    return method.encode("ascii")


def _escape(outside: re.Match[bytes]) -> bytes:
    return b"%%%02X" % outside[0][0]
