# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The bed: nginx, Redis, etcd, nova and two peerdata on the stage, one stand-alone and one before nova, and a crowd that
published.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tests.chain.run import until

from bench.crowd import SHARED, Crowd, Instance, Project, instances_of
from bench.exchange import ask, holds, refused, request
from bench.load.guests import send
from bench.peers.etcd import Etcd
from bench.peers.nginx import Nginx
from bench.peers.nova import Nova
from bench.peers.redis import Redis
from bench.service import Service
from bench.stage import Stage
from bench.tools import Tools

SECRET = "the secret of the benchmark"

SIZES = (10, 100, 1_000)
"""Peers of a project."""

CALLERS = 10
"""Instances of a project that ask in turn, in front of nova."""

BOOT = 2_000
"""Instances, in projects of 100, that publish for the first time in one round."""

STORM = 1_000
"""Instances of the project that starts all at once."""

KNOWN = 192
"""Instances that publish in front of nova. Making one costs nova 50 ms."""


@dataclass
class Bed:
    """All that runs, and who asks."""

    stage: Stage
    tools: Tools
    nginx: Nginx
    redis: Redis
    etcd: Etcd
    standalone: Service
    sized: dict[int, Project]
    """Projects by their number of peers, all of whom have published."""
    booting: list[list[Instance]]
    """For each round, instances that have not published yet; stand-alone."""
    storm: Project
    """Has not published yet; stand-alone."""
    known: list[Instance]
    """Instances of nova that have not published, but have asked."""
    silent: list[Instance]
    """Instances of nova that publish nothing."""
    nova: Nova
    """Runs only where it was asked for."""
    service: Service
    """Likewise, in front of nova; began with what `standalone` had stored when all of `sized` had published."""


def callers(project: Project) -> tuple[Instance, ...]:
    """Those of a project whom nova knows."""
    return project.instances[:CALLERS]


@contextmanager
def made(stage: Stage, tools: Tools, *, rounds: int, before_nova: bool) -> Iterator[Bed]:
    """
    Start everything, and let the crowd publish.

    Args:
        rounds: Of each row.
        before_nova: Start nova, which takes its time to make instances, and the service in front of it.
    """
    crowd = Crowd()
    sized = {size: crowd.add(f"peers-{size}", size=size)[0] for size in SIZES}
    boot = [crowd.add(f"boot-{number}", size=100, projects=BOOT // 100) for number in range(rounds)]
    storm = crowd.add("storm", size=STORM)[0]
    known = instances_of(crowd.add("known", size=KNOWN // 2, projects=2))
    silent = instances_of(crowd.add("silent", size=CALLERS))
    inventory = stage.directory / "inventory.yaml"
    crowd.write_inventory(inventory)

    nginx, redis, etcd = Nginx(stage, tools), Redis(stage, tools), Etcd(stage, tools)
    for peer in (nginx, redis, etcd):
        peer.start()
    _say("nova, etcd and the others")
    nova = Nova(stage, SECRET)
    try:
        if before_nova:
            nova.start()
        _say("instances, and what they publish")
        asking = [one for project in sized.values() for one in callers(project)]
        with ThreadPoolExecutor(1) as desk:
            created = desk.submit(nova.create, [*asking, *known, *silent] if before_nova else [])
            standalone = Service.standalone(stage, inventory)
            standalone.start()
            for project in sized.values():
                publish = [one.publishes(one.forwarded()) for one in project.instances]
                send(standalone.port, publish, holds(b"from_server_etcd_addr"))
                etcd.fill(project)
            created.result()
        booting = [instances_of(projects) for projects in boot]
        service = Service.before_nova(stage, nova.url, SECRET)
        bed = Bed(stage, tools, nginx, redis, etcd, standalone, sized, booting, storm, known, silent, nova, service)
        if before_nova:
            service.take_store(standalone)
            service.start()
            _introduce(bed)
        yield bed
    finally:
        nova.close()


def _introduce(bed: Bed) -> None:
    """Let everybody whom nova knows ask once, so that the service knows them; and see that it does check signatures."""
    asking = [*bed.known, *bed.silent, *(one for project in bed.sized.values() for one in callers(project))]
    for one in asking:
        question = request("GET", SHARED, one.signed(SECRET))
        # While nova is busy this may be a 502 or 504, to be repeated (docs/protocol.md, "Statuses and errors").
        until("the service knows an instance", partial(_answered, bed.service.port, question), every_s=0.2)
    refused(403)(ask(bed.service.port, request("GET", SHARED, asking[0].signed("another secret"))))


def _answered(port: int, question: bytes) -> bool:
    return ask(port, question).status == 200


def _say(what: str) -> None:
    print(f"making {what}", file=sys.stderr, flush=True)
