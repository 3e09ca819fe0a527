# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One engine, tortured: clients and faults side by side, then everything whole again, a last look at all, and the check.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from tests.databases.galera import Galera
from tests.databases.run import Run, until

from . import beds, checker
from .clients import Ask, Client, Instance, Line, Recorder, Shelf
from .faults import Nemesis, Struck
from .flood import INSTANCES as FLOODING
from .history import History, Kind, Operation, Outcome

CLIENTS = 12
INSTANCES = CLIENTS // 2
"""Two clients are one instance."""
PROJECTS = 2
"""Side by side; an instance is in one of them."""

KEPT = Path(tempfile.gettempdir()) / "peerdata-torture"
"""Where histories and logs of runs are kept in which something went wrong."""


BYSTANDER = Instance("aside", str(UUID(int=(0x4000 << 64) | (0x8000 << 48) | 0xFFFF)), "127.1.255.1")
"""Asks whether a server is ready."""


@dataclass(frozen=True)
class World:
    """
    All instances that a run needs, generation by generation.

    Attributes:
        generation_s: After so long all clients become new instances of new projects, so that what a read shows stays
            short.
    """

    generations: int
    generation_s: float

    @classmethod
    def of(cls, seconds: float) -> World:
        """One that lasts for a run of so many seconds, and for some time more; at most 250 fit into an address."""
        generation_s = min(12.0, max(5.0, seconds / 4))
        generations = 4 + int(1.3 * seconds / generation_s)
        return cls(min(250, generations), max(generation_s, 1.3 * seconds / 250))

    def instance(self, generation: int, number: int) -> Instance:
        generation = min(generation, self.generations - 1)
        uuid = UUID(int=(0x4000 << 64) | (0x8000 << 48) | (generation << 8) | (number + 1))
        return Instance(f"p{generation}-{number % PROJECTS}", str(uuid), f"127.1.{generation}.{number + 1}")

    def projects(self) -> dict[str, dict[str, str]]:
        """Instances by address, of each project."""
        found = {BYSTANDER.project: {BYSTANDER.address: BYSTANDER.uuid}}
        found |= {FLOODING[0].project: {one.address: one.uuid for one in FLOODING}}
        for generation in range(self.generations):
            for number in range(INSTANCES):
                one = self.instance(generation, number)
                found.setdefault(one.project, {})[one.address] = one.uuid
        return found


@dataclass(frozen=True)
class Result:
    """What a run showed."""

    engine: str
    seed: str
    seconds: float
    history: History
    verdict: checker.Verdict
    struck: tuple[Struck, ...]
    missing: Mapping[str, str]
    """Faults that the machine did not permit, and why."""
    wrong: tuple[str, ...]
    """What else is wrong: servers that ended by themselves, refusals when all was whole again."""
    longest_stop_s: float
    """Of a server, from SIGTERM to its end."""
    kept: Path | None
    """Where the history is, if something is wrong with it."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.verdict.violations and not self.wrong

    @property
    def faults(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(one.kind for one in self.struck)

    def __str__(self) -> str:
        """For whoever looks at a failure, or at a run that goes well."""
        operations = self.history.operations
        outcomes = checker.tally(operations, lambda one: str(one.status or one.code))
        lines = [
            f"{self.engine}, seed {self.seed}: {len(operations)} operations in {self.seconds:.0f} s, "
            f"{self.verdict.changes} changes, {self.verdict.placed} of them placed exactly",
            f"outcomes: {dict(outcomes.most_common())}",
            f"faults: {dict(self.faults)}" + "".join(f"; no {kind}: {why}" for kind, why in self.missing.items()),
            f"the longest wait for a refusal took {checker.longest_refusal_s(operations):.1f} s, "
            f"the longest end after SIGTERM {self.longest_stop_s:.1f} s",
            f"violations: {len(self.verdict.violations)}",
            *(str(one) for one in self.verdict.violations[:20]),
            *self.wrong,
        ]
        if self.kept:
            lines.append(f"the history is kept; check it again with: python -m tests.torture check {self.kept}")
        return "\n".join(lines)


def storm(
    engine: str,
    run: Run,
    directory: Path,
    *,
    seed: str,
    seconds: float,
    keep: Path = KEPT,
    calm_s: float = 0.8,
    galera: Galera | None = None,
    without: str = "",
    workers: int = 1,
    kinds: Collection[str] | None = None,
    leave_out: Collection[str] = (),
    silence_s: float = 4.0,
    publishes: int = 0,
) -> Result:
    """
    Torture *engine* for at least so many seconds, until each fault was struck once.

    Args:
        run: Of the databases; and see `beds.opened` for *directory*, *galera*, *without*, *workers* and *silence_s*.
        seed: Of all choices; what threads and databases make of them is never twice the same.
        keep: The directory for a history with which something is wrong.
        calm_s: Between two faults of one lane, on average.
        kinds: Of the faults, but those to *leave_out*; None: all.
        publishes: How many must be answered 200 before it may end: on a slow disk, a short run has few.
    """
    world = World.of(seconds)
    recorder = Recorder()

    def wanted(kind: str) -> bool:
        return (kinds is None or kind in kinds) and kind not in leave_out

    with beds.opened(
        engine, run, directory, world.projects(), galera=galera, without=without, workers=workers, silence_s=silence_s
    ) as bed:
        began = time.monotonic()
        generation, struck = _rage(
            bed, world, recorder, seed=seed, seconds=seconds, calm_s=calm_s, wanted=wanted, publishes=publishes
        )
        wrong = bed.heal()
        _wait_ready(bed)
        wrong += _look_at_all(bed, world, recorder, generation, random.Random(f"{seed} last look"))
        took_s = time.monotonic() - began
        longest_stop_s = max((took for server in bed.servers for took in server.stops_s), default=0.0)
    about = {"engine": engine, "seed": seed, "without": without, "faults": [vars(one) for one in struck]}
    history = History(about, recorder.operations())
    verdict = checker.check(history.operations)
    kept = None
    if verdict.violations or wrong:
        keep.mkdir(parents=True, exist_ok=True)
        kept = keep / f"{engine}-{seed}.jsonl.gz"
        history.write(kept)
        for log in directory.glob("log-*"):
            shutil.copy(log, keep / f"{engine}-{seed}.{log.name}")
    return Result(
        engine,
        seed,
        took_s,
        history,
        verdict,
        tuple(struck),
        bed.missing,
        tuple(wrong),
        longest_stop_s,
        kept,
    )


def _rage(
    bed: beds.Bed,
    world: World,
    recorder: Recorder,
    *,
    seed: str,
    seconds: float,
    calm_s: float,
    wanted: Callable[[str], bool],
    publishes: int,
) -> tuple[int, list[Struck]]:
    """Clients and faults, side by side; returns the last generation of instances, and what was done."""
    began = time.monotonic()
    shelves: dict[str, Shelf] = {}
    stop_faults, stop_clients = threading.Event(), threading.Event()

    def generation() -> int:
        return min(int((time.monotonic() - began) / world.generation_s), world.generations - 1)

    def who(number: int) -> tuple[Instance, Shelf]:
        instance = world.instance(generation(), number // 2)
        return instance, shelves.setdefault(instance.uuid, Shelf())

    ports = [server.port for server in bed.servers]
    clients = [
        Client(number, partial(who, number), ports, recorder, seed=seed, stop=stop_clients) for number in range(CLIENTS)
    ]
    lanes = {
        name: [fault for fault in faults if wanted(fault.kind)]
        for name, faults in (("servers", bed.of_servers), ("store", bed.of_store))
    }
    nemeses = [Nemesis(name, faults, seed=seed, stop=stop_faults, calm_s=calm_s) for name, faults in lanes.items()]
    for thread in (*clients, *nemeses):
        thread.start()
    time.sleep(seconds)
    until(f"{publishes} publishes are answered 200", lambda: recorder.published >= publishes, within_s=60)
    stop_faults.set()
    for nemesis in nemeses:
        nemesis.join()
    stop_clients.set()
    for client in clients:
        client.join(60)
    failed = [thread.failed for thread in clients if thread.failed] + [one.failed for one in nemeses if one.failed]
    if failed:
        raise failed[0]
    assert not any(client.is_alive() for client in clients), "a client hangs"
    return generation(), sorted((one for nemesis in nemeses for one in nemesis.struck), key=lambda one: one.began)


def _wait_ready(bed: beds.Bed) -> None:
    """Until every server answers reads and writes again; who asks here is no part of the history."""
    line = Line(-1, [server.port for server in bed.servers], Recorder())
    asks = (Ask(BYSTANDER, Kind.PUBLISH, (("ready", "yes"),)), Ask(BYSTANDER, Kind.PEER_DATA))

    def ready(server: int) -> bool:
        return all(line.ask(ask, server).outcome is Outcome.OK for ask in asks)

    for server in range(len(bed.servers)):
        until(f"server {server} is ready", partial(ready, server))
    line.close()


def _look_at_all(bed: beds.Bed, world: World, recorder: Recorder, last: int, chance: random.Random) -> list[str]:
    """
    Everything, through every server: what was answered 200 must be there, and all must agree.

    Returns what was refused although all is whole again.
    """
    line = Line(-1, [server.port for server in bed.servers], recorder)
    servers = range(len(bed.servers))
    looked: list[Operation] = []
    for generation in range(last + 1):
        instances = [world.instance(generation, number) for number in range(INSTANCES)]
        for server in servers:
            for instance in instances[:PROJECTS]:
                looked += [line.ask(Ask(instance, kind), server) for kind in (Kind.PEER_DATA, Kind.SHARED)]
                looked.append(line.ask(Ask(instance, Kind.FOLLOW, since=0), server))
        looked += [line.ask(Ask(instance, Kind.OWN), chance.choice(servers)) for instance in instances]
    line.close()
    return [f"all was whole again, and {one} was refused" for one in looked if one.outcome is not Outcome.OK]
