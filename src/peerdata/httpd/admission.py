# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Who may connect: all clients of one server are counted from accept to their end, and each is judged once.

No I/O. `httpd.listener` asks before it makes anything of a connection, also before a TLS handshake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peerdata.httpd.messages import HttpLimits

TOLD: Final = 64
"""How many rejected clients are told `ServerBusy` at once; further ones are closed without an answer."""

MAX_CONNECTIONS: Final = "max_connections"
DESCRIPTORS: Final = "descriptors"
ADDRESS: Final = "address"


class Admission:
    """
    Counts the connections of one server.

    Args:
        limits: How many there may be.
        is_proxy: Whether an address stands for many clients, and so is not held to a share of its own.

    Attributes:
        open: Connections now, from accept to their end, those being rejected included.
        rejecting: How many of them are there only to be told that they are rejected.
    """

    def __init__(self, limits: HttpLimits, is_proxy: Callable[[str], bool] = lambda _: False) -> None:
        self._limits = limits
        self._is_proxy = is_proxy
        self._of_address: dict[str, int] = {}
        self.open = 0
        self.rejecting = 0

    def judge(self, descriptor: int, address: str) -> str:
        """The reason why a client from *address* on *descriptor* is rejected; empty where it is not."""
        limits = self._limits
        if self.open - self.rejecting >= limits.connections:
            return MAX_CONNECTIONS
        if descriptor >= limits.descriptors:
            return DESCRIPTORS
        share = limits.connections_of_address
        if share and self._of_address.get(address, 0) >= share and not self._is_proxy(address):
            return ADDRESS
        return ""

    def enter(self, address: str, *, rejected: bool = False) -> None:
        """One more, from *address*."""
        self.open += 1
        if rejected:
            self.rejecting += 1
        elif self._limits.connections_of_address:
            self._of_address[address] = self._of_address.get(address, 0) + 1

    def leave(self, address: str, *, rejected: bool = False) -> None:
        """One less; with the arguments of its `enter`."""
        self.open -= 1
        if rejected:
            self.rejecting -= 1
        elif self._limits.connections_of_address:
            left = self._of_address[address] - 1
            if left:
                self._of_address[address] = left
            else:
                del self._of_address[address]
