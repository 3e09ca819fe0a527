# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One listener: accepts clients, and makes connections of those that `httpd.admission` lets in.

The loop's own server is not used. It tells nobody of a client before a TLS handshake is over, and where descriptors
run out uvloop's closes the listener for good (`UVStreamServer._fatal_error`) and asyncio's logs once for each client.
And at the end what waits in the kernel's queue must be accepted to the last, or it is reset with the listener.
"""

from __future__ import annotations

import _socket
import asyncio
import errno
import logging
import socket
import ssl
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

from peerdata import metrics
from peerdata.errors import PeerdataError, ServerBusy
from peerdata.httpd.admission import ADDRESS, MAX_CONNECTIONS, TOLD
from peerdata.httpd.connection import LINGER_S, Common, Connection
from peerdata.httpd.messages import client_of

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
"""Connections that the kernel keeps until they are accepted: instances boot, and ask, in bursts."""

AT_ONCE: Final = 32
"""How many are accepted before those that are open have their turn: about a millisecond."""

PAUSE_S: Final = 0.5
"""How long, in seconds, nobody is accepted once descriptors or memory for sockets have run out."""

WARNING_S: Final = 10
"""Between two lines in the log about the same thing, in seconds."""

EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


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


class _Accepted(socket.socket):
    """A client's socket. The loop asks five times for family and type, and making enums of them takes 3 us."""

    __slots__ = ()
    family = _socket.socket.family  # type: ignore[assignment]
    type = _socket.socket.type  # type: ignore[assignment]


class Listener:
    """
    Accepts clients on one socket.

    Args:
        sock: Closed with this. Other processes may accept from it too.
        common: Of the server.
        tls: For HTTPS; may be changed, for clients from then on.
    """

    def __init__(self, sock: socket.socket, common: Common, tls: ssl.SSLContext | None) -> None:
        self._sock = sock
        self._kind, self._protocol = int(sock.type), sock.proto
        self._family = int(sock.family)
        self._common = common
        self._loop = asyncio.get_running_loop()
        self.tls = tls
        self._whom = common.whom + ("_tls" if tls else "")
        self._resuming: asyncio.TimerHandle | None = None
        self._warned: dict[str, float] = {}
        self._resume()

    def take_queue(self) -> None:
        """Accept all who wait in the kernel's queue now; no more than fit in it, lest a flood keep this busy."""
        for _ in range(2 * BACKLOG):
            if not self._accept():
                break

    def _waiting(self) -> int:
        """How many wait in the kernel's queue: ``tcpi_unacked``, which of a listener means that (linux, tcp_info)."""
        return int.from_bytes(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)[24:], sys.byteorder)

    def close(self) -> None:
        """Accept nobody any more."""
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _resume(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._sock.fileno(), self._accept_some)

    def _accept_some(self) -> None:
        # Asking how many wait costs 1 us; trying until nobody is there, which raises, 4 us.
        for _ in range(max(1, min(self._waiting(), AT_ONCE))):
            if not self._accept():  # another process was quicker
                break

    def _accept(self) -> bool:
        """Accept one client; False where nobody waits, or nobody can be accepted now."""
        try:
            # As socket.accept does, which then makes a slower object of it.
            descriptor, peer = self._sock._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._pause(error)
                return False
            return True  # an error of that client's, who is gone: accept(2), "Error handling"
        sock = _Accepted(self._family, self._kind, self._protocol, descriptor)
        address = peer[0] if self._family == socket.AF_INET else client_of(peer)
        reason = self._common.admission.judge(descriptor, address)
        if reason:
            self._reject(sock, address, reason)
        else:
            self._open(sock, address)
        return True

    def _pause(self, error: OSError) -> None:
        """Leave clients in the kernel's queue for a while; trying at once again would only keep this process busy."""
        if self._resuming is None:
            self._loop.remove_reader(self._sock.fileno())
            self._resuming = self._loop.call_later(PAUSE_S, self._resume)
        metrics.ACCEPT_PAUSES.labels(self._whom).inc()
        self._warn("exhausted", f"cannot accept clients, who wait meanwhile: {error.strerror}")

    def _reject(self, sock: socket.socket, address: str, reason: str) -> None:
        """Tell a client that it is not served; or close, with TLS and where many are being told already."""
        limits = self._common.limits
        if reason == MAX_CONNECTIONS:
            limit = limits.connections
            text = f"all {limit} connections are taken"
        elif reason == ADDRESS:
            limit = limits.connections_of_address
            text = f"all {limit} connections of one address are taken"
        else:
            limit = limits.descriptors
            text = "no descriptor is free for another connection"
        self._warn(reason, f"clients are rejected: {text}" + (f", by {address}" if reason == ADDRESS else ""))
        told = not self.tls and self._common.admission.rejecting < TOLD
        metrics.TURNED_AWAY.labels(self._whom, reason if told or self.tls else "dropped").inc()
        if told:
            self._open(sock, address, ServerBusy(f"{text}; try again in a few seconds", limit=limit))
        else:
            sock.close()

    def _warn(self, about: str, text: str) -> None:
        """Log *text*; the same thing once in `WARNING_S`, because it may happen ten thousand times a second."""
        now = self._loop.time()
        if now - self._warned.get(about, -WARNING_S) >= WARNING_S:
            self._warned[about] = now
            log.warning("listener %s: %s (further ones in %d s are only counted)", self._whom, text, WARNING_S)

    def _open(self, sock: socket.socket, address: str, rejection: PeerdataError | None = None) -> None:
        """Begin a conversation, with TLS once hands were shaken."""
        common, loop = self._common, self._loop
        connection = Connection(common, loop, address, rejection)
        common.admission.enter(address, rejected=rejection is not None)
        if self.tls is None:
            opening = loop.connect_accepted_socket(lambda: connection, sock)
            _step(opening, connection, None)
            return
        opening = loop.connect_accepted_socket(
            lambda: connection,
            sock,
            ssl=self.tls,
            ssl_handshake_timeout=common.limits.head_timeout_s,
            ssl_shutdown_timeout=LINGER_S,
        )
        task = loop.create_task(self._shake_hands(opening, connection))
        common.tasks.add(task)
        task.add_done_callback(common.forget)

    async def _shake_hands(self, opening: Coroutine[Any, Any, Any], connection: Connection) -> None:
        try:
            await opening
        except (OSError, asyncio.CancelledError):  # ssl.SSLError and a time-out are OSErrors
            metrics.TURNED_AWAY.labels(self._whom, "handshake").inc()
        finally:
            connection.settle_opening()


def _step(opening: Coroutine[Any, Any, Any], connection: Connection, _done: object) -> None:
    """
    Go on with *opening*, which waits for one future: that the loop has called `Connection.connection_made`.

    A task would do the same, for 3 us of the 40 that a connection with one request takes.
    """
    try:
        waiter = opening.send(None)
    except StopIteration:
        return
    except Exception:
        log.exception("a connection that was accepted could not be opened")
        connection.settle_opening()
        return
    waiter.add_done_callback(partial(_step, opening, connection))
