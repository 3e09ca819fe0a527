# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Parses the addresses that peers publish, and writes them as configurations need them, with IPv6 in brackets. Pure.
"""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                        r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?")  # fmt: skip


class Endpoint(NamedTuple):
    """A host, and its port if it has one."""

    host: str
    """An IPv4 or IPv6 address, without brackets, or a host name; nothing else."""
    port: int | None = None

    @property
    def bracketed(self) -> str:
        """The host as it is written before a port, or in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def with_port(self, port: int | None = None) -> str:
        """``host:port`` with its own port, else with *port*; without either the host as in a URL."""
        chosen = self.port or port
        return f"{self.bracketed}:{chosen}" if chosen else self.bracketed

    def plain(self, port: int | None = None) -> str:
        """The same, but without a port the bare address: for software that accepts both."""
        return self.with_port(port) if self.port or port else self.host


def parse(value: str) -> Endpoint | None:
    """
    Parse ``10.0.0.11``, ``10.0.0.11:2380``, ``fd00::11``, ``[fd00::11]:2380`` or ``db1.example:2380``.

    Returns:
        None for anything else. A URL is not accepted: its other parts would be lost.
    """
    if is_ipv6(value):
        return Endpoint(value)
    port: int | None = None
    host = value
    if value.startswith("["):
        host, closed, rest = value[1:].partition("]")
        if not closed or not is_ipv6(host) or (rest and not rest.startswith(":")):
            return None
        given = rest[1:]
    else:
        host, colon, given = value.partition(":")
        if not (is_ipv4(host) or is_host_name(host)) or (colon and not given):
            return None
    if given:
        if not (given.isascii() and given.isdigit() and 0 < int(given[:6]) < 65536 and len(given) <= 5):
            return None
        port = int(given)
    return Endpoint(host, port)


def is_ipv4(text: str) -> bool:
    """Whether *text* is an IPv4 address in its usual form, four numbers from 0 to 255."""
    return _is(socket.AF_INET, text) and text.count(".") == 3


def is_ipv6(text: str) -> bool:
    """Whether *text* is an IPv6 address, without brackets and zone."""
    return _is(socket.AF_INET6, text)


def _is(family: int, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def is_host_name(text: str) -> bool:
    """Whether *text* is a host name; only digits and dots are not one, but a mistyped address."""
    return bool(_HOST_NAME.fullmatch(text)) and not re.fullmatch(r"[0-9.]+", text)
