# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What every software must pass. Each case begins with empty machines, or with the cluster that the one before it left.

A case returns how many seconds passed from the last deed to a cluster that stands, and raises where it is wrong.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..databases.run import Late, until
from .bed import Bed
from .machine import Machine
from .software import Software

_LOOK_S = 2.0
"""How long it is watched that nothing happens which must not."""


class Wrong(Exception):
    """There is a cluster, and it is not the one that should be."""


class Cluster:
    """
    A cluster of one software, as it forms.

    Args:
        bed: The machines.
        software: What they run.
        chance: Of order and victims.
    """

    def __init__(self, bed: Bed, software: Software, chance: random.Random) -> None:
        self._bed = bed
        self._software = software
        self._chance = chance
        self.members: list[Machine] = []

    def boot(self) -> float:
        """All members are switched on at the same moment, in random order: one cluster, in the first term."""
        self._begin()
        for machine in self._shuffled():
            self._switch_on(machine)
        return self._stands(term=1)

    def founder_killed(self, point: str) -> float:
        """
        The founder loses its power between verdict and `formed`, and comes back: nobody took its place meanwhile.

        Args:
            point: Where it stood still, see `Machine.hold`. With founders=all it is the first of them that does.
        """
        self._begin()
        victim = self._until_held(point)
        victim.switch_off()
        self._nobody_takes_the_place_of(victim)
        self._release()
        self._switch_on(victim)
        return self._stands(term=1)

    def founder_deleted(self, point: str) -> float:
        """
        A founder dies there and its instance is deleted: in a new term the next takes its place, or a new set founds.

        With founders=all the power fails for all of them: what they had begun is void when they come back, though it
        lies on their disks.
        """
        self._begin()
        victim = self._until_held(point)
        self._bed.delete(victim)
        self.members.remove(victim)
        if self._software.founders == "all":
            for machine in self.members:
                machine.switch_off()
        self._release()
        self.members.append(self._spare())
        for machine in self._shuffled():
            if not machine.is_on:
                self._switch_on(machine)
        return self._stands(term=2)

    def rebuilt(self) -> float:
        """One of the members loses power and disk, and comes back under its old name."""
        victim = self._chance.choice(self.members)
        victim.switch_off()
        victim.wipe()
        self._switch_on(victim)
        return self._stands()

    def added(self) -> float:
        """One more than was planned comes later."""
        self.members.append(self._spare())
        self._switch_on(self.members[-1])
        return self._stands()

    def power_cut(self) -> float:
        """All lose their power at one moment, while one lags behind: they come back, and nothing committed is lost."""
        has = self._software.commit(self.members) if self._software.commit else None
        for machine in self.members:
            machine.switch_off()
        for machine in self._shuffled():
            self._switch_on(machine)
        took_s = self._stands()
        if has and (lost := [machine.name for machine in self.members if not has(machine)]):
            raise Wrong(f"{', '.join(lost)} lost what was committed before the power cut")
        return took_s

    def _begin(self) -> None:
        self._bed.new_project()
        self.members = self._bed.machines[: self._software.size]

    def _spare(self) -> Machine:
        return next(machine for machine in reversed(self._bed.machines) if machine not in self.members)

    def _shuffled(self) -> Sequence[Machine]:
        return self._chance.sample(self.members, len(self.members))

    def _switch_on(self, machine: Machine) -> None:
        machine.switch_on(self._software.name, self._software.owner, self._software.environment)

    def _until_held(self, point: str) -> Machine:
        """Boot, until a founder stands still at *point*; return it."""
        for machine in self.members:
            machine.hold(point)
        for machine in self._shuffled():
            self._switch_on(machine)
        until(f"a founder is at {point}", self._held, within_s=self._software.within_s)
        return self._held()[0]

    def _release(self) -> None:
        for machine in self.members:
            machine.release()

    def _held(self) -> list[Machine]:
        return [machine for machine in self.members if machine.is_held()]

    def _nobody_takes_the_place_of(self, victim: Machine) -> None:
        if self._software.founders != "one":
            return
        witness = next(machine for machine in self.members if machine is not victim)
        deadline = time.monotonic() + _LOOK_S
        while time.monotonic() < deadline:
            if (found := self._founders(witness)) != [self._bed.uuid(victim)]:
                raise Wrong(f"founders are {found} while {self._bed.uuid(victim)} may come back")
            time.sleep(0.2)

    def _founders(self, witness: Machine) -> list[str]:
        said = witness.cluster(self._software.name)
        return [member["uuid"] for member in said.get("members", []) if member["founder"]]

    def _stands(self, term: int | None = None) -> float:
        """Wait until the members are one cluster, and check that it was founded as it was to be."""
        began = time.monotonic()
        try:
            until(
                f"{self._software.name} is one cluster of {len(self.members)}",
                lambda: self._is_formed() and self._software.stands(self.members),
                within_s=self._software.within_s,
                every_s=0.3,
            )
        except Late as error:
            tails = "\n".join(f"--- {machine.name}\n{_tail(machine)}" for machine in self.members)
            raise Wrong(f"{error}\n{tails}") from None
        took_s = time.monotonic() - began
        if self._software.founders and term is not None:
            said = self._state()
            founders = sum(member["founder"] for member in said["members"])
            expected = 1 if self._software.founders == "one" else self._software.size
            if (said["term"], founders) != (term, expected):
                raise Wrong(f"term {said['term']} with {founders} founders, instead of {term} with {expected}")
        return took_s

    def _state(self) -> dict[str, Any]:
        return self.members[0].cluster(self._software.name)

    def _is_formed(self) -> bool:
        return not self._software.founders or bool(self._state().get("formed"))


@dataclass(frozen=True)
class Fault:
    """
    A case beside the boot.

    Args:
        name: For a person.
        strike: It happens, and the cluster stands again; returns how many seconds that took.
        from_a_cluster: It needs one that stands; else it boots one itself.
        quick: Whether `make test` may have it; else a founder that waits in vain may have to give up first.
    """

    name: str
    strike: Callable[[Cluster], float]
    from_a_cluster: bool
    quick: bool = True


def faults(software: Software) -> list[Fault]:
    """All cases of that software but the boot."""
    found = [
        Fault("a member rebuilt", Cluster.rebuilt, True),
        Fault("a member added later", Cluster.added, True),
        Fault("a power cut of all", Cluster.power_cut, True, quick=False),
    ]
    if not software.founders:
        return found
    for point, words in (("verdict", "at its verdict"), ("formed", "before it confirms")):
        found.append(Fault(f"a founder killed {words}", partial(Cluster.founder_killed, point=point), False))
        found.append(
            Fault(f"a founder deleted {words}", partial(Cluster.founder_deleted, point=point), False, quick=False)
        )
    return found


def _tail(machine: Machine) -> str:
    return machine.log.read_text(errors="replace")[-1500:] if machine.log.exists() else ""
