# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The HTTP server: its listeners, the clock for all connections, and the way out.

What a handler needs (`Request`, `Answer`, `HttpLimits`) can be imported from
here; `httpd.connection` speaks the protocol. Why it is our own, and what that
costs and gains, stands in docs/design.md, "The HTTP server".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from peerdata import metrics
from peerdata.httpd.connection import FIRST_REQUEST_S, Common
from peerdata.httpd.listener import Listener, listen
from peerdata.httpd.messages import Answer, Handler, HttpLimits, Refuse, Request

__all__ = ["Answer", "Handler", "HttpLimits", "HttpServer", "Refuse", "Request", "listen"]

log = logging.getLogger(__name__)

CANCEL_S: Final = 1.0
"""How long, in seconds, a cancelled handler may take to end."""


class HttpServer:
    """
    Answers HTTP/1.1 and HTTP/1.0 on any number of listeners, by one handler.

    Args:
        handler: Called for each request, in the order in which they come on a connection. It
            returns the `Answer` if it has it, which costs no task; otherwise an awaitable. That one
            runs to its end even if the client goes away. A `PeerdataError` from either becomes an
            answer; any other exception is logged and becomes that of a bare `PeerdataError`.
        limits: How much a client may take.
        refuse: Gives an error its answer, also for what never reaches the handler:
            `RequestMalformed`, `HeadTooLarge`, `ServerBusy`.
        whom: Who connects here, for the metrics.
        is_proxy: Whether `HttpLimits.connections_of_address` does not hold for an address.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: HttpLimits,
        refuse: Refuse,
        whom: str = "instances",
        is_proxy: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._common = Common(handler, refuse, limits, whom, is_proxy)
        self._listeners: list[Listener] = []
        self._next_look: asyncio.TimerHandle | None = None
        metrics.MAX_CONNECTIONS.labels(whom).set(limits.connections)

    @property
    def connections(self) -> int:
        """How many are open now, TLS handshakes and those being rejected included."""
        return self._common.admission.open

    async def accept(self, listener: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """
        Accept connections on one more *listener*, see `listen`.

        Args:
            listener: Closed with the server. Other processes may accept from it too.
            tls: For HTTPS; whether a client certificate is asked for is decided in it.
        """
        if self._next_look is None:
            self._look_around(asyncio.get_running_loop())
        self._listeners.append(Listener(listener, self._common, tls))

    async def change_tls(self, tls: ssl.SSLContext) -> None:
        """Accept on the listeners with TLS by another context; connections that are open keep theirs."""
        for listener in self._listeners:
            if listener.tls is not None:
                listener.tls = tls

    def say_last(self) -> None:
        """
        Let each answer from now on be the last of its connection, and go on accepting.

        So clients that keep connections, balancers above all, leave by themselves, and none of them is surprised by
        a connection that closes just as it sends.
        """
        self._common.closing = True

    async def close(self, *, grace_s: float) -> None:
        """
        Stop: accept who waits already and then nobody, answer what is under way, drop the rest after *grace_s* seconds.

        Idle connections are closed at once, those that have sent nothing yet after `FIRST_REQUEST_S`. After the
        grace all others are aborted and their handlers cancelled. A second call, even during the
        first, does no harm, and may bring a shorter grace.
        """
        common = self._common
        common.closing = common.closed = True
        for listener in self._listeners:
            listener.take_queue()
        while self._listeners:
            self._listeners.pop().close()
        for connection in tuple(common.connections):
            connection.shut()
        first_requests_due = asyncio.get_running_loop().call_later(FIRST_REQUEST_S, self._look_at_connections)
        if not await self._is_empty_within(grace_s):
            await self._drop()
        first_requests_due.cancel()
        if self._next_look is not None:
            self._next_look.cancel()

    async def _drop(self) -> None:
        """End what the grace was too short for."""
        common = self._common
        log.warning("dropping %d connections and %d calls under way", common.admission.open, len(common.tasks))
        for connection in tuple(common.connections):
            connection.abort()
        for task in tuple(common.tasks):
            task.cancel()
        if not await self._is_empty_within(CANCEL_S):
            log.error("%d calls do not end when cancelled", len(common.tasks))

    async def _is_empty_within(self, seconds: float) -> bool:
        """Wait until nothing is open and nobody at work, and say whether it came to that."""
        self._common.look_whether_empty()
        emptied = self._common.emptied
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await emptied.wait()
        return emptied.is_set()

    def _look_around(self, loop: asyncio.AbstractEventLoop) -> None:
        """Renew the date and the metrics, and look at all connections: one timer instead of some for each request."""
        common = self._common
        limits = common.limits
        shortest = min(limits.head_timeout_s, limits.body_timeout_s, limits.idle_timeout_s)
        self._next_look = loop.call_later(min(1.0, shortest / 4), self._look_around, loop)
        common.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        self._look_at_connections()
        metrics.CONNECTIONS.labels(common.whom).set(common.admission.open)
        metrics.INCOMING_BYTES.labels(common.whom).set(common.incoming.total)
        metrics.UNWRITTEN_BYTES.labels(common.whom).set(common.unwritten.total)

    def _look_at_connections(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in tuple(self._common.connections):
            connection.look(now)
