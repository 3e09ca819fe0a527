# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The listeners, as data, and the service on them in one process: its start, reload, drain and end.

A listener of another API is one more row of `listeners_of`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import platform
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from peerdata import __version__, metrics, notify, repeats
from peerdata.app import Parts, build
from peerdata.capacity import OPERATORS, http_limits
from peerdata.errors import CannotListen, PeerdataError
from peerdata.httpd.messages import Handler, HttpLimits
from peerdata.httpd.server import HttpServer, listen
from peerdata.identity.proxies import TrustedProxies
from peerdata.preflight import prepare_store
from peerdata.settings import Settings, parse_address
from peerdata.store import migrate, opening
from peerdata.tls import server_tls
from peerdata.upstream.inventory import Inventory

LOG = logging.getLogger(__name__)

COLLECTOR = (20_000, 20, 20)
"""
When the collector looks for cycles. By its default, at 700 objects, it takes an eighth of the CPU of what is passed on
with 64 under way, and finds nothing: that leaves no cycle behind. Costs some MB at most.
"""

SWITCH_S = 0.0005
"""
How long a thread that has the interpreter may keep it while another wants it; Python's default is ten times that. A
busy event loop would hold up the thread that writes as long for each of its statements, and all who wait for it.
Beside a flood of conflicts the p50 of another project's writes was 7.4 ms and is 3.1; the CPU for a write is the same.
"""


@dataclass(frozen=True)
class Listener:
    """
    Addresses on which one part of the service answers.

    Attributes:
        name: As logs and metrics have it.
        addresses: Each ``host:port``, without TLS.
        tls_addresses: Each ``host:port``, with TLS.
        tls: Makes the context of *tls_addresses* from the files as they are now, at the start and at a reload.
        app: Which of the built parts answers.
        limits: Of all its connections together, with TLS and without.
        is_proxy: Whether the limit of one address does not hold for it.
        drains: Whether it is drained at the end. Otherwise it answers until all that are drained have ended.
    """

    name: str
    addresses: tuple[str, ...]
    app: Callable[[Parts], Handler]
    limits: HttpLimits
    tls_addresses: tuple[str, ...] = ()
    tls: Callable[[], ssl.SSLContext] | None = None
    is_proxy: Callable[[str], bool] = lambda _: False
    drains: bool = True


def listeners_of(settings: Settings) -> tuple[Listener, ...]:
    """All listeners that the service has, in the order in which they are opened."""
    api = settings.instance_api
    return (
        Listener(
            name="instances",
            addresses=api.listen,
            tls_addresses=api.listen_tls,
            tls=partial(server_tls, api),
            app=lambda parts: parts.instances.respond,
            limits=http_limits(settings),
            is_proxy=TrustedProxies(settings.identity.trusted_proxies).__contains__,
        ),
        Listener(
            name="operators",
            addresses=settings.operator_api.listen,
            app=lambda parts: parts.operators.respond,
            limits=OPERATORS,
            drains=False,
        ),
    )


@dataclass(frozen=True)
class OpenListener:
    """A listener with its sockets; several processes may accept from the same."""

    listener: Listener
    sockets: tuple[socket.socket, ...]
    tls_sockets: tuple[socket.socket, ...]

    @classmethod
    def open(cls, listener: Listener) -> OpenListener:
        """
        Listen on all its addresses.

        Raises:
            CannotListen: one of them is not to be had.
        """
        assert listener.tls or not listener.tls_addresses
        return cls(
            listener,
            tuple(_listen(address, listener.name) for address in listener.addresses),
            tuple(_listen(address, f"{listener.name}, TLS") for address in listener.tls_addresses),
        )

    def close(self) -> None:
        """Let go of the sockets; other processes may still have them."""
        for opened in (*self.sockets, *self.tls_sockets):
            opened.close()


def _listen(address: str, whom: str) -> socket.socket:
    host, port = parse_address(address, option="listen")
    try:
        listener = listen(host, port)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {address}: {error.strerror or error}; is another service there, the address not this "
            "machine's, or this user not allowed a port below 1024?"
        ) from error
    LOG.info("Listening for %s on %s port %d", whom, host, listener.getsockname()[1])
    return listener


class Service:
    """
    The service on its listeners, in one process.

    Args:
        settings: As checked by `settings.load`.
        listeners: Those of `listeners_of`, opened. Closed when it ends.
        reload_logging: Called at `reload`; oslo.log's own settings can change while it runs.
        observer: Is told when it is ready, reloads, stops, and that it lives.
        store_ready: Whether the store was prepared; else that is tried until it succeeds, while everything that does
            not need it is answered.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[OpenListener],
        reload_logging: Callable[[], object],
        observer: notify.Observer | None = None,
        *,
        store_ready: bool = True,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._observer: notify.Observer = observer or notify.Notifier()
        self._store_ready = store_ready
        self._reload_logging = reload_logging
        self._inventory: Inventory | None = None
        self._tls = {opened.listener.name: _tls_of(opened) for opened in listeners}
        self._servers: list[tuple[OpenListener, HttpServer]] = []
        self._reload_due = False
        self._reloading: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()

    async def run(self) -> None:
        """
        Answer until `stop`; then drain, and let what was begun finish.

        Raises:
            SettingsInvalid: what keeps the service from starting.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            stack.callback(asyncio.ensure_future(self._observer.keep_alive()).cancel)
            stack.callback(repeats.flush_all, at_end=True)
            stack.callback(asyncio.ensure_future(_flush_log()).cancel)
            parts = await build(settings, stack, store_ready=self._store_ready)
            if not self._store_ready:
                trying = opening.open_when_there(parts.store, lambda: prepare_store(settings))
                stack.callback(asyncio.ensure_future(trying).cancel)
            self._inventory = parts.inventory

            # The operators' server is closed last, so its listener is the first to be served.
            for opened in reversed(self._listeners):
                await self._serve(opened, parts, stack)
            stack.callback(self._stop_reloading)

            # What is there now stays. The collector need not look through it again and again, which holds up whoever
            # asks at that moment; with a large inventory for tens of milliseconds.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTOR)
            sys.setswitchinterval(SWITCH_S)
            metrics.forget_gauges()
            metrics.BUILD_INFO.labels(__version__, platform.python_version(), migrate.newest()).set(1)
            LOG.info("peerdata %s is ready; identity: %s", __version__, settings.identity_mode)
            self._observer.ready()
            await self._stop.wait()
            self._observer.stopping()
            await self._end(parts)
        LOG.info("Stopped")

    async def _serve(self, opened: OpenListener, parts: Parts, stack: AsyncExitStack) -> None:
        """Accept on all sockets of one listener, by one server."""
        listener = opened.listener
        server = HttpServer(
            listener.app(parts),
            limits=listener.limits,
            refuse=parts.instances.refuse,
            whom=listener.name,
            is_proxy=listener.is_proxy,
        )
        stack.push_async_callback(server.close, grace_s=0)
        for plain in opened.sockets:
            await server.accept(plain)
        for encrypted in opened.tls_sockets:
            await server.accept(encrypted, tls=self._tls[listener.name])
        self._servers.append((opened, server))

    async def _end(self, parts: Parts) -> None:
        """
        Leave so that nobody loses a request: first balancers, then kept connections, then the listeners.

        All of it ends with `stop_now`.
        """
        drain_s = self._settings.instance_api.drain
        grace_s = self._settings.nova.pass_through_timeout
        parts.health.stopping = True
        parts.waiting.close()
        draining = [server for opened, server in self._servers if opened.listener.drains]
        for server in draining:
            server.say_last()
        if drain_s and not self._stop_now.is_set():
            LOG.info("Stopping: health checks fail now, connections are still accepted for %g s", drain_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self._stop_now.wait()
        LOG.info("Stopping: nobody else is accepted; requests under way have %g s to finish", grace_s)
        closing = asyncio.gather(*(server.close(grace_s=grace_s) for server in draining))
        hurried = asyncio.ensure_future(self._stop_now.wait())
        await asyncio.wait((closing, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not closing.done():
            LOG.info("Stopping at once")
            await asyncio.gather(*(server.close(grace_s=0) for server in draining))
        await closing

    def stop(self) -> None:
        """End `run`, in good order; called again, at once. To be called in its event loop, as are the next two."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    def stop_now(self) -> None:
        """End `run` without waiting for anybody; what was already written to the store stays."""
        self._stop_now.set()
        self._stop.set()

    def reload(self) -> None:
        """Begin to read again what can be without a restart. What is wrong is logged, and the old stays in force."""
        if self._stop.is_set():
            return
        self._reload_due = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.ensure_future(self._reload_while_due())

    def _stop_reloading(self) -> None:
        if self._reloading:
            self._reloading.cancel()

    async def _reload_while_due(self) -> None:
        self._observer.reloading()
        while self._reload_due:
            self._reload_due = False
            for part in (self._reload_settings, self._reload_inventory, self._reload_tls):
                try:
                    await part()
                except (Exception, SystemExit) as error:  # oslo.config hands a wrong word on to argparse, which exits
                    what = error.message if isinstance(error, PeerdataError) else error
                    LOG.error("Not reloaded, the old stays in force: %s", what)
        if not self._stop.is_set():
            self._observer.ready()

    async def _reload_settings(self) -> None:
        self._reload_logging()

    async def _reload_inventory(self) -> None:
        if not self._inventory:
            return
        # The collector would look through the half-read file again and again, and hold everybody up for a second.
        gc.disable()
        try:
            LOG.info("The inventory was read again: %d instances", await self._inventory.reload())
        finally:
            gc.enable()

    async def _reload_tls(self) -> None:
        """
        Let new connections have certificate, key and authorities as the files have them now; open ones stay.

        A context cannot forget an authority, nor the sessions that one vouched for, so it is made anew.
        """
        for opened, server in self._servers:
            if context := _tls_of(opened):
                await server.change_tls(context)
                LOG.info("The certificate was read again, and the authorities of clients")


def _tls_of(opened: OpenListener) -> ssl.SSLContext | None:
    make = opened.listener.tls
    return make() if make and opened.tls_sockets else None


async def _flush_log() -> None:
    """Once a second let the log have what was held back: a flood may end with some that nobody has counted."""
    while True:
        await asyncio.sleep(1)
        repeats.flush_all()


async def serve(service: Service) -> None:
    """
    Run *service* until SIGTERM, the second of which is not waited with, or SIGINT; SIGHUP reloads it.

    Raises as `Service.run`.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, service.stop)
    loop.add_signal_handler(signal.SIGINT, service.stop_now)  # a terminal's Ctrl-C
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    await service.run()
