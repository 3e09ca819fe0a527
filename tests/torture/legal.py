# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Histories that are true because one object made them: a model that does one thing after the other, seen by clients
whose requests take so long that they overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from random import Random

from .checker import TAKEN
from .history import Kind, Operation, Outcome, Peer, Shown

Meta = tuple[tuple[str, str], ...]

INSTANCES = ("ann", "bob", "cid")

UNAVAILABLE = "peerdata.store.unavailable"


@dataclass
class Project:
    """The object itself, as docs/protocol.md describes it; without time, and without faults."""

    revision: int = 0
    own: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)
    """Value and sharing, by instance and key."""
    joined: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    def publish(self, who: str, meta: Meta, *, shared: bool) -> bool:
        """Whether it was accepted."""
        mine = self.own.setdefault(who, {})
        if any(key in mine and mine[key] != (value, shared) for key, value in meta):
            return False
        if not all(key in mine for key, _ in meta):
            self.revision += 1
            mine.update({key: (value, shared) for key, value in meta})
            if shared:
                self.joined.setdefault(who, self.revision)
                self.changed[who] = self.revision
        return True

    def peers(self, *, revisions: bool) -> tuple[Peer, ...]:
        """All that share, in the order in which they joined."""
        found = []
        for who, joined in self.joined.items():
            meta = tuple(sorted((key, value) for key, (value, shared) in self.own[who].items() if shared))
            found.append(Peer(who, meta, joined, self.changed[who]) if revisions else Peer(who, meta))
        return tuple(found)

    def show(self, kind: Kind, who: str, since: int | None) -> Shown:
        """The answer to a read, or to an accepted publish."""
        if kind in (Kind.OWN, Kind.PUBLISH):
            mine = self.own.get(who, {})
            return Shown((Peer(who, tuple(sorted((key, value) for key, (value, _) in mine.items()))),))
        if kind is Kind.SHARED:
            return Shown(self.peers(revisions=False))
        peers = self.peers(revisions=True)
        if since is None or since > self.revision:
            return Shown(peers, self.revision)
        return Shown(tuple(peer for peer in peers if (peer.revision or 0) > since), self.revision, full=False)


def explains(operations: Sequence[Operation]) -> bool:
    """Whether one object can have said all this: a search through all orders, for a handful of operations."""
    begun = [one for one in operations if one.outcome is not Outcome.REFUSED or one.status == 409]
    # What nobody knows of may have been done at any time after it began.
    ends = [math.inf if one.outcome is Outcome.UNKNOWN else one.completed for one in begun]
    seen: set[tuple[frozenset[int], str]] = set()

    def search(left: frozenset[int], project: Project) -> bool:
        if all(begun[number].outcome is Outcome.UNKNOWN for number in left):
            return True
        if (left, repr(project)) in seen:
            return False
        seen.add((left, repr(project)))
        first_end = min(ends[number] for number in left)
        for number in left:
            one = begun[number]
            if one.invoked > first_end:
                continue
            after = deepcopy(project)
            if one.kind is not Kind.PUBLISH or after.publish(one.instance, one.meta, shared=one.shared):
                agrees = one.status != 409 and one.shown in (None, after.show(one.kind, one.instance, one.since))
            else:
                agrees = one.outcome is not Outcome.OK
            if agrees and search(left - {number}, after):
                return True
        return False

    return search(frozenset(range(len(begun))), Project())


def make(chance: Random, *, steps: int, name: str = "p", last_look: bool = True) -> list[Operation]:
    """A legal history of so many operations of one project; with a *last_look*, all is read by everyone at its end."""
    project = Project()
    made: list[Operation] = []
    calls: list[tuple[str, Meta, bool]] = []
    for step in range(steps):
        kind = chance.choice((Kind.PUBLISH, Kind.PUBLISH, Kind.SHARED, Kind.PEER_DATA, Kind.FOLLOW, Kind.OWN))
        who = chance.choice(INSTANCES)
        if kind is not Kind.PUBLISH:
            made.append(_read(project, chance, step, kind, who, name))
            continue
        if calls and chance.random() < 0.2:
            who, meta, shared = chance.choice(calls)
        else:
            keys = {f"k{step}", chance.choice(("x", "y", f"z{step}"))} if chance.random() < 0.6 else {f"k{step}"}
            meta = tuple(sorted((key, f"{name}{step}.{key}") for key in keys))
            shared = chance.random() < 0.8
            calls.append((who, meta, shared))
        made.append(_publish(project, chance, step, who, meta, shared=shared, name=name))
    if not last_look:
        return numbered(made)
    lists = (Kind.PEER_DATA, Kind.SHARED, Kind.PEER_DATA, Kind.SHARED)
    made += [
        _read(project, chance, steps + 100 + number, kind, INSTANCES[0], name) for number, kind in enumerate(lists)
    ]
    made += [_read(project, chance, steps + 200, Kind.OWN, who, name) for who in INSTANCES]
    return numbered(made)


def numbered(operations: list[Operation]) -> list[Operation]:
    """The same, in the order in which they began."""
    ordered = sorted(operations, key=lambda one: one.invoked)
    return [replace(one, number=number) for number, one in enumerate(ordered)]


def _times(chance: Random, step: int) -> tuple[float, float]:
    """Around the moment *step*, at which it took effect."""
    return step - chance.choice((0.1, 0.4, 3.3)) * chance.random(), step + chance.choice(
        (0.1, 0.4, 3.3)
    ) * chance.random()


def _read(project: Project, chance: Random, step: int, kind: Kind, who: str, name: str) -> Operation:
    since = chance.randint(0, project.revision) if kind is Kind.FOLLOW else None
    shown = project.show(kind, who, since)
    return Operation(-1, 0, 0, name, who, kind, *_times(chance, step), Outcome.OK, 200, since=since, shown=shown)


def _publish(
    project: Project, chance: Random, step: int, who: str, meta: Meta, *, shared: bool, name: str
) -> Operation:
    fate = chance.random()
    one = Operation(
        -1, 0, 0, name, who, Kind.PUBLISH, *_times(chance, step), Outcome.UNKNOWN, None, "given up", meta, shared
    )
    if fate < 0.1:
        return replace(one, outcome=Outcome.REFUSED, status=503, code=UNAVAILABLE)
    if fate < 0.2:
        return one
    accepted = project.publish(who, meta, shared=shared)
    if fate < 0.3:
        return one
    if accepted:
        return replace(one, outcome=Outcome.OK, status=200, code="", shown=project.show(Kind.PUBLISH, who, None))
    return replace(one, outcome=Outcome.REFUSED, status=409, code=TAKEN)
