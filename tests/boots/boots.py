# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Many clusters that boot at the same time, each on a plan that a seed draws: what it is, and what befalls its guests.

The seed draws the plans; when what happens is left to the machine, as in life.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from pathlib import Path
from random import Random
from urllib.parse import urlencode

from peerdata.model import ClusterPlan, Founders, Verdict

from . import guest
from .checker import check, founders_by_term
from .cloud import Cloud, Instance
from .cradle import Cradle
from .guest import Boot
from .history import Answer, Call, History, parse, read

AT_ONCE = 40
"""Clusters that boot at the same time."""

IN_PROJECT = 4
"""Clusters of a project, of different names, at about the same time."""

AHEAD = 6
"""Clusters whose instances exist before it is their turn, so that the inventory changes less often."""

HANGS_AFTER_S = 120.0
"""Since its first guest booted. Without faults it takes some seconds."""

AGREE_WITHIN_S = 60.0
"""The servers, on the roll, once all have ended."""

WORK_LOOKS = 30
"""What is to befall a founder at work looks so often for one, ten times a second."""

PACE = 0.3
"""Guests ask more often than they should: so more happens at the same moment, and in less time."""


@dataclass(frozen=True)
class Mishap:
    """What befalls one guest."""

    at_s: float
    """After the first guest booted."""
    kind: str
    """``kill``: its process, and it starts again. ``delete``: killed, and the instance is gone. ``lose``: the instance
    is gone, and its process does not notice before it is killed too."""
    founder: bool
    """Rather one that is at work on the verdict *bootstrap*, if there soon is one."""
    which: float
    """0 to 1: which of those that live."""
    pause_s: float
    """Until it starts again, or another instance takes its place, or what was lost dies."""


@dataclass(frozen=True)
class Plan:
    """One cluster's boot, before it happens."""

    number: int
    seed: str
    cluster: ClusterPlan
    starts_s: tuple[float, ...]
    """When each instance boots."""
    slow: float
    """How likely a founder takes seconds for its work."""
    mishaps: tuple[Mishap, ...]

    @property
    def project(self) -> str:
        return f"project-{self.number // IN_PROJECT}"

    @property
    def name(self) -> str:
        return f"cluster-{self.number % IN_PROJECT}"

    @property
    def instances(self) -> list[Instance]:
        """All that are needed, those that take the place of others too. No address is ever used again."""
        number_of = len(self.starts_s) + len(self.mishaps)
        found = []
        for place in range(number_of):
            of_all = self.number * 32 + place
            address = f"127.{1 + of_all // 62_500}.{of_all // 250 % 250}.{1 + of_all % 250}"
            found.append(Instance(f"{self.number:08x}-0000-4000-8000-{place:012x}", address, self.project))
        return found

    @classmethod
    def draw(cls, seed: int, number: int) -> Plan:
        """The plan of that number."""
        chance = Random(f"{seed}/{number}")
        size = chance.randint(1, 9)
        cluster = ClusterPlan(size, chance.choice(list(Founders)), closed=chance.random() < 0.3)
        spread_s = chance.choice((0.0, 0.3, 3.0))
        starts_s = tuple(chance.uniform(0, spread_s) for _ in range(size + chance.randint(0, 2)))
        mishaps = tuple(
            Mishap(
                at_s=chance.triangular(0, 4, 1),
                kind=chance.choice(("kill", "kill", "delete", "delete", "lose")),
                founder=chance.random() < 0.7,
                which=chance.random(),
                pause_s=chance.uniform(0, 2),
            )
            for _ in range(chance.choice((0, 1, 2, 4)))
        )
        return cls(number, f"{seed}/{number}", cluster, starts_s, chance.choice((0.0, 0.3, 1.0)), mishaps)


@dataclass
class Tally:
    """What happened in some boots."""

    boots: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By mode and size."""
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    servers_killed: int = 0
    seconds: float = 0.0

    @property
    def number(self) -> int:
        return sum(self.boots.values())

    def note(self, plan: Plan, history: History, lives: Counter[str]) -> list[str]:
        """Count one more; returns what was broken."""
        self.boots[plan.cluster.founders.value, plan.cluster.size] += 1
        self.counts += lives
        answers = history.answers
        terms = sorted(founders_by_term(history))
        self.counts["closed"] += plan.cluster.closed
        self.counts["answers"] += sum(1 for one in answers if one.status)
        self.counts["lost"] += sum(1 for one in answers if not one.status)
        self.counts["founded"] += len(terms)
        self.counts["replaced"] += max(0, len(terms) - 1)
        self.counts["refused"] += sum(1 for one in answers if one.call is Call.CONFIRM and one.status == 409)
        self.counts["unknown"] += sum(1 for one in answers if one.status == 404)
        self.counts["busy"] += sum(1 for one in answers if one.status == 503)
        self.counts["hung"] += bool(history.hung)
        broken = check(history)
        self.violations += [f"boot {plan.number}, {plan.cluster}: {text}" for text in broken]
        return broken

    def told(self) -> str:
        """In words."""
        of = self.counts
        return (
            f"{self.number} boots of clusters of 1 to 9: {len(self.violations)} violations, {of['hung']} hung. "
            f"{of['founded']} terms were founded, {of['replaced']} of them because a founder was gone; "
            f"{of['killed']} guests and {self.servers_killed} servers were killed, {of['deleted']} instances deleted; "
            f"{of['refused']} late confirmations were refused; in {self.seconds:.0f} s."
        )


async def boot_all(plans: Sequence[Plan], cloud: Cloud, directory: Path, *, seed: int, hangs_after_s: float) -> Tally:
    """
    Boot a cluster for each of *plans*, while the servers are tormented.

    Args:
        directory: For the guests' logs; those of a boot stay where it broke something.
        hangs_after_s: As for `beds.boot`.
    """
    tally = Tally()
    began = time.monotonic()
    ids = count()
    waiting = iter(enumerate(plans))
    listed = 0

    async def boot_some(cradle: Cradle) -> None:
        nonlocal listed
        for place, plan in waiting:
            if place >= listed:
                listed = place + AHEAD
                cloud.add(instance for one in plans[place:listed] for instance in one.instances)
            cluster = _Cluster(plan, cloud, cradle, directory / f"boot-{plan.number}", ids, hangs_after_s)
            history = await cluster.boot()
            cloud.forget(plan.instances)
            if not tally.note(plan, history, cluster.lives):
                shutil.rmtree(cluster.directory)

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16))
    async with Cradle() as cradle:
        await cloud.open()
        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(cloud.keep_inventory())
                group.create_task(cloud.torment(f"{seed}/servers"))
                async with asyncio.TaskGroup() as booting:
                    for _ in range(AT_ONCE):
                        booting.create_task(boot_some(cradle))
                keeping.cancel()
                cloud.leave_in_peace()
        finally:
            cloud.close()
    tally.servers_killed = cloud.killed
    tally.seconds = time.monotonic() - began
    return tally


class _Cluster:
    """One boot while it happens."""

    def __init__(
        self, plan: Plan, cloud: Cloud, cradle: Cradle, directory: Path, ids: count[int], hangs_after_s: float
    ) -> None:
        self.plan = plan
        self.directory = directory
        self.lives: Counter[str] = Counter()
        self._cloud = cloud
        self._cradle = cradle
        self._ids = ids
        self._chance = Random(f"{plan.seed}/guests")
        self._hangs_after_s = hangs_after_s
        self._unused = iter(plan.instances)
        self._living: dict[str, Instance] = {}
        self._life: dict[str, int] = {}
        """The guest of each instance, from when it boots until it is killed. One that has ended by itself may be killed
        too: that is a reboot."""
        self._gone: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """Of each instance: until its guest has ended by itself."""

    async def boot(self) -> History:
        """Until all that live have ended, and the servers agree; or too much time has passed."""
        self.directory.mkdir(parents=True)
        self._deadline = time.monotonic() + self._hangs_after_s
        fate = asyncio.gather(*map(self._befall, self.plan.mishaps))
        for start_s in self.plan.starts_s:
            self._start(next(self._unused), start_s)
        await fate
        await asyncio.gather(*self._tasks.values())
        answers = read(sorted(self.directory.glob("*.log")))
        hung = self._who_hangs()
        final = () if hung else await self._ask_all()
        return History(self.plan.cluster, answers, self._gone, final, frozenset(self._living), hung)

    def _start(self, instance: Instance, after_s: float) -> None:
        self._living[instance.uuid] = instance
        self._tasks[instance.uuid] = asyncio.create_task(self._live(instance, after_s))

    async def _live(self, instance: Instance, after_s: float) -> None:
        await asyncio.sleep(after_s)
        life = self._life[instance.uuid] = next(self._ids)
        slow = self._chance.random() < self.plan.slow
        status = await self._cradle.boot(
            Boot(
                id=life,
                uuid=instance.uuid,
                address=instance.address,
                ports=self._cloud.ports,
                cluster=self.plan.name,
                query=self._query(instance),
                log=str(self.directory / f"{instance.uuid}-{life}.log"),
                seed=f"{self.plan.seed}/{life}",
                work_s=self._chance.uniform(1, 4) if slow else self._chance.uniform(0, 0.6),
                pace=PACE,
                deadline=self._deadline,
            )
        )
        self.lives["lives"] += 1
        self.lives["killed"] += status < 0
        if status == 1:
            self.lives["gave up"] += 1

    def _query(self, instance: Instance) -> str:
        cluster = self.plan.cluster
        closed = str(cluster.closed).lower()
        plan = {"size": cluster.size, "founders": cluster.founders.value, "closed": closed}
        return urlencode({**plan, "meta.addr": instance.address})

    async def _befall(self, mishap: Mishap) -> None:
        await asyncio.sleep(mishap.at_s)
        at_work = await self._wait_for_work() if mishap.founder else self._at_work()
        among = at_work if mishap.founder and at_work else [one for one in self._living if one in self._life]
        if not among:
            return
        instance = self._living[among[int(mishap.which * len(among))]]
        self.lives["at work"] += instance.uuid in at_work
        if mishap.kind == "kill":
            await self._kill(instance)
            if instance.uuid in self._living:  # else it was deleted meanwhile
                self._start(instance, mishap.pause_s)
            return
        self.lives["deleted"] += 1
        del self._living[instance.uuid]
        if mishap.kind == "lose":
            self.lives["lost instances"] += 1
            self._gone[instance.uuid] = self._cloud.delete(instance)
            self._start(next(self._unused), mishap.pause_s)
            await asyncio.sleep(mishap.pause_s)
            await self._kill(instance)
        else:
            await self._kill(instance)
            self._gone[instance.uuid] = self._cloud.delete(instance)
            self._start(next(self._unused), mishap.pause_s)

    async def _wait_for_work(self) -> list[str]:
        """As `_at_work`, as soon as there is one; nobody, if it takes too long."""
        for _ in range(WORK_LOOKS):
            if found := self._at_work():
                return found
            await asyncio.sleep(0.1)
        return []

    def _at_work(self) -> list[str]:
        """Those that live and were last told to bootstrap."""
        found = []
        for uuid in self._living:
            lines = read(self.directory.glob(f"{uuid}-{self._life.get(uuid)}.log"))
            if lines and lines[-1].verdict is Verdict.BOOTSTRAP:
                found.append(uuid)
        return found

    async def _kill(self, instance: Instance) -> None:
        """Kill its process, if it runs, and wait for its end."""
        task = self._tasks[instance.uuid]
        self._cradle.kill(self._life.pop(instance.uuid))
        await asyncio.wait([task])

    def _who_hangs(self) -> str:
        """Those whose last life gave up."""
        if not self.lives["gave up"]:
            return ""
        logs = [self.directory.glob(f"{uuid}-{self._life[uuid]}.log") for uuid in self._living]
        ends = [end for log in logs for end in read(log)[-1:] if not end.formed]
        told = [f"{end.uuid}: {end.status} {end.code} {end.verdict} term {end.term} {end.members}" for end in ends]
        return f"after {self._hangs_after_s:.0f} s these had not ended, and were told last: {told}"

    async def _ask_all(self) -> tuple[Answer, ...]:
        """
        What all that live are told by both servers when they ask again, once these agree; or at last.

        A founder that was found to be gone just when the cluster was confirmed leaves its roll then; so in a closed one
        there may be room, at last, for one that was told that it is full.
        """
        deadline = time.monotonic() + AGREE_WITHIN_S
        asked = len(self._living) * len(self._cloud.ports)
        while True:
            told = await asyncio.to_thread(self._look_everywhere)
            agreed = all(one.accepted for one in told) and len({(one.term, one.members) for one in told}) == 1
            if (agreed and len(told) == asked) or time.monotonic() > deadline:
                return told
            await asyncio.sleep(0.2)

    def _look_everywhere(self) -> tuple[Answer, ...]:
        """Without those who got no answer."""
        asked = [(one, port) for one in self._living.values() for port in self._cloud.ports]
        told = [self._look(one, port) for one, port in asked]
        return tuple(one for one in told if one)

    def _look(self, instance: Instance, port: int) -> Answer | None:
        asked = time.monotonic()
        with suppress(OSError, HTTPException):
            said = guest.ask(instance.address, port, f"{self.plan.name}.json?{self._query(instance)}")
            times = {"asked": asked, "answered": time.monotonic()}
            return parse({"uuid": instance.uuid, "call": Call.ENTER.value, "port": port, **times, **said})
        return None
