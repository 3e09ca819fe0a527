# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The bed: nginx, nova and two peerdata on the stage, one stand-alone and one before nova, and a crowd that published.
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
from bench.load import send
from bench.peers import Nginx, Nova
from bench.service import Service
from bench.stage import Stage
from bench.tools import Tools

SECRET = "the secret of the benchmark"

SIZES = (10, 100, 1_000, 10_000)
"""Peers of a project."""

WRITERS = 400
"""Instances, at least, in the projects of each size."""

CALLERS = 10
"""Instances of a project that ask in turn, in front of nova."""

BOOT = 1_000
"""Instances, in projects of 100, that publish for the first time in one round."""

KNOWN = 192
"""Instances that publish in front of nova. Making one costs nova 50 ms."""


@dataclass
class Bed:
    """All that runs, and who asks."""

    stage: Stage
    tools: Tools
    nginx: Nginx
    nova: Nova
    standalone: Service
    service: Service
    """In front of nova; began with what `standalone` had stored when all of `sized` had published."""
    sized: dict[int, list[Project]]
    """Projects by their number of peers, all of whom have published."""
    booting: list[list[Instance]]
    """For each round, instances that have not published yet; stand-alone."""
    known: list[Instance]
    """Instances of nova that have not published, but have asked."""
    silent: list[Instance]
    """Instances of nova that publish nothing."""
    idle_bytes: int = 0
    """Memory of `service` when it had just started."""


def callers(project: Project) -> tuple[Instance, ...]:
    """Those of a project whom nova knows."""
    return project.instances[:CALLERS]


@contextmanager
def made(stage: Stage, tools: Tools, *, rounds: int) -> Iterator[Bed]:
    """
    Start everything, and let the crowd publish.

    Args:
        rounds: Of each row.
    """
    crowd = Crowd()
    sized = {size: crowd.add(f"peers-{size}", size=size, projects=-(-WRITERS // size)) for size in SIZES}
    boot = [crowd.add(f"boot-{number}", size=100, projects=BOOT // 100) for number in range(rounds)]
    known = instances_of(crowd.add("known", size=KNOWN // 2, projects=2))
    silent = instances_of(crowd.add("silent", size=CALLERS))
    inventory = stage.directory / "inventory.yaml"
    crowd.write_inventory(inventory)

    nginx = Nginx(stage, tools)
    nginx.start()
    _say("nova (it is built first where it is not yet, which takes two minutes)")
    nova = Nova(stage, SECRET)
    try:
        nova.start()
        _say("instances, and what they publish")
        asking = [one for projects in sized.values() for one in callers(projects[0])]
        with ThreadPoolExecutor(1) as desk:
            created = desk.submit(nova.create, [*asking, *known, *silent])
            standalone = Service.standalone(stage, inventory)
            standalone.start()
            for projects in sized.values():
                publish = [one.publishes(one.forwarded()) for one in instances_of(projects)]
                send(standalone.port, publish, holds(b"from_server_etcd_addr"))
            created.result()
        service = Service.before_nova(stage, nova.url, SECRET)
        service.take_store(standalone)
        service.start()
        bed = Bed(
            stage,
            tools,
            nginx,
            nova,
            standalone,
            service,
            sized,
            [instances_of(projects) for projects in boot],
            known,
            silent,
            idle_bytes=stage.resident_bytes(service.name),
        )
        _introduce(bed)
        yield bed
    finally:
        nova.close()


def _introduce(bed: Bed) -> None:
    """Let everybody whom nova knows ask once, so that the service knows them; and see that it does check signatures."""
    asking = [*bed.known, *bed.silent, *(one for projects in bed.sized.values() for one in callers(projects[0]))]
    for one in asking:
        question = request("GET", SHARED, one.signed(SECRET))
        # While nova is busy this may be a 502 or 504, to be repeated (docs/protocol.md, "Statuses and errors").
        until("the service knows an instance", partial(_answered, bed.service.port, question), every_s=0.2)
    refused(403)(ask(bed.service.port, request("GET", SHARED, asking[0].signed("another secret"))))


def _answered(port: int, question: bytes) -> bool:
    return ask(port, question).status == 200


def _say(what: str) -> None:
    print(f"making {what}", file=sys.stderr, flush=True)
