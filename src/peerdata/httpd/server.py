# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The HTTP server: listeners, the clock for all connections, and the way out.

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
from email.utils import formatdate
from functools import partial
from typing import Final, NamedTuple

from peerdata.httpd.connection import LINGER_S, Common, Connection
from peerdata.httpd.messages import Answer, Handler, HttpLimits, Refuse, Request

__all__ = ["Answer", "Handler", "HttpLimits", "HttpServer", "Refuse", "Request", "listen"]

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
"""Connections that the kernel keeps until they are accepted: instances boot, and ask, in bursts."""

CANCEL_S: Final = 1.0
"""How long, in seconds, a cancelled handler may take to end."""


def listen(host: str, port: int) -> socket.socket:
    """
    A listener, whose connections wait in the kernel until a server, in this process or a child of it, accepts them.

    Args:
        host: An address, ``"0.0.0.0"`` or ``"::"`` for all; the latter means IPv6 alone, so
            that both can stand side by side.
        port: 0 to 65535; 0 lets the kernel choose.

    Raises:
        OSError: the address is not there, or the port is taken.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class _Listening(NamedTuple):
    server: asyncio.Server
    listener: socket.socket
    tls: bool


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
    """

    def __init__(self, handler: Handler, *, limits: HttpLimits, refuse: Refuse, whom: str = "instances") -> None:
        self._common = Common(handler, refuse, limits, whom)
        self._listeners: list[_Listening] = []
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many are open now, those being turned away included."""
        return len(self._common.connections)

    async def accept(self, listener: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """
        Accept connections on one more *listener*, see `listen`.

        Args:
            listener: Closed with the server. Other processes may accept from it too.
            tls: For HTTPS; whether a client certificate is asked for is decided in it.
        """
        loop = asyncio.get_running_loop()
        if self._next_look is None:
            self._look_around(loop)
        server = await loop.create_server(
            partial(Connection, self._common, loop),
            sock=listener,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=self._common.limits.head_timeout_s if tls else None,
            ssl_shutdown_timeout=LINGER_S if tls else None,
        )
        self._listeners.append(_Listening(server, listener, tls is not None))

    async def change_tls(self, tls: ssl.SSLContext) -> None:
        """
        Accept on the listeners with TLS by another context; connections that are open keep theirs.

        The kernel's queue stays, so nobody who connects meanwhile is turned away (by uvloop; asyncio's own server may
        lose one that it is just accepting).
        """
        for old in [listening for listening in self._listeners if listening.tls]:
            await self.accept(old.listener.dup(), tls=tls)
            self._listeners.remove(old)
            old.server.close()

    async def close(self, *, grace_s: float) -> None:
        """
        Stop: accept nothing, answer what is under way, drop the rest after *grace_s* seconds.

        Idle connections are closed at once. After the grace all others are
        aborted and their handlers cancelled. A second call, even during the
        first, does no harm, and may bring a shorter grace.
        """
        common = self._common
        common.closing = True
        while self._listeners:
            self._listeners.pop().server.close()
        for connection in tuple(common.connections):
            connection.shut()
        if not await self._is_empty_within(grace_s):
            await self._drop()
        if self._next_look is not None:
            self._next_look.cancel()

    async def _drop(self) -> None:
        """End what the grace was too short for."""
        common = self._common
        log.warning("dropping %d connections and %d calls under way", len(common.connections), len(common.tasks))
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
        """Renew the date, and look at all deadlines: one timer for the server instead of some for each request."""
        common = self._common
        limits = common.limits
        shortest = min(limits.head_timeout_s, limits.body_timeout_s, limits.idle_timeout_s)
        self._next_look = loop.call_later(min(1.0, shortest / 4), self._look_around, loop)
        common.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        now = loop.time()
        for connection in tuple(common.connections):
            if connection.deadline <= now:
                connection.expire(now)
