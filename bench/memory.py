# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Memory: what one worker holds while projects are active, with a million instances stored; and what a key takes on disk.
"""

from __future__ import annotations

import hmac
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.bed import SECRET
from bench.crowd import PEER_DATA, SHARED
from bench.exchange import holds, request
from bench.goals import Verdict, at_most
from bench.load.guests import send
from bench.markdown import table, whole
from bench.part import Part, Setting
from bench.peers.anybody import Anybody
from bench.service import Service
from bench.stage import Stage
from bench.stored import Others, bytes_a_key, fill

STORED = Others(projects=10_000, instances=100)
"""A million instances."""

FEW, MANY = 100, 1_000
"""Active projects."""

CALLERS_OF_MANY = 2
"""Instances that ask, of each project that is not one of the few, all of whose instances ask."""

IDLE_MIB, FEW_MIB, MANY_MIB = 80, 120, 200
"""What each may hold at most."""

KEY_BYTES = 400
"""What a stored key may take at most."""


@dataclass(frozen=True)
class Memory:
    """In bytes."""

    idle: int
    few: int
    many: int
    key: dict[int, float]
    """Of the file, for one stored key, by the number of keys of each instance."""


def measured(setting: Setting) -> Part:
    """Everything of this module."""
    memory = _weigh(setting.stage)
    return Part("Memory", _text(memory), _verdicts(memory))


def _weigh(stage: Stage) -> Memory:
    """Let one worker be idle, then have few active projects, then many."""
    print("memory: a million instances stored", file=sys.stderr, flush=True)
    nova = Anybody(stage)
    nova.start()
    service = Service.before_nova(stage, nova.url, SECRET, name="peerdata-million")
    fill(service.store, others=STORED)
    two = service.store.stat().st_size / (STORED.projects * STORED.instances * STORED.keys)
    one = bytes_a_key(stage.directory, Others(projects=1_000, instances=100, keys=1))
    service.start()
    idle = stage.resident_bytes(service.name)
    _ask(service, range(FEW), STORED.instances)
    few = stage.resident_bytes(service.name)
    _ask(service, range(FEW, MANY), CALLERS_OF_MANY)
    _ask(service, range(MANY), 1)  # once more, in turn: all of them are active at this moment
    many = stage.resident_bytes(service.name)
    stage.stop(service.name)
    return Memory(idle, few, many, {1: one, 2: two})


def _ask(service: Service, projects: Iterable[int], callers: int) -> None:
    """The first *callers* of each read everything and then poll, one of each project after the other."""
    members = [(STORED.name(number), STORED.uuids(number)[:callers]) for number in projects]
    for place in range(callers):
        for target, part in ((SHARED, b'"from_server_etcd_addr"'), (f"{PEER_DATA}?since={STORED.instances}", b"[]")):
            asked = [request("GET", target, _signed(name, uuids[place])) for name, uuids in members]
            send(service.port, asked, holds(part))


def _signed(project: str, uuid: str) -> Sequence[tuple[str, str]]:
    signature = hmac.digest(SECRET.encode(), uuid.encode(), "sha256").hex()
    return [("X-Instance-ID", uuid), ("X-Tenant-ID", project), ("X-Instance-ID-Signature", signature)]


def _verdicts(memory: Memory) -> list[Verdict]:
    """On each bound."""
    return [
        at_most("memory, a worker idle", IDLE_MIB, memory.idle / 2**20, " MiB"),
        at_most(f"memory, {FEW} active projects of {STORED.instances}", FEW_MIB, memory.few / 2**20, " MiB"),
        at_most(f"memory, {whole(MANY)} active projects, a million stored", MANY_MIB, memory.many / 2**20, " MiB"),
        *(
            at_most(f"SQLite, a stored key, {keys} for each instance", KEY_BYTES, found, " bytes")
            for keys, found in memory.key.items()
        ),
    ]


def _text(memory: Memory) -> str:
    """The part of the page."""
    lines = (
        ("idle, just started", f"{memory.idle / 2**20:.0f}"),
        (f"{FEW} projects of {STORED.instances} active: all their instances ask", f"{memory.few / 2**20:.0f}"),
        (
            f"{whole(MANY)} projects active: of the others {CALLERS_OF_MANY} instances ask each",
            f"{memory.many / 2**20:.0f}",
        ),
    )
    return (
        "Resident, one worker behind neutron and in front of a stand-in for nova that knows everybody, "
        f"with {whole(STORED.projects)} projects of {STORED.instances} instances with two keys stored throughout. A "
        "project is active when its instances prove who they are, read `shared.json` and poll "
        "`peer_data.json?since=`; all active projects are asked in turn, and nothing of them has expired.\n\n"
        + table(("when", "MiB"), lines, "lr")
        + f"\nThe SQLite file, checkpointed, takes {memory.key[1]:.0f} bytes a key where each instance has one, and "
        f"{memory.key[2]:.0f} where each has two.\n"
    )
