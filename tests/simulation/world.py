# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One boot of one cluster, from nobody to all, on a schedule that a seed decides: guests, servers, store and nova.

Everything that could happen at the same moment happens in some order that the seed draws, one event after another.
The rules under test are the service's own (`peerdata.service.verdict`); all around them is played:

- A guest asks, obeys, takes its time, confirms. It may be killed, rebuilt (same instance, empty disk) or deleted
  (another one takes its place), at any moment, also between a verdict and its confirmation.
- A request or its answer may be late, lost, or sent twice; a server may die before or after the transaction.
- Nova says of an instance whether it exists, late or not at all; what it says was true when it was asked.

What must hold is checked where it could break, and raises `Violated`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from peerdata.errors import NotFounder
from peerdata.model import Cluster, ClusterPlan, Founders, Verdict
from peerdata.service import verdict


class Violated(AssertionError):
    """A promise was broken."""


@dataclass
class Guest:
    """An instance, and what it believes."""

    uuid: str
    alive: bool = True
    life: int = 0
    """Grows when it is killed or rebuilt: what it had in mind is gone."""
    founded: int = 0
    """Term in which it started a cluster; 0: none. On its disk."""
    member: bool = False
    """Its software is in the cluster. On its disk."""
    done: bool = False
    """It has nothing to ask any more."""


@dataclass
class Faults:
    """How likely each is, at each opportunity."""

    lost: float
    twice: float
    killed: float
    rebuilt: float
    deleted: float
    silent_nova: float
    until: float
    """Simulated seconds after which nothing goes wrong any more, so that everybody must get there."""


@dataclass
class Seen:
    """What was ever said, by term."""

    founders: dict[int, frozenset[str]] = field(default_factory=dict)
    told: dict[int, set[str]] = field(default_factory=dict)
    formed: set[int] = field(default_factory=set)


@dataclass
class Tally:
    """What happened in some boots."""

    boots: int = 0
    founded: int = 0
    """Terms in which somebody was told to bootstrap."""
    replaced: int = 0
    """Terms beyond the first."""
    killed: int = 0
    """Guests killed or rebuilt."""
    deleted: int = 0
    refused: int = 0
    """Confirmations of founders that had been replaced."""
    violations: list[tuple[int, str]] = field(default_factory=list)
    """Seed, and what was broken."""

    def __iadd__(self, other: Tally) -> Tally:
        for name in ("boots", "founded", "replaced", "killed", "deleted", "refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.violations += other.violations
        return self

    def told(self) -> str:
        """In words."""
        lines = [f"seed {seed}: {what}" for seed, what in self.violations]
        return "\n".join(
            [
                *lines,
                f"{self.boots} boots of clusters of 1 to 9: {len(self.violations)} violations. "
                f"{self.founded} terms were founded, {self.replaced} of them because a founder was gone; "
                f"{self.killed} guests were killed or rebuilt, {self.deleted} deleted; "
                f"{self.refused} late founders were refused.",
            ]
        )


def boot(seeds: Iterable[int], *, keep_going: bool) -> Tally:
    """
    Boot one cluster for each of *seeds*.

    Raises:
        Violated: something was broken, unless it is to *keep_going* and count; names the seed.
    """
    tally = Tally()
    for seed in seeds:
        world = World(seed)
        try:
            world.run()
        except Violated as violated:
            if not keep_going:
                raise Violated(f"seed {seed}: {violated}") from violated
            tally.violations.append((seed, str(violated)))
        tally += world.tally
    return tally


class World:
    """
    One cluster's boot.

    Args:
        seed: Decides all.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        draw = self.random
        size = draw.randint(1, 9)
        self.plan = ClusterPlan(size, draw.choice(list(Founders)), closed=draw.random() < 0.3)
        self.faults = Faults(
            lost=draw.choice([0, 0.05, 0.3]),
            twice=draw.choice([0, 0.1]),
            killed=draw.choice([0, 0.02, 0.1]),
            rebuilt=draw.choice([0, 0.02, 0.05]),
            deleted=draw.choice([0, 0.02, 0.1]),
            silent_nova=draw.choice([0, 0.3, 0.9]),
            until=draw.uniform(5, 60),
        )
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.number = 0
        self.cluster: Cluster | None = None
        self.guests: dict[str, Guest] = {}
        self.seen = Seen()
        self.tally = Tally(boots=1)
        self.late = draw.randint(0, 2)
        """How many more than planned for ask, too."""
        for _ in range(size + self.late):
            self._boot(draw.uniform(0, 3) if draw.random() < 0.8 else draw.uniform(0, 30))

    # Time

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let *event* happen."""
        self.number += 1
        heapq.heappush(self.events, (self.now + seconds, self.number, event))

    def run(self) -> None:
        """
        Until nobody has anything to do.

        Raises:
            Violated: a promise was broken, or somebody is still waiting after an hour.
        """
        while self.events:
            self.now, _, event = heapq.heappop(self.events)
            if self.now > 3600:
                waiting = [guest.uuid for guest in self.guests.values() if guest.alive and not guest.done]
                raise Violated(f"after an hour {waiting} still wait; the cluster: {self.cluster}")
            event()
        self._check_end()

    def goes_wrong(self, chance: float) -> bool:
        """Whether this time it does."""
        return self.now < self.faults.until and self.random.random() < chance

    # Guests

    def _boot(self, delay_s: float) -> None:
        guest = Guest(f"guest-{len(self.guests)}")
        self.guests[guest.uuid] = guest
        self.after(delay_s, lambda: self._ask(guest, guest.life))

    def _may_suffer(self, guest: Guest) -> bool:
        """Something may happen to *guest*; whether it did."""
        if self.goes_wrong(self.faults.deleted):
            self.tally.deleted += 1
            guest.alive = False
            guest.life += 1
            self._boot(self.random.uniform(1, 20))  # the cloud's autoscaling, or a person
            return True
        if self.goes_wrong(self.faults.rebuilt):
            guest.founded, guest.member = 0, False
            self._start_over(guest)
            return True
        if self.goes_wrong(self.faults.killed):
            self._start_over(guest)
            return True
        return False

    def _start_over(self, guest: Guest) -> None:
        self.tally.killed += 1
        guest.life += 1
        guest.done = False
        life = guest.life
        self.after(self.random.uniform(0.5, 20), lambda: self._ask(guest, life))

    def _ask(self, guest: Guest, life: int) -> None:
        if guest.life != life or self._may_suffer(guest):
            return
        answered = [False]

        def hear(said: tuple[Verdict, Cluster]) -> None:
            if guest.life == life and not answered[0]:
                answered[0] = True
                self._obey(guest, life, *said)

        def lose_patience() -> None:
            if guest.life == life and not answered[0]:
                answered[0] = True
                self._ask(guest, life)

        self._request(lambda: self._enter(guest.uuid), hear)
        self.after(self.random.uniform(5, 35), lose_patience)

    def _obey(self, guest: Guest, life: int, said: Verdict, cluster: Cluster) -> None:
        if self._may_suffer(guest):
            return
        if guest.founded and guest.founded != cluster.term:
            guest.founded, guest.member = 0, False  # what it started in an older term is thrown away
        if said is Verdict.WAIT:
            self.after(self.random.uniform(1, 2), lambda: self._ask(guest, life))
        elif said is Verdict.BOOTSTRAP:
            guest.founded = cluster.term
            slow = self.random.random() < 0.1
            self.after(self.random.uniform(0.1, 300 if slow else 5), lambda: self._confirm(guest, life, cluster.term))
        elif said is Verdict.JOIN:
            guest.member = guest.done = True
        else:
            guest.done = True

    def _confirm(self, guest: Guest, life: int, term: int) -> None:
        if guest.life != life or self._may_suffer(guest):
            return
        answered = [False]

        def hear(accepted: bool) -> None:
            if guest.life != life or answered[0]:
                return
            answered[0] = True
            if accepted:
                guest.member = guest.done = True
            else:
                guest.founded, guest.member = 0, False
                self._ask(guest, life)

        def lose_patience() -> None:
            if guest.life == life and not answered[0]:
                answered[0] = True
                self._confirm(guest, life, term)

        self._request(lambda: self._decide_confirm(guest.uuid, term), hear)
        self.after(self.random.uniform(5, 35), lose_patience)

    # The way there and back, and the servers

    def _request(self, transaction: Callable[[], object], hear: Callable[..., None]) -> None:
        """Send a request, perhaps twice; it, its transaction or its answer may get lost."""
        for _ in range(2 if self.goes_wrong(self.faults.twice) else 1):
            if not self.goes_wrong(self.faults.lost):
                self.after(self._way_s(), lambda: self._serve(transaction, hear))

    def _serve(self, transaction: Callable[[], object], hear: Callable[..., None]) -> None:
        if self.goes_wrong(self.faults.lost):  # the server died before the commit
            return
        said = transaction()
        if not self.goes_wrong(self.faults.lost):  # else it died behind it, or the answer got lost
            self.after(self._way_s(), lambda: hear(said))

    def _way_s(self) -> float:
        late = self.random.random() < 0.05
        return self.random.uniform(0.001, 40 if late and self.now < self.faults.until else 0.5)

    # Transactions

    def _enter(self, uuid: str) -> tuple[Verdict, Cluster]:
        before = self.cluster
        self.cluster = verdict.enter(before or verdict.begin(self.plan), self.plan, uuid)
        self._check_step(before, self.cluster)
        said = verdict.judge(self.cluster, uuid)
        if said is Verdict.BOOTSTRAP:
            self._note_bootstrap(uuid, self.cluster)
        if said is Verdict.WAIT:
            self._suspect(self.cluster)
        return said, self.cluster

    def _decide_confirm(self, uuid: str, term: int) -> bool:
        assert self.cluster is not None
        before = self.cluster
        try:
            self.cluster = verdict.confirm(before, uuid, term)
        except NotFounder:
            self.tally.refused += 1
            return False
        self._check_step(before, self.cluster)
        self.seen.formed.add(term)
        return True

    def _suspect(self, cluster: Cluster) -> None:
        """Ask nova of those who keep the others waiting."""
        for member in verdict.awaited(cluster):
            if self.goes_wrong(self.faults.silent_nova):
                continue
            asked_way, way_back = self.random.uniform(0, 5), self.random.uniform(0, 10)

            def ask(uuid: str = member.uuid, way_back: float = way_back) -> None:
                if not self.guests[uuid].alive:
                    self.after(way_back, lambda: self._leave(uuid))

            self.after(asked_way, ask)

    def _leave(self, uuid: str) -> None:
        assert self.cluster is not None
        before = self.cluster
        self.cluster = verdict.leave(before, uuid)
        self._check_step(before, self.cluster)

    # What must hold

    def _note_bootstrap(self, uuid: str, cluster: Cluster) -> None:
        founders = frozenset(member.uuid for member in cluster.founders)
        if cluster.term not in self.seen.told:
            self.tally.founded += 1
            self.tally.replaced += cluster.term > 1
        if self.seen.founders.setdefault(cluster.term, founders) != founders:
            raise Violated(f"term {cluster.term} has founders {founders} and {self.seen.founders[cluster.term]}")
        if uuid not in founders:
            raise Violated(f"{uuid} is told to bootstrap and is no founder")
        if cluster.term in self.seen.formed:
            raise Violated(f"{uuid} is told to bootstrap in term {cluster.term}, which is formed")
        self.seen.told.setdefault(cluster.term, set()).add(uuid)
        if self.plan.founders is Founders.ONE and len(self.seen.told[cluster.term]) > 1:
            raise Violated(f"two were told to bootstrap in term {cluster.term}: {self.seen.told[cluster.term]}")
        if self.plan.founders is Founders.ALL and len(founders) != self.plan.size:
            raise Violated(f"{len(founders)} founders where there are to be {self.plan.size}")

    def _check_step(self, before: Cluster | None, after: Cluster) -> None:
        if before is not None:
            if after.term < before.term:
                raise Violated(f"the term went from {before.term} to {after.term}")
            if before.formed and after.term == before.term and not after.formed:
                raise Violated("a formed cluster is not formed any more")
            if (
                after.term == before.term
                and before.founders
                and not before.formed
                and before.founders != after.founders
            ):
                raise Violated(f"founders of term {after.term} changed: {before.founders}, {after.founders}")
            gone = {member.uuid for member in before.members} - {member.uuid for member in after.members}
            if any(self.guests[uuid].alive for uuid in gone):
                raise Violated(f"{gone} were taken off the roll and live")
        if self.plan.closed and len(after.members) > self.plan.size:
            raise Violated("more members than a closed cluster has")
        ordinals = [member.ordinal for member in after.members]
        if ordinals != sorted(set(ordinals)):
            raise Violated(f"the roll is not in order: {ordinals}")

    def _check_end(self) -> None:
        assert self.cluster is not None
        living = [guest for guest in self.guests.values() if guest.alive]
        in_it = [guest for guest in living if guest.member]
        full = [guest for guest in living if guest.done and not guest.member]
        if len(in_it) + len(full) != len(living):
            raise Violated(f"some are left behind: {living}")
        if full and not self.plan.closed:
            raise Violated("an open cluster turned somebody away")
        if in_it and not self.cluster.formed:
            raise Violated("the cluster stands for some and is not formed")
        founded = {guest.founded for guest in in_it if guest.founded}
        if founded - {self.cluster.term}:
            raise Violated(f"clusters of terms {founded} stand, and the term is {self.cluster.term}")
