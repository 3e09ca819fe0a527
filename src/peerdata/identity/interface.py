# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Which instance is asking: the seams. The rules stand in docs/protocol.md, "Who is asking".

Three ways implement `Identity`. Two of them take nova's answer, which is kept for a while (`proofs`); the third, the
inventory, needs nobody's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from peerdata.model import Instance
from peerdata.upstream.nova import Headers

Clock = Callable[[], float]
"""Seconds; only differences count, and it never goes back."""


class Request(Protocol):
    """What of a request may tell who is asking; `api.exchange.Request` is one."""

    headers: list[tuple[bytes, bytes]]
    """Names in lower case, in order."""
    client: str
    """Address at the other end of the connection."""


class Identity(Protocol):
    """One way of knowing who asks."""

    through_neutron: bool
    """Whether callers come through neutron, where only some statuses arrive."""

    def recall(self, request: Request) -> Instance | None:
        """
        The caller, if that is known without asking anybody; None: `prove` must ask.

        Raises:
            IdentityRefused: the request's headers are wrong, whoever sent it.
        """

    async def prove(self, request: Request, *, stale: bool = False) -> Instance:
        """
        The caller, asking nova where needed.

        Args:
            request: Its headers and source address count, nothing else.
            stale: While nova is away, an old proof will do. For reads of what was known while it was young.

        Raises:
            IdentityRefused; UpstreamFailed.
        """

    async def is_gone(self, instance: Instance) -> bool:
        """
        Whether an instance is known not to exist any more, in its project. False also where that cannot be told.

        Raises:
            UpstreamFailed, ServerBusy: it cannot be told now.
        """

    def headers_for_nova(self, request: Request) -> Headers:
        """The request's headers, as nova may see them when the request is passed on."""

    def asking_headers(self, request: Request) -> Headers:
        """Only those by which nova finds the caller, for questions of our own: what the caller accepts is not ours."""
