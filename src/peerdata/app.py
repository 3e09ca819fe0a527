# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Where all parts meet: settings → store → service → identity → API → listeners, and their end in the opposite order.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from peerdata import __version__
from peerdata.api.exchange import HttpLimits
from peerdata.api.http import HttpServer
from peerdata.api.instance import Behind, InstanceApi
from peerdata.api.operator import OperatorApi
from peerdata.api.passthrough import BehindNova
from peerdata.api.standalone import Standalone
from peerdata.errors import CannotListen, SettingsInvalid
from peerdata.identity.instance import (
    Identity,
    InventoryIdentity,
    NeutronIdentity,
    Proofs,
    TrustedProxies,
    UpstreamIdentity,
)
from peerdata.model import Quota
from peerdata.service.discover import Discovery
from peerdata.service.publish import Publisher
from peerdata.service.refusals import Refusals
from peerdata.settings import InstanceApiSettings, Settings, no_password, parse_address
from peerdata.store import migrate
from peerdata.store.engine import Engine
from peerdata.upstream.inventory import Inventory
from peerdata.upstream.nova import Nova

LOG = logging.getLogger(__name__)

# Nova caches which instance has an address for 15 s ([api] metadata_cache_expiration); an address may be given to
# another instance, so what follows from one is not believed for longer.
ADDRESS_PROOF_S = 15.0


@dataclass(frozen=True)
class Parts:
    """The built service, without its listeners; tests hand requests to `instances` directly."""

    instances: InstanceApi
    operators: OperatorApi
    inventory: Inventory | None


async def build(settings: Settings, stack: AsyncExitStack) -> Parts:
    """
    Build all parts; *stack* closes them.

    Raises:
        SettingsInvalid, StoreUnavailable: what keeps the service from starting.
    """
    database = settings.database
    migrate.prepare(database.connection, busy_timeout_s=database.busy_timeout)
    store = Engine(
        database.connection, busy_timeout_s=database.busy_timeout, max_waiting_writes=database.max_waiting_writes
    )
    stack.callback(store.close)

    limits = settings.limits
    quota = Quota(limits.max_keys_per_instance, limits.max_keys_per_project)
    publisher = Publisher(store, quota, max_value_chars=limits.max_value_chars)
    discovery = Discovery(store, time.monotonic, max_bytes=settings.cache.max_bytes)

    nova = None
    if settings.nova.metadata_url:
        nova = Nova(settings.nova)
        stack.push_async_callback(nova.close)
    inventory = Inventory(settings.identity.inventory_file) if settings.identity_mode == "inventory" else None
    identity, behind = _build_identity(settings, nova, inventory)

    return Parts(
        InstanceApi(identity, behind, publisher, discovery, Refusals(store)),
        OperatorApi(discovery, nova),
        inventory,
    )


def _build_identity(settings: Settings, nova: Nova | None, inventory: Inventory | None) -> tuple[Identity, Behind]:
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


async def serve(settings: Settings, reload_logging: Callable[[], object]) -> None:
    """
    Run until SIGTERM or SIGINT; then let running requests finish. SIGHUP reads inventory and certificate again.

    Args:
        settings: As checked by `settings.load`.
        reload_logging: Called at SIGHUP; oslo.log's own settings can change while it runs.

    Raises:
        SettingsInvalid, StoreUnavailable, CannotListen: what keeps the service from starting.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        parts = await build(settings, stack)
        api = settings.instance_api
        limits = HttpLimits(
            body_bytes=settings.limits.max_body_bytes,
            head_timeout_s=api.head_timeout,
            body_timeout_s=api.body_timeout,
            idle_timeout_s=api.idle_timeout,
            connections=api.max_connections,
        )
        tls = server_tls(api) if api.listen_tls else None
        loop.add_signal_handler(signal.SIGHUP, _reload, settings, parts.inventory, tls, reload_logging)

        operators = HttpServer(parts.operators.respond, limits=HttpLimits(), refuse=parts.instances.refuse)
        stack.push_async_callback(operators.close, grace_s=0)
        for address in settings.operator_api.listen:
            await _listen(operators, address, "operators", None)
        instances = HttpServer(parts.instances.respond, limits=limits, refuse=parts.instances.refuse)
        stack.push_async_callback(instances.close, grace_s=api.graceful_shutdown_timeout)
        for address in api.listen:
            await _listen(instances, address, "instances", None)
        for address in api.listen_tls:
            await _listen(instances, address, "instances, TLS", tls)

        LOG.info("peerdata %s is ready; identity: %s", __version__, settings.identity_mode)
        await stop.wait()
        LOG.info("Stopping: running requests have %s s to finish", api.graceful_shutdown_timeout)
    LOG.info("Stopped")


async def _listen(server: HttpServer, address: str, whom: str, tls: ssl.SSLContext | None) -> None:
    host, port = parse_address(address, option="listen")
    try:
        port = await server.listen(host, port, tls=tls)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {address}: {error.strerror or error}; is another service there, the address not this "
            "machine's, or this user not allowed a port below 1024?"
        ) from error
    LOG.info("Listening for %s on %s port %d", whom, host, port)


def _reload(
    settings: Settings,
    inventory: Inventory | None,
    tls: ssl.SSLContext | None,
    reload_logging: Callable[[], object],
) -> None:
    """SIGHUP: what can be read again without a restart. What is wrong is logged, and the old stays in force."""
    try:
        reload_logging()
        if inventory:
            LOG.info("The inventory was read again: %d instances", inventory.reload())
        if tls:
            server_tls(settings.instance_api)  # only if all of it is good does the running one change
            tls.load_cert_chain(settings.instance_api.ssl_cert_file, settings.instance_api.ssl_key_file)
            LOG.info("The certificate was read again")
    except (Exception, SystemExit) as error:  # oslo.config hands a wrong word on to argparse, which exits
        LOG.error("Not reloaded, the old stays in force: %s", error)
