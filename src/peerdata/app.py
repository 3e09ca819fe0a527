# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Where all parts meet: settings → store → service → identity → API → listeners, and their end in the opposite order.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import platform
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from peerdata import __version__, metrics, notify, repeats
from peerdata.api.health import Health
from peerdata.api.instance import Behind, InstanceApi
from peerdata.api.operator import OperatorApi
from peerdata.api.passthrough import BehindNova
from peerdata.api.standalone import Standalone
from peerdata.errors import CannotListen, SettingsInvalid, StoreUnavailable
from peerdata.httpd.admission import TOLD
from peerdata.httpd.messages import HttpLimits
from peerdata.httpd.server import HttpServer, listen
from peerdata.identity.interface import Identity
from peerdata.identity.inventory import InventoryIdentity
from peerdata.identity.kept import KeptProofs
from peerdata.identity.neutron import NeutronIdentity
from peerdata.identity.proofs import Proofs
from peerdata.identity.proxies import TrustedProxies
from peerdata.identity.upstream import UpstreamIdentity
from peerdata.model import Quota
from peerdata.service.clusters import Clusters
from peerdata.service.discover import Discovery
from peerdata.service.memory import Memory
from peerdata.service.own import OwnEntries
from peerdata.service.publish import Publisher
from peerdata.service.refusals import Refusals
from peerdata.service.rolls import Rolls
from peerdata.service.waiting import Waiting
from peerdata.settings import InstanceApiSettings, Settings, no_password, parse_address
from peerdata.store import migrate, opening
from peerdata.store.clusters import Room
from peerdata.store.engine import READERS, WRITERS, Engine
from peerdata.upstream.connections import MAX_LINGERING
from peerdata.upstream.inventory import Inventory
from peerdata.upstream.nova import Nova

LOG = logging.getLogger(__name__)

# Nova caches which instance has an address for 15 s ([api] metadata_cache_expiration); an address may be given to
# another instance, so what follows from one is not believed for longer.
ADDRESS_PROOF_S = 15.0

COLLECTOR = (20_000, 20, 20)
"""
When the collector looks for cycles. By its default, at 700 objects, it takes an eighth of the CPU of what is passed on
with 64 under way, and finds nothing: that leaves no cycle behind. Costs some MB at most.
"""

SPARE_FILES = 64
"""Descriptors besides those that settings bound: log, event loop, listeners, the operators' own calls."""


OPERATORS = HttpLimits(connections=SPARE_FILES)
"""Limits of the operators' listeners."""


@dataclass(frozen=True)
class Parts:
    """The built service, without its listeners; tests hand requests to `instances` directly."""

    instances: InstanceApi
    operators: OperatorApi
    health: Health
    waiting: Waiting
    inventory: Inventory | None
    store: Engine


def prepare(settings: Settings) -> bool:
    """
    See that the store can be used, and that the TLS listeners could be, before anything is started.

    Returns:
        Whether the store is there. Where it is not, the service starts without it: see `Service`.

    Raises:
        SettingsInvalid: it cannot be used, now or later.
    """
    if settings.instance_api.listen_tls:
        server_tls(settings.instance_api)
    try:
        opening.try_once(lambda: prepare_store(settings))
    except StoreUnavailable as error:
        LOG.warning(
            "The store cannot be used yet: %s. The service starts without it: what is nova's is passed on, all else is "
            "answered 503 until it is there",
            error.message,
        )
        return False
    return True


def prepare_store(settings: Settings) -> None:
    """Make the store ready, as `migrate.prepare` does, and raises."""
    migrate.prepare(settings.database.connection, busy_timeout_s=settings.database.busy_timeout)


def files_needed(settings: Settings) -> int:
    """How many descriptors one process may come to need."""
    nova = settings.nova.max_connections + MAX_LINGERING if settings.nova.metadata_url else 0
    # SQLite has three connections, each with three files.
    return settings.instance_api.max_connections + TOLD + nova + WRITERS + READERS + SPARE_FILES


def connections_within(settings: Settings, most: int) -> int:
    """How many connections of instances there may be where a process may have *most* descriptors; at least one."""
    reserve = files_needed(settings) - settings.instance_api.max_connections
    return max(1, min(settings.instance_api.max_connections, most - reserve))


def warn_of_few_files(settings: Settings, most: int) -> None:
    """Say so where a process may have *most* descriptors and that is less than it may need."""
    needed = files_needed(settings)
    if most < needed:
        LOG.warning(
            "This process may open %d files (RLIMIT_NOFILE), and needs %d for [instance_api] max_connections = %d, "
            "nova and the store: it serves %d connections at once. Set LimitNOFILE=%d or more in its systemd unit "
            "(elsewhere: ulimit -Hn), or lower max_connections",
            most,
            needed,
            settings.instance_api.max_connections,
            connections_within(settings, most),
            needed,
        )


def warn_of_old_settings(settings: Settings) -> None:
    """Say which settings have no effect any more."""
    if settings.instance_api.graceful_shutdown_timeout is not None:
        LOG.warning(
            "[instance_api] graceful_shutdown_timeout has no effect any more: requests that were begun before SIGTERM "
            "have [nova] pass_through_timeout to finish. Take it out of the settings"
        )


def http_limits(settings: Settings) -> HttpLimits:
    """
    How much instances may take of this process.

    What its descriptors do not suffice for is taken off their connections, so that operators, the store and nova have
    theirs at any time; and should any of these take more than was reckoned with, the last are still no instance's.
    """
    api = settings.instance_api
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most if most != resource.RLIM_INFINITY else 1 << 30
    return HttpLimits(
        body_bytes=settings.limits.max_body_bytes,
        head_timeout_s=api.head_timeout,
        body_timeout_s=api.body_timeout,
        idle_timeout_s=api.idle_timeout,
        connections=connections_within(settings, most),
        connections_of_address=api.max_connections_per_address if settings.identity_mode == "inventory" else 0,
        descriptors=max(TOLD, most - SPARE_FILES // 2),
        incoming_bytes=api.max_incoming_bytes,
        unwritten_bytes=api.max_unwritten_bytes,
        unwritten_bytes_of_account=api.max_unwritten_bytes_per_project,
    )


def rehearse(settings: Settings) -> None:
    """
    Build all parts and let go of them, so that what keeps the service from starting is known before its workers are.

    Raises:
        SettingsInvalid: what it is.
    """

    async def build_and_close() -> None:
        async with AsyncExitStack() as stack:
            await build(settings, stack, store_ready=False)

    asyncio.run(build_and_close())


async def build(settings: Settings, stack: AsyncExitStack, *, store_ready: bool = True) -> Parts:
    """
    Build all parts; *stack* closes them. Without *store_ready* the store refuses all work until it is opened.

    Raises:
        SettingsInvalid: what keeps the service from starting.
    """
    database = settings.database
    store = Engine(
        database.connection,
        busy_timeout_s=database.busy_timeout,
        max_waiting_writes=database.max_waiting_writes,
        opened=store_ready,
    )
    stack.callback(store.close)

    limits = settings.limits
    quota = Quota(
        keys_per_instance=limits.max_keys_per_instance,
        keys_per_project=limits.max_keys_per_project,
        bytes_per_instance=limits.max_bytes_per_instance,
        bytes_per_project=limits.max_bytes_per_project,
    )
    publisher = Publisher(store, quota, max_value_chars=limits.max_value_chars)
    memory = Memory(settings.cache.max_bytes)
    discovery = Discovery(store, time.monotonic, memory)
    waiting = Waiting(
        discovery,
        most_s=limits.max_wait,
        most=limits.max_waiting,
        most_of_project=limits.max_waiting_per_project,
    )

    nova = None
    if settings.nova.metadata_url:
        nova = Nova(settings.nova)
        stack.push_async_callback(nova.close)
    inventory = Inventory(settings.identity.inventory_file) if settings.identity_mode == "inventory" else None
    kept = _keep_proofs(settings, store)
    if kept:
        stack.push_async_callback(kept.close)
    identity, behind = _build_identity(settings, nova, inventory, kept)
    own = OwnEntries(store, memory)
    rolls = Rolls(store, discovery, memory)
    stack.push_async_callback(rolls.close)
    room = Room(limits.max_clusters_per_project, limits.max_clusters_per_instance)
    clusters = Clusters(store, rolls, publisher, identity.is_gone, time.monotonic, room=room, name_of=identity.name_of)
    stack.push_async_callback(clusters.close)
    refusals = Refusals(store)
    stack.push_async_callback(refusals.close)

    health = Health(settings.instance_api.healthcheck_path)
    return Parts(
        InstanceApi(identity, behind, publisher, discovery, own, waiting, clusters, refusals, health=health),
        OperatorApi(discovery, nova, health, clusters),
        health,
        waiting,
        inventory,
        store,
    )


def _keep_proofs(settings: Settings, store: Engine) -> KeptProofs | None:
    """Where an address is the identity, no old proof is ever of use."""
    chosen = settings.identity
    if settings.identity_mode != "neutron" or chosen.stale_proof_lifetime <= chosen.proof_lifetime:
        return None
    return KeptProofs(store, time.time, lifetime_s=chosen.stale_proof_lifetime)


def _build_identity(
    settings: Settings, nova: Nova | None, inventory: Inventory | None, kept: KeptProofs | None
) -> tuple[Identity, Behind]:
    chosen = settings.identity
    proxies = TrustedProxies(chosen.trusted_proxies)
    identity: Identity
    if inventory:
        identity = InventoryIdentity(proxies, inventory)
        return identity, Standalone(identity, inventory)
    assert nova is not None  # settings are checked: every other mode has one
    if settings.identity_mode == "neutron":
        proofs = Proofs(
            nova,
            time.monotonic,
            lifetime_s=chosen.proof_lifetime,
            stale_lifetime_s=chosen.stale_proof_lifetime,
            most=chosen.max_proofs,
            kept=kept,
        )
        identity = NeutronIdentity(settings.neutron.metadata_proxy_shared_secret, proofs)
    else:
        lifetime_s = min(chosen.proof_lifetime, ADDRESS_PROOF_S)
        proofs = Proofs(
            nova, time.monotonic, lifetime_s=lifetime_s, stale_lifetime_s=lifetime_s, most=chosen.max_proofs
        )
        identity = UpstreamIdentity(proxies, proofs)
    return identity, BehindNova(nova, identity, time.monotonic)


def server_tls(settings: InstanceApiSettings) -> ssl.SSLContext:
    """
    The context of the TLS listeners; with ``ssl_ca_file`` a client must show a certificate.

    Raises:
        SettingsInvalid: certificate or key cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file, password=no_password)
        if settings.ssl_ca_file:
            context.load_verify_locations(settings.ssl_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError, ValueError) as error:
        raise SettingsInvalid(
            f"[instance_api] ssl_cert_file, ssl_key_file or ssl_ca_file cannot be used: {error}"
        ) from error
    return context


@dataclass(frozen=True)
class Listeners:
    """The sockets that connections come in by; several processes may accept from the same."""

    instances: tuple[socket.socket, ...]
    instances_tls: tuple[socket.socket, ...]
    operators: tuple[socket.socket, ...]

    @classmethod
    def open(cls, settings: Settings) -> Listeners:
        """
        All that the settings name.

        Raises:
            CannotListen: one of them is not to be had.
        """
        api = settings.instance_api
        return cls(
            instances=tuple(_listen(address, "instances") for address in api.listen),
            instances_tls=tuple(_listen(address, "instances, TLS") for address in api.listen_tls),
            operators=tuple(_listen(address, "operators") for address in settings.operator_api.listen),
        )

    def close(self) -> None:
        """Let go of them; other processes may still have them."""
        for listener in (*self.instances, *self.instances_tls, *self.operators):
            listener.close()


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
        listeners: Closed when it ends.
        reload_logging: Called at `reload`; oslo.log's own settings can change while it runs.
        observer: Is told when it is ready, reloads, stops, and that it lives.
        store_ready: Whether the store was prepared; else that is tried until it succeeds, while everything that does
            not need it is answered.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Listeners,
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
        self._tls = server_tls(settings.instance_api) if listeners.instances_tls else None
        self._instances: HttpServer | None = None
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
        settings, listeners = self._settings, self._listeners
        async with AsyncExitStack() as stack:
            stack.callback(asyncio.ensure_future(self._observer.keep_alive()).cancel)
            stack.callback(repeats.flush_all, at_end=True)
            stack.callback(asyncio.ensure_future(_flush_log()).cancel)
            parts = await build(settings, stack, store_ready=self._store_ready)
            if not self._store_ready:
                opened = opening.open_when_there(parts.store, lambda: prepare_store(settings))
                stack.callback(asyncio.ensure_future(opened).cancel)
            self._inventory = parts.inventory

            operators = HttpServer(
                parts.operators.respond, limits=OPERATORS, refuse=parts.instances.refuse, whom="operators"
            )
            stack.push_async_callback(operators.close, grace_s=0)
            for listener in listeners.operators:
                await operators.accept(listener)
            instances = HttpServer(
                parts.instances.respond,
                limits=http_limits(settings),
                refuse=parts.instances.refuse,
                is_proxy=TrustedProxies(settings.identity.trusted_proxies).__contains__,
            )
            stack.push_async_callback(instances.close, grace_s=0)
            for listener in listeners.instances:
                await instances.accept(listener)
            for listener in listeners.instances_tls:
                await instances.accept(listener, tls=self._tls)
            self._instances = instances
            stack.callback(self._stop_reloading)

            # What is there now stays. The collector need not look through it again and again, which holds up whoever
            # asks at that moment; with a large inventory for tens of milliseconds.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTOR)
            metrics.BUILD_INFO.labels(__version__, platform.python_version(), migrate.newest()).set(1)
            LOG.info("peerdata %s is ready; identity: %s", __version__, settings.identity_mode)
            self._observer.ready()
            await self._stop.wait()
            self._observer.stopping()
            await self._end(parts, instances)
        LOG.info("Stopped")

    async def _end(self, parts: Parts, instances: HttpServer) -> None:
        """
        Leave so that nobody loses a request: first balancers, then kept connections, then the listeners.

        All of it ends with `stop_now`.
        """
        drain_s = self._settings.instance_api.drain
        grace_s = self._settings.nova.pass_through_timeout
        parts.health.stopping = True
        parts.waiting.close()
        instances.say_last()
        if drain_s and not self._stop_now.is_set():
            LOG.info("Stopping: health checks fail now, connections are still accepted for %g s", drain_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self._stop_now.wait()
        LOG.info("Stopping: nobody else is accepted; requests under way have %g s to finish", grace_s)
        closing = asyncio.ensure_future(instances.close(grace_s=grace_s))
        hurried = asyncio.ensure_future(self._stop_now.wait())
        await asyncio.wait((closing, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not closing.done():
            LOG.info("Stopping at once")
            await instances.close(grace_s=0)
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
                    LOG.error("Not reloaded, the old stays in force: %s", error)
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
        if self._tls and self._instances:
            self._tls = server_tls(self._settings.instance_api)
            await self._instances.change_tls(self._tls)
            LOG.info("The certificate was read again, and the authorities of clients")


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
