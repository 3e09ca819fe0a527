# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Which address is asking, where proxies that are trusted may speak for others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from peerdata.identity.interface import Request


class TrustedProxies:
    """The addresses whose word on the caller's address is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]
        # Every request asks for the same few addresses, and parsing one costs 5 microseconds.
        self._trusts = lru_cache(maxsize=16_384)(self._find)

    def __contains__(self, address: str) -> bool:
        return self._trusts(address)

    def _find(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    def source(self, request: Request) -> str:
        """
        The address of the caller itself: the connection's, or what a trusted proxy at its other end says.

        Behind several proxies each appends whom it saw, so the last address that is
        not itself a trusted proxy is the caller; what stands before it, the caller wrote.
        """
        if request.client not in self:
            return request.client
        values = [value for name, value in request.headers if name == b"x-forwarded-for"]
        hops = [hop.strip() for hop in b",".join(values).decode("latin-1").split(",") if hop.strip()]
        return next((hop for hop in reversed(hops) if hop not in self), hops[0] if hops else request.client)
