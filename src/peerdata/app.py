# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Composition: settings → store → services → identity → APIs. What serves them is `serving`.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from peerdata.api.health import Health
from peerdata.api.instance import Behind, InstanceApi
from peerdata.api.operator import OperatorApi
from peerdata.api.passthrough import BehindNova
from peerdata.api.standalone import Standalone
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
from peerdata.settings import LimitsSettings, Settings
from peerdata.store.clusters import Room
from peerdata.store.engine import Engine
from peerdata.upstream.inventory import Inventory
from peerdata.upstream.nova import Nova

# Nova caches which instance has an address for 15 s ([api] metadata_cache_expiration); an address may be given to
# another instance, so what follows from one is not believed for longer.
ADDRESS_PROOF_S = 15.0


@dataclass(frozen=True)
class Parts:
    """The built service, without its listeners; tests hand requests to `instances` directly."""

    instances: InstanceApi
    operators: OperatorApi
    health: Health
    waiting: Waiting
    inventory: Inventory | None
    store: Engine


async def build(settings: Settings, stack: AsyncExitStack, *, store_ready: bool = True) -> Parts:
    """
    Build all parts; *stack* closes them. Without *store_ready* the store refuses all work until it is opened.

    Raises:
        SettingsInvalid: what keeps the service from starting.
    """
    limits, database = settings.limits, settings.database
    store = Engine(
        database.connection,
        busy_timeout_s=database.busy_timeout,
        max_waiting_writes=database.max_waiting_writes,
        opened=store_ready,
    )
    stack.callback(store.close)

    publisher = Publisher(store, _quota(limits), max_value_chars=limits.max_value_chars)
    memory = Memory(settings.cache.max_bytes)
    discovery = Discovery(store, time.monotonic, memory)
    waiting = Waiting(
        discovery, most_s=limits.max_wait, most=limits.max_waiting, most_of_project=limits.max_waiting_per_project
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


def _quota(limits: LimitsSettings) -> Quota:
    return Quota(
        keys_per_instance=limits.max_keys_per_instance,
        keys_per_project=limits.max_keys_per_project,
        bytes_per_instance=limits.max_bytes_per_instance,
        bytes_per_project=limits.max_bytes_per_project,
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
