# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Growth: what one call costs the servers' core in projects of 10 to 10 000 peers, and beside 10 to 100 000 projects.

In CPU time of the service, which other work on the machine hardly changes. A read may grow, by its bytes; a poll
without news, and a publish, must not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.crowd import PEER_DATA, SHARED, Crowd, instances_of
from bench.exchange import Check, ask, holds, request
from bench.goals import Verdict, at_most
from bench.load import Load
from bench.load.guests import Guests, in_rounds, send
from bench.load.wrk import Wrk
from bench.markdown import table, whole
from bench.part import Part, Setting
from bench.plot import Panel, draw
from bench.rounds import Beside, Line, Row, measure
from bench.rows.publishes import check_published
from bench.rows.reads import check_quiet
from bench.service import Service
from bench.stage import Stage
from bench.stored import Others, fill
from bench.tools import Tools

PEERS = (10, 100, 1_000, 10_000)
"""Of a project, with `USUAL_PROJECTS` stored."""

PROJECTS = (10, 1_000, 100_000)
"""Stored, with the calls in projects of `USUAL_PEERS`."""

USUAL_PEERS = 100
USUAL_PROJECTS = 1_000

MOST_SIZE = 1_000
"""Of a cluster."""

OTHERS_INSTANCES = 4
"""Of each project that is only stored."""

WRITERS = 400
"""Instances, at least, that publish in projects of one size."""

CALLERS = 10
"""Instances of a project that read and poll in turn."""

PAIRS = 60
"""Publishes, each followed by a read of another instance of the project, one at a time."""

ROUNDS = 3
"""Of reads and polls, each of a second."""

PUBLISH_ROUNDS = 5
"""Each of `WRITERS` publishes, which is soon done."""

PICTURE = "benchmarks-growth.svg"
"""Beside the page."""

GROWS_MOST = 1.25
"""What a call that must not grow may cost more at the far end; rounds of the same lie up to that far apart."""


@dataclass(frozen=True)
class Step:
    """What the calls cost in one place; the median of each line counts."""

    peers: int
    projects: int
    shared_bytes: int
    read: Line
    poll: Line
    publish: Line
    pair: Line
    """For each of the two calls of a pair."""
    member: Line | None
    """Of a cluster of all these peers, that waits and asks again; None where they are too many for one."""

    @property
    def lines(self) -> list[Line]:
        """All of them."""
        return [self.read, self.poll, self.publish, self.pair, *([self.member] if self.member else [])]


@dataclass(frozen=True)
class Growth:
    """Everywhere."""

    steps: list[Step]

    @property
    def by_peers(self) -> list[Step]:
        """In projects of each size, smallest first."""
        return sorted((one for one in self.steps if one.projects == USUAL_PROJECTS), key=lambda step: step.peers)

    @property
    def by_projects(self) -> list[Step]:
        """Beside as many projects, fewest first."""
        return sorted((one for one in self.steps if one.peers == USUAL_PEERS), key=lambda step: step.projects)

    @property
    def lines(self) -> list[Line]:
        """Of all steps."""
        return [line for step in self.steps for line in step.lines]


def measured(setting: Setting) -> Part:
    """Everything of this module."""
    growth = _grow(setting.stage, setting.tools)
    return Part("Growth", _text(growth), _verdicts(growth), growth.lines, {PICTURE: draw(_panels(growth))})


def _grow(stage: Stage, tools: Tools) -> Growth:
    """
    Ask for one kind of call everywhere in turn, then for the next: so what disturbs the machine meets all places alike.
    """
    stores = {projects: _Store(stage, projects) for projects in PROJECTS}
    places = [_Place(stage, tools, store, peers) for store in stores.values() for peers in store.sized]
    read = _measure("a read", [place.read() for place in places], stage, rounds=ROUNDS)
    poll = _measure("a quiet poll", [place.poll() for place in places], stage, rounds=ROUNDS)
    publish = _measure("a publish", [place.publish() for place in places], stage, rounds=PUBLISH_ROUNDS)
    pair = _measure("a publish, then a read", [place.pair() for place in places], stage, rounds=1)
    forming = [place for place in places if place.peers <= MOST_SIZE]
    member = dict(
        zip(forming, _measure("a member", [place.member() for place in forming], stage, rounds=ROUNDS), strict=True)
    )
    for store in stores.values():
        stage.stop(store.service.name)
    steps = []
    for number, place in enumerate(places):
        lines = (read[number], poll[number], publish[number], pair[number], member.get(place))
        steps.append(Step(place.peers, place.store.projects, place.shared_bytes, *lines))
    return Growth(steps)


def _measure(what: str, loads: Sequence[Load], stage: Stage, *, rounds: int) -> list[Line]:
    first, *others = loads
    measured = measure(Row(f"growth, {what}", first, [Beside(load) for load in others]), stage, rounds=rounds)
    return [measured.ours, *measured.beside]


class _Store:
    """A stand-alone service with *projects* projects stored, among them some of each of `sized`, which are asked."""

    def __init__(self, stage: Stage, projects: int) -> None:
        print(f"storing {whole(projects)} projects", file=sys.stderr, flush=True)
        self.projects = projects
        crowd = Crowd()
        sizes = PEERS if projects == USUAL_PROJECTS else (USUAL_PEERS,)
        self.sized = {size: crowd.add(f"peers-{size}", size=size, projects=-(-WRITERS // size)) for size in sizes}
        asked = [project for same in self.sized.values() for project in same]
        inventory = stage.directory / f"inventory-{projects}.yaml"
        crowd.write_inventory(inventory)
        self.service = Service.standalone(stage, inventory, name=f"peerdata-{projects}-projects")
        fill(self.service.store, asked, Others(projects - len(asked), OTHERS_INSTANCES))
        self.service.start()


class _Place:
    """Projects of *peers* instances in a store."""

    def __init__(self, stage: Stage, tools: Tools, store: _Store, peers: int) -> None:
        self.store = store
        self.peers = peers
        self._stage = stage
        self._tools = tools
        self._service = store.service
        self._projects = store.sized[peers]
        self._callers = self._projects[0].instances[:CALLERS]
        shared = ask(self._service.port, self._get(SHARED)[0])
        self._projects[0].check_shared(shared)
        self.shared_bytes = len(shared.body)

    def read(self) -> Load:
        """Of shared.json."""
        return self._wrk(self._get(SHARED), check_published)

    def poll(self) -> Load:
        """Of peer_data.json, with nothing new."""
        since = json.loads(ask(self._service.port, self._get(PEER_DATA)[0]).body)["revision"]
        return self._wrk(self._get(f"{PEER_DATA}?since={since}"), check_quiet)

    def publish(self) -> Load:
        """Of two new keys of instances that have some, 64 at a time."""
        writers = instances_of(self._projects)[:WRITERS]

        def batch(number: int) -> Sequence[bytes]:
            return [one.publishes(one.forwarded(), suffix=f"_{number}") for one in writers]

        return self._guests(in_rounds(batch), connections=64)

    def pair(self) -> Load:
        """A publish and a read in turn, in projects that have been read before."""
        writers = instances_of(self._projects)[: PAIRS + 1]
        reads = [request("GET", SHARED, one.forwarded()) for one in writers]
        send(self._service.port, reads[::10], check_published)
        pairs = [
            asked
            for writer, reader in pairwise(writers)
            if writer.project == reader.project
            for asked in (
                writer.publishes(writer.forwarded(), suffix="_and_read"),
                request("GET", SHARED, reader.forwarded()),
            )
        ]
        return self._guests(iter([pairs]), connections=1)

    def member(self) -> Load:
        """Of a cluster of all peers of a project, and of one more for whom they wait."""
        target = f"/openstack/latest/cluster/bench.json?size={min(self.peers + 1, MOST_SIZE)}&founders=all"
        last = self.peers - (self.peers == MOST_SIZE)
        asked = [request("POST", target, one.forwarded()) for one in self._projects[0].instances[:last]]
        waits = holds(b'"verdict":"wait"')
        send(self._service.port, asked, waits)
        return self._wrk(asked[:CALLERS], waits)

    def _get(self, target: str) -> list[bytes]:
        return [request("GET", target, one.forwarded()) for one in self._callers]

    def _wrk(self, asked: Sequence[bytes], check: Check) -> Load:
        return Wrk(
            self._tools,
            self._stage.directory,
            who=self._who,
            server=self._service.name,
            port=self._service.port,
            requests=asked,
            check=check,
            seconds=1,
        )

    def _guests(self, rounds: Iterator[Sequence[bytes]], *, connections: int) -> Load:
        return Guests(
            who=self._who,
            server=self._service.name,
            port=self._service.port,
            rounds=rounds,
            check=check_published,
            connections=connections,
        )

    @property
    def _who(self) -> str:
        return f"{self.peers} peers, {self.store.projects} projects"


def _verdicts(growth: Growth) -> list[Verdict]:
    """That what must not grow does not."""
    ways = (
        (f"{PEERS[0]} to {whole(PEERS[-1])} peers", growth.by_peers),
        (f"{PROJECTS[0]} to {whole(PROJECTS[-1])} projects stored", growth.by_projects),
    )
    return [
        _verdict(f"growth of {what}, {way}", first, last)
        for way, steps in ways
        for what, first, last in (
            ("a quiet poll", steps[0].poll, steps[-1].poll),
            ("a publish", steps[0].publish, steps[-1].publish),
        )
    ]


def _verdict(work: str, first: Line, last: Line) -> Verdict:
    if first.failure or last.failure:
        return at_most(work, GROWS_MOST, None, " x")
    return at_most(work, GROWS_MOST, last.cpu_us / first.cpu_us, " x", doubt=first.doubt or last.doubt)


def _panels(growth: Growth) -> list[Panel]:
    return [
        _panel("peers of the project", [step.peers for step in growth.by_peers], growth.by_peers),
        _panel("projects stored", [step.projects for step in growth.by_projects], growth.by_projects),
    ]


def _panel(title: str, at: Sequence[int], steps: Sequence[Step]) -> Panel:
    lines = {
        "a publish": [_drawn(step.publish) for step in steps],
        "a quiet poll": [_drawn(step.poll) for step in steps],
        "a read": [_drawn(step.read) for step in steps],
    }
    return Panel(title, at, lines)


def _drawn(line: Line) -> float | None:
    return None if line.failure else line.cpu_us


def _text(growth: Growth) -> str:
    return (
        "CPU microseconds of the service for one call, stand-alone; publishes 64 at a time; in the last "
        "column but one one after the other, each publish followed by a read of another instance; in the last one, a "
        "member that waits for its cluster of all these peers asks again and is told of all of them. A poll without "
        f"news and a publish must not grow; that is held to {GROWS_MOST:g} x.\n\n"
        f"![What a read, a quiet poll and a publish cost, by peers and by projects stored]({PICTURE})\n\n"
        f"With {whole(USUAL_PROJECTS)} projects stored, by the size of the project:\n\n"
        f"{_table('peers', [(step.peers, step) for step in growth.by_peers])}\n"
        f"In a project of {USUAL_PEERS} peers, by the number of projects stored:\n\n"
        f"{_table('projects', [(step.projects, step) for step in growth.by_projects])}"
    )


def _table(what: str, steps: Sequence[tuple[int, Step]]) -> str:
    titles = (
        what,
        "shared.json kB",
        "a read",
        "a quiet poll",
        "a publish",
        "a publish, then a read",
        "a member that waits",
    )
    lines = (
        (
            whole(size),
            f"{step.shared_bytes / 1000:.1f}",
            _cost(step.read),
            _cost(step.poll),
            _cost(step.publish),
            _cost(step.pair, 2),
            _cost(step.member) if step.member else "",
        )
        for size, step in steps
    )
    return table(titles, lines, "rrrrrrr")


def _cost(line: Line, times: int = 1) -> str:
    return "**failed**" if line.failure else f"{line.cpu_us * times:.0f}"
