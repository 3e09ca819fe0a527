# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Whether a history can be true: each project as one object that keeps the promises of docs/protocol.md. Pure, no I/O.

# Why this decides it, and at what cost

Linearizability is to ask whether all operations can be put into one order in which each takes effect between its
beginning and its end, and in which one copy of the object, asked one thing after the other, would have said the same.
For a register that is a search. For this object most of the order is told.

A *call* is what a publish asks for: an instance, keys with values, shared or not. A call that is repeated is the same
call; two calls never use the same value, so an entry that is seen names the call that set it. Keys are never taken
away, so what can be seen of an instance only grows: its states form a chain, and so do its own documents. A call that
was accepted is a *change*; it took one revision of its project, and every revision is one change (docs/protocol.md:
"grows by one with each accepted change"). A peer tells at which revision it last changed. So

1. a read of peer_data.json stands after the change of its revision and before the next; two at one revision
   must show the same (G2, G4), and one that followed `since` is completed by what stood there before (G6);
2. a change that was seen by itself, as a new state of its peer, stands at the revision that the peer then tells. Where
   two changes of one peer fell between two looks, the last of them stands there, and the others between it and the last
   read that did not show them. A change without shared keys shows its revision to nobody: time alone bounds it;
3. shared.json, an instance's own document and a 409 tell no revision, but what they contain and lack gives a range of
   revisions, which is empty where no moment ever looked like this (G1, G4).

So each operation has a range of revisions, most of them a single one, and two things are left.

An order by revision is linearizable just when no operation that comes later in it ended before an earlier one began:
then points in time can be chosen in that order, one after the other. `_sweep` walks through time and holds against
every operation that begins the highest revision that any ended one proves. With ranges this is the longest path through
a system of differences, which has a solution just when no lower bound passes its upper one (G2, G3).

What was settled, answered 200 or seen by anyone, before a read began must be in it, whatever revisions are told (G3,
G5, G8); what had not been asked for when a read ended must not (G6).

Where every change of a history has a revision of its own, these conditions are also enough, so the answer is exact in
both directions: `Verdict.exact`; `Verdict.placed` says how many have. For the others it is exact in one: what is
reported is a violation, but an order that only fails because two changes would need the same revision may pass. At
least the number of changes is held against the revision. `test_checker.py` holds both claims against a search through
all orders. Keys are never removed in these histories; one that shows it is not decided.

An operation of which nobody knows what it did may have taken effect at any time after it began, or never. A refusal
must be one: 409 where a call that conflicts may stand before it, or a clear 503, in time.

The cost is that of sorting; a read costs one step for each peer that it shows, not for each key.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter

from .history import Kind, Operation, Outcome, Peer, Shown

REFUSAL_MOST_S = 20.0
"""Neutron's agents give up after 32 s, and a call may pass two of them; a refusal comes well before."""

TAKEN = "peerdata.key.taken"
CLEAR_503 = frozenset(("peerdata.store.unavailable", "peerdata.server.busy"))
SILENT = "silent"
"""What a client says that waited for longer than any refusal may take."""

Entry = tuple[str, str, str]
"""Instance, key, value."""


class Undecidable(Exception):
    """This is no history of the kind that can be checked."""


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, and by which operations."""

    promise: str
    message: str
    operations: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.promise}: {self.message}"


@dataclass(frozen=True)
class Verdict:
    """What a history is worth."""

    violations: tuple[Violation, ...]
    changes: int
    """Calls that were accepted, as far as anyone knows."""
    placed: int
    """Those of them whose revision was told."""
    exact: bool
    """Whether nothing was left open, so that no violation means that there is none."""


def check(operations: Sequence[Operation], *, refusal_most_s: float = REFUSAL_MOST_S) -> Verdict:
    """
    Check *operations*, of any number of projects.

    Raises:
        Undecidable.
    """
    violations = [found for one in operations for found in _check_refusal(one, refusal_most_s)]
    calls = _gather_calls(operations)
    by_value = {value: call for call in calls for _, value in call.meta}
    projects: dict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        projects[one.project].append(one)
    calls_of: dict[str, list[_Call]] = defaultdict(list)
    for call in calls:
        calls_of[call.project].append(call)
    checked = [_Project(name, mine, calls_of[name], by_value) for name, mine in projects.items()]
    for project in checked:
        violations += project.check()
    changes = [call for project in checked for call in project.calls if call.applied]
    placed = sum(call.placed for call in changes)
    return Verdict(tuple(violations), len(changes), placed, all(project.exact for project in checked))


def _check_refusal(one: Operation, most_s: float) -> Iterator[Violation]:
    took_s = one.completed - one.invoked
    clear = (one.status == 409 and one.code == TAKEN and one.kind is Kind.PUBLISH) or (
        one.status == 503 and one.code in CLEAR_503
    )
    if one.outcome is not Outcome.OK and one.status is not None and not clear:
        yield Violation("refusals", f"{one} is no clear refusal", (one.number,))
    if one.code == SILENT:
        yield Violation("refusals", f"{one} was not answered in {took_s:.1f} s", (one.number,))
    if one.status is not None and one.outcome is not Outcome.OK and took_s > most_s:
        yield Violation("refusals", f"{one} took {took_s:.1f} s", (one.number,))


@dataclass(eq=False)
class _Call:
    """What one or several publishes asked for."""

    project: str
    instance: str
    meta: tuple[tuple[str, str], ...]
    shared: bool
    operations: list[Operation] = field(default_factory=list)
    invoked: float = math.inf
    """The earliest moment at which it can have been done; infinite where all that asked for it were refused."""
    settled: float = math.inf
    """When somebody first knew that it was done; ``witness`` did."""
    witness: Operation | None = None
    low: int = 0
    """Its revision is above this,"""
    high: float = math.inf
    """and at most this."""

    @property
    def entries(self) -> Iterator[Entry]:
        return ((self.instance, key, value) for key, value in self.meta)

    @property
    def possible(self) -> bool:
        """Whether it can have been done."""
        return self.invoked < math.inf

    @property
    def applied(self) -> bool:
        """Whether anyone knows that it was done."""
        return self.witness is not None

    @property
    def placed(self) -> bool:
        """Whether its revision is known."""
        return self.low + 1 == self.high

    def add(self, one: Operation) -> None:
        """Somebody asked for it."""
        self.operations.append(one)
        if one.outcome is not Outcome.REFUSED:
            self.invoked = min(self.invoked, one.invoked)
        if one.outcome is Outcome.OK:
            self.settle(one.completed, one)

    def settle(self, when: float, witness: Operation) -> None:
        """Somebody knows of it at *when*."""
        if when < self.settled:
            self.settled, self.witness = when, witness

    def __str__(self) -> str:
        return str(self.operations[0])


def _gather_calls(operations: Iterable[Operation]) -> list[_Call]:
    calls: dict[tuple[str, str, tuple[tuple[str, str], ...], bool], _Call] = {}
    owner: dict[str, _Call] = {}
    for one in operations:
        if one.kind is not Kind.PUBLISH:
            continue
        name = (one.project, one.instance, one.meta, one.shared)
        call = calls.setdefault(name, _Call(*name))
        call.add(one)
        for _, value in one.meta:
            if owner.setdefault(value, call) is not call:
                raise Undecidable(f"two calls set the value {value!r}: {owner[value]} and {one}")
    return list(calls.values())


@dataclass(eq=False)
class _State:
    """What an instance had at some time: of shared keys, or of all."""

    meta: tuple[tuple[str, str], ...]
    calls: frozenset[_Call]
    seen: Operation
    """Whoever saw it first."""
    position: int = 0
    new: tuple[_Call, ...] = ()
    """What it has over the state before it in the chain."""
    revision: int | None = None
    last_shown: int = 0
    """The highest revision at which it was read."""
    begun: float = -math.inf
    """When all of it had been asked for; ``latest`` was the last."""
    latest: _Call | None = None
    low: int = 0
    """It began at this revision or a later one,"""
    high: float = math.inf
    """and ended at this one or an earlier one."""


class _Chain:
    """All states of one instance, each with more than the one before; the first is empty."""

    def __init__(self, states: Sequence[_State], calls: Iterable[_Call]) -> None:
        self.states = states
        self.by_meta = {state.meta: state for state in states}
        first = {call: state.position for state in states for call in state.new}
        for before, state in pairwise(states):
            state.begun, state.latest = before.begun, before.latest
            for call in state.new:
                if call.invoked > state.begun:
                    state.begun, state.latest = call.invoked, call
        latest = math.inf
        witness: Operation | None = None
        for state in reversed(states):
            if state.seen.completed < latest:
                latest, witness = state.seen.completed, state.seen
            for call in state.new:
                if witness:
                    call.settle(latest, witness)
        self._calls = list(calls)
        self._first = first
        self._settled: list[float] = []
        self._required: list[tuple[int, _Call]] = []

    def close(self) -> None:
        """Once all that settles calls is known."""
        ordered = sorted((call for call in self._calls if call.applied), key=attrgetter("settled"))
        self._settled = [call.settled for call in ordered]
        self._required = []
        farthest: tuple[int, _Call] | None = None
        for call in ordered:
            position = self._first.get(call, len(self.states))
            if farthest is None or position > farthest[0]:
                farthest = position, call
            self._required.append(farthest)

    def missing(self, state: _State, when: float) -> _Call | None:
        """A call that was settled before *when* and is not in *state*."""
        number = bisect_left(self._settled, when)
        if not number:
            return None
        position, call = self._required[number - 1]
        return call if position > state.position else None


@dataclass(frozen=True, slots=True)
class _Step:
    """An operation or a change on its way through `_Project._sweep`."""

    what: Operation | _Call
    invoked: float
    completed: float
    low: int
    high: float
    changes: bool = False


class _Project:
    """One object."""

    def __init__(
        self, name: str, operations: Sequence[Operation], calls: Sequence[_Call], by_value: Mapping[str, _Call]
    ) -> None:
        self.calls = calls
        self._name = name
        self._operations = operations
        self._reads = [one for one in operations if one.shown]
        self._by_value = by_value
        self._by_entry = {entry: call for call in self.calls for entry in call.entries}
        self._violations: list[Violation] = []
        self._of_instance: dict[str, list[_Call]] = defaultdict(list)
        for call in self.calls:
            self._of_instance[call.instance].append(call)
        self._shared: dict[str, _Chain] = {}
        self._own: dict[str, _Chain] = {}
        self._boards: dict[int, tuple[Operation, tuple[Peer, ...]]] = {}
        self._joined: dict[str, int] = {}

    def check(self) -> list[Violation]:
        """All that is wrong."""
        self._check_winners()
        self._shared = self._build_chains(own=False)
        self._own = self._build_chains(own=True)
        for chain in (*self._shared.values(), *self._own.values()):
            chain.close()
        self._read_boards()
        self._check_listings()
        self._place_changes()
        self._check_reads()
        self._sweep([*self._steps_of_changes(), *self._steps_of_reads(), *self._steps_of_refused()])
        self._count()
        return self._violations

    @property
    def exact(self) -> bool:
        """Whether every change has its place and every answer its board, and nobody met a call that nobody saw."""
        shown = {one.shown.revision for one in self._reads if one.shown and one.shown.revision}
        changes = [call for call in self.calls if call.applied]
        conflicts = [one for one in self._operations if one.status == 409]
        return (
            all(call.placed for call in changes)
            and shown <= self._boards.keys()
            and max(shown, default=0) <= len(changes)
            and all(any(call.applied for call in self._rivals(one)) for one in conflicts)
        )

    def _broken(self, promise: str, message: str, *operations: Operation | _Call | None) -> None:
        numbers = [
            one.number
            for part in operations
            if part
            for one in (part.operations if isinstance(part, _Call) else [part])
        ]
        self._violations.append(Violation(promise, message, tuple(dict.fromkeys(numbers))))

    # Calls among themselves

    def _check_winners(self) -> None:
        """Of calls that conflict one wins, and whoever was refused was refused for a reason."""
        for calls in self._of_instance.values():
            by_key: dict[str, list[_Call]] = defaultdict(list)
            for call in calls:
                for key, _ in call.meta:
                    by_key[key].append(call)
            for key, rivals in by_key.items():
                won = [call for call in rivals if call.witness]
                for one, other in pairwise(won):
                    self._broken("G1", f"both {one} and {other} were answered 200 for key {key!r}", one, other)
            for call in calls:
                taken = next((one for one in call.operations if one.status == 409), None)
                if taken and call.witness:
                    self._broken("G1", f"the same call was answered 200 in {call.witness} and 409 in {taken}", call)

    def _rivals(self, one: Operation) -> list[_Call]:
        """The calls that may have made *one* a 409."""
        keys = {key for key, _ in one.meta}
        return [
            call
            for call in self._of_instance[one.instance]
            if keys & {key for key, _ in call.meta}
            and (call.meta, call.shared) != (one.meta, one.shared)
            and call.invoked <= one.completed
        ]

    # States of instances

    def _build_chains(self, *, own: bool) -> dict[str, _Chain]:
        seen: dict[str, dict[tuple[tuple[str, str], ...], _State]] = defaultdict(dict)
        for one in self._reads:
            assert one.shown
            if (one.kind in (Kind.OWN, Kind.PUBLISH)) is not own:
                continue
            for peer in one.shown.peers:
                states = seen[peer.uuid]
                state = states.get(peer.meta)
                if state is None:
                    states[peer.meta] = _State(peer.meta, self._calls_of(one, peer, own=own), one)
                elif one.completed < state.seen.completed:
                    state.seen = one
        chains = {}
        for uuid in {*seen, *self._of_instance}:
            calls = [call for call in self._of_instance[uuid] if own or call.shared]
            chains[uuid] = _Chain(self._order(seen[uuid].values()), calls)
        return chains

    def _calls_of(self, one: Operation, peer: Peer, *, own: bool) -> frozenset[_Call]:
        """The calls that made what *one* shows of *peer*."""
        calls = set()
        for key, value in peer.meta:
            call = self._by_entry.get((peer.uuid, key, value))
            if call:
                calls.add(call)
                continue
            source = self._by_value.get(value)
            if source is None:
                self._broken("G6", f"{one} shows {key}={value!r} of {peer.uuid}, which nobody published", one)
            elif source.project != self._name:
                self._broken("G9", f"{one} shows what {source} published in project {source.project}", one, source)
            else:
                self._broken("G10", f"{one} shows what {source} published as {key}={value!r} of {peer.uuid}", one)
        shown = set(peer.meta)
        for call in calls:
            if not call.possible:
                self._broken("G1", f"{one} shows {call}, which was refused", one, call)
            if not shown.issuperset(call.meta):
                self._broken("G1", f"{one} shows a part of {call}: {dict(shown & set(call.meta))}", one, call)
            if not own and not call.shared:
                self._broken("G9", f"{one} shows {call}, which was not shared", one, call)
        return frozenset(call for call in calls if call.possible and (own or call.shared))

    def _order(self, states: Iterable[_State]) -> list[_State]:
        """The chain; a state that does not fit into it is a violation, and left out."""
        nobody = Operation(-1, -1, -1, "", "", Kind.OWN, math.inf, math.inf, Outcome.OK)
        chain = [_State((), frozenset(), nobody)]
        for state in sorted(states, key=lambda state: len(state.calls)):
            before = chain[-1]
            if not state.calls and not state.meta:
                before.seen = state.seen
                continue
            if not before.calls < state.calls:
                gone = next(iter(before.calls - state.calls), None)
                what = f"without {gone}" if gone else "in another form"
                self._broken(
                    "G2",
                    f"{before.seen} and {state.seen} cannot follow each other: the one {what}",
                    before.seen,
                    state.seen,
                )
                continue
            state.position = before.position + 1
            state.new = tuple(state.calls - before.calls)
            chain.append(state)
        return chain

    # Revisions

    def _read_boards(self) -> None:
        """What each revision looked like; answers that followed another one are completed."""
        versioned = [(one, one.shown) for one in self._reads if one.shown and one.shown.revision is not None]
        for one, shown in versioned:
            if shown.removed:
                raise Undecidable(f"{one} shows a removal")
            if shown.full:
                self._put_board(one, shown, shown.peers, "G4")
        followed = [pair for pair in versioned if not pair[1].full]
        for one, shown in sorted(followed, key=lambda pair: (pair[1].revision, pair[0].invoked)):
            self._complete(one, shown)

    def _complete(self, one: Operation, shown: Shown) -> None:
        assert shown.revision is not None
        since = one.since or 0
        for peer in shown.peers:
            if peer.revision is None or not since < peer.revision <= shown.revision:
                self._broken("G6", f"{one} shows {peer.uuid} as changed at {peer.revision}", one)
        base = (one, ()) if since == 0 else self._boards.get(since)
        if base:
            board = {peer.uuid: peer for peer in (*base[1], *shown.peers)}
            peers = tuple(sorted(board.values(), key=lambda peer: peer.joined or 0))
            self._put_board(one, shown, peers, "G6")
        elif there := self._boards.get(shown.revision):
            wanted = tuple(peer for peer in there[1] if (peer.revision or 0) > since)
            if wanted != shown.peers:
                self._broken("G6", f"{one} is not what changed after {since} until {there[0]}", one, there[0])

    def _put_board(self, one: Operation, shown: Shown, peers: tuple[Peer, ...], promise: str) -> None:
        assert shown.revision is not None
        there = self._boards.setdefault(shown.revision, (one, peers))
        if there[1] != peers:
            differing = {peer.uuid for peer in {*there[1]} ^ {*peers}} or "the order"
            self._broken(promise, f"{there[0]} and {one} differ at one revision in {differing}", there[0], one)

    def _check_listings(self) -> None:
        """Each answer in the order of `joined`, and what it tells of a peer the same as all others do."""
        told: dict[int, tuple[str, Operation]] = {}
        for one in self._reads:
            assert one.shown
            if one.shown.revision is None:
                continue
            for peer in one.shown.peers:
                assert peer.joined is not None
                assert peer.revision is not None
                if self._joined.setdefault(peer.uuid, peer.joined) != peer.joined:
                    self._broken(
                        "G2", f"{one} says that {peer.uuid} joined at {peer.joined}, not where it did before", one
                    )
                if not peer.joined <= peer.revision <= one.shown.revision:
                    self._broken("G4", f"{one} shows {peer.uuid} at revision {peer.revision}, beyond its own", one)
                state = self._shared[peer.uuid].by_meta.get(peer.meta)
                if state is None:
                    continue
                if state.revision is None:
                    state.revision = peer.revision
                    owner, before = told.setdefault(peer.revision, (peer.uuid, one))
                    if owner != peer.uuid:
                        self._broken(
                            "G2", f"{before} and {one} give revision {peer.revision} to two changes", before, one
                        )
                elif state.revision != peer.revision:
                    self._broken(
                        "G2", f"{one} tells revision {peer.revision} of {peer.uuid}, not {state.revision}", one
                    )
        for one in self._reads:
            assert one.shown
            if one.kind in (Kind.SHARED, Kind.PEER_DATA, Kind.FOLLOW):
                order = [self._joined.get(peer.uuid) for peer in one.shown.peers]
                known = [joined for joined in order if joined is not None]
                if any(one_ >= other for one_, other in pairwise(known)):
                    self._broken("G2", f"{one} does not list the peers in the order in which they joined", one)

    def _place_changes(self) -> None:
        """The range of revisions of every change and every state, from what the boards show and lack."""
        for revision, (_, peers) in self._boards.items():
            there = {peer.uuid: peer.meta for peer in peers}
            for uuid, chain in self._shared.items():
                state = chain.by_meta.get(there.get(uuid, ()), chain.states[0] if uuid not in there else None)
                if state:
                    state.last_shown = max(state.last_shown, revision)
        for uuid, chain in self._shared.items():
            self._place_shared(uuid, chain)
        for chain in self._own.values():
            for before, state in pairwise(chain.states):
                state.low = max(before.low, *(call.low + 1 for call in state.new))
            bound = math.inf
            for state in reversed(chain.states):
                state.high = bound
                bound = min((bound, *(call.high - 1 for call in state.new)))

    def _place_shared(self, uuid: str, chain: _Chain) -> None:
        lacking = chain.states[0].last_shown
        for before, state in pairwise(chain.states):
            lacking = max(lacking, before.last_shown, before.revision or 0)
            if state.revision is not None and state.revision <= lacking:
                self._broken(
                    "G2",
                    f"{state.seen} shows a change of {uuid} at {state.revision}; it was not there at {lacking}",
                    state.seen,
                )
            state.low = max(before.low + 1, lacking + 1, state.revision or 0)
            for call in state.new:
                call.low = lacking
                if state.revision is not None and len(state.new) == 1:
                    call.low = state.revision - 1
        bound = math.inf
        for state in reversed(chain.states):
            state.high = bound
            at = min(bound, math.inf if state.revision is None else state.revision)
            for call in state.new:
                call.high = at
            bound = at - len(state.new)
        first = chain.states[1] if len(chain.states) > 1 else None
        joined = self._joined.get(uuid)
        if first and joined is not None and first.revision is not None:
            alone = len(first.new) == 1
            if joined > first.revision or (alone and joined != first.revision):
                self._broken("G2", f"{first.seen} does not show where {uuid} joined, at {joined}", first.seen)

    # Reads against time

    def _states_of(self, one: Operation) -> Iterator[tuple[_Chain, _State]]:
        """What *one* showed of each instance; nothing of those whose state is a violation already."""
        assert one.shown
        if one.kind in (Kind.OWN, Kind.PUBLISH):
            chains, peers = self._own, one.shown.peers
            absent: Iterable[str] = ()
        else:
            chains, peers = self._shared, one.shown.peers
            if one.shown.revision is not None:
                board = self._boards.get(one.shown.revision)
                if board is None:
                    return
                if not one.shown.full:
                    peers = board[1]
            absent = chains.keys() - {peer.uuid for peer in peers}
        for peer in peers:
            if state := chains[peer.uuid].by_meta.get(peer.meta):
                yield chains[peer.uuid], state
        for uuid in absent:
            yield chains[uuid], chains[uuid].states[0]

    def _check_reads(self) -> None:
        """What was settled before a read is in it; what began after it is not."""
        for one in self._reads:
            assert one.shown
            if one.kind in (Kind.OWN, Kind.PUBLISH) and [peer.uuid for peer in one.shown.peers] != [one.instance]:
                self._broken("G9", f"{one} shows the document of {[peer.uuid for peer in one.shown.peers]}", one)
            for chain, state in self._states_of(one):
                if lost := chain.missing(state, one.invoked):
                    empty = not one.shown.peers and one.shown.full and one.kind is not Kind.OWN
                    how = "answered" if lost.witness in lost.operations else f"shown by {lost.witness}"
                    self._broken("G5" if empty else "G3", f"{one} lacks {lost}, {how} before", one, lost, lost.witness)
                if state.begun > one.completed:
                    self._broken("G6", f"{one} shows {state.latest} before it was asked for", one, state.latest)

    def _steps_of_changes(self) -> Iterator[_Step]:
        for call in self.calls:
            if not call.applied or call.invoked > call.settled:
                continue
            if call.low >= call.high:
                self._broken("G2", f"{call} has no revision: above {call.low}, and at most {call.high:g}", call)
            else:
                yield _Step(call, call.invoked, call.settled, call.low + 1, call.high, changes=True)

    def _steps_of_reads(self) -> Iterator[_Step]:
        for one in self._reads:
            assert one.shown
            low, high = 0, math.inf
            for _, state in self._states_of(one):
                low, high = max(low, state.low), min(high, state.high)
            revision = one.shown.revision
            if revision is not None:
                if not low <= revision <= high:
                    self._broken("G4", f"{one} shows what was there between {low} and {high}, not at its revision", one)
                low, high = revision, revision
            elif low > high:
                self._broken(
                    "G4", f"{one} shows what was there at no revision: some of it from {low}, some until {high}", one
                )
                continue
            yield _Step(one, one.invoked, one.completed, low, high)

    def _steps_of_refused(self) -> Iterator[_Step]:
        for one in self._operations:
            if one.status != 409 or one.kind is not Kind.PUBLISH:
                continue
            rivals = self._rivals(one)
            if not any(call.possible for call in rivals):
                self._broken("G1", f"{one} was refused, but nobody had taken its keys", one)
                continue
            low = min(call.low + 1 for call in rivals if call.possible)
            yield _Step(one, one.invoked, one.completed, low, math.inf)

    def _sweep(self, steps: Sequence[_Step]) -> None:
        """Hold against every operation the highest revision that was proven before it began."""
        ended: list[tuple[float, int, int]] = []
        floor = 0
        proof: _Step | None = None
        ordered = sorted(steps, key=attrgetter("invoked"))
        for number, step in enumerate(ordered):
            while ended and ended[0][0] < step.invoked:
                _, revision, other = heapq.heappop(ended)
                if revision > floor:
                    floor, proof = revision, ordered[other]
            low = max(step.low, floor + step.changes)
            if low > step.high:
                assert proof
                self._broken(
                    "G2" if step.changes and proof.changes else "G3",
                    f"{step.what} is at revision {step.high:g} or before; {proof.what}, which had ended, is at {floor}",
                    step.what,
                    proof.what,
                )
                low = step.low
            heapq.heappush(ended, (step.completed, low, number))

    def _count(self) -> None:
        """A revision is one accepted change: no more than were asked for, no less than were settled."""
        asked = sorted(call.invoked for call in self.calls if call.possible)
        settled = sorted(call.settled for call in self.calls if call.applied)
        for one in self._reads:
            assert one.shown
            revision = one.shown.revision
            if revision is None:
                continue
            most, least = bisect_right(asked, one.completed), bisect_left(settled, one.invoked)
            if revision > most:
                self._broken("G2", f"{one} counts {revision} changes; {most} were asked for", one)
            if revision < least:
                self._broken("G3", f"{one} counts {revision} changes; {least} were settled", one)


def longest_refusal_s(operations: Iterable[Operation]) -> float:
    """The longest that anyone waited for a refusal by a server, 409 aside."""
    refused = (
        one for one in operations if one.status is not None and one.status != 409 and one.outcome is not Outcome.OK
    )
    return max((one.completed - one.invoked for one in refused), default=0.0)


def tally(operations: Iterable[Operation], of: Callable[[Operation], str]) -> Counter[str]:
    """How many operations of each sort."""
    return Counter(map(of, operations))
