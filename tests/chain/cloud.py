# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The cloud: nova, an old and a new metadata agent, two projects with a network on each, and guests in them.

The addresses of the two projects overlap, as they do in practice. Seats stay for
the session; `settle` puts new instances of new projects on them, so that each
test begins with instances that nobody has seen.
"""

import os
import secrets
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import haproxy
from .agents import Agent, Board, Kind, Upstream
from .guest import Guest
from .namespaces import Namespace
from .nova import Instance, Nova
from .peers import Peers
from .run import Run


def chosen_agents() -> dict[str, tuple[int, Kind]]:
    """
    Which agents: the oldest and the newest in use, and with them both kinds.

    PEERDATA_CHAIN_AGENTS chooses others, old and new, such as "25-ovn,27-ovn";
    up to neutron 26 an agent is old.
    """
    names = os.environ.get("PEERDATA_CHAIN_AGENTS", "25-ml2,29-ovn").split(",")
    versions = {label: name.partition("-") for label, name in zip(("old", "new"), names, strict=True)}
    return {label: (int(version), "ovn" if kind == "ovn" else "ml2") for label, (version, _, kind) in versions.items()}


AGENTS = chosen_agents()

# What has to be built for them.
NEEDED = tuple(dict.fromkeys(("nova", "debian", *(f"neutron-{version}" for version, _ in AGENTS.values()))))

# Guests of each project on the network of each agent.
SEATS = {("a", "old"): 3, ("a", "new"): 2, ("b", "old"): 2, ("b", "new"): 2}

# The address range of the network on each agent, the same in every project.
RANGES = {"old": "10.0.0", "new": "10.0.1"}


@dataclass(frozen=True)
class Seat:
    """A place for an instance: a namespace with its address, in a network."""

    project: str
    agent: str
    network: str
    namespace: Namespace
    address: str
    mac: str


@dataclass(frozen=True)
class Tenants:
    """The guests of this moment, by project and agent; `a` and `b` are all of a project, old agent first."""

    a_old: Sequence[Guest]
    a_new: Sequence[Guest]
    b_old: Sequence[Guest]
    b_new: Sequence[Guest]

    @property
    def a(self) -> list[Guest]:
        """Of project A."""
        return [*self.a_old, *self.a_new]

    @property
    def b(self) -> list[Guest]:
        """Of project B."""
        return [*self.b_old, *self.b_new]

    @property
    def all(self) -> list[Guest]:
        """Of both."""
        return [*self.a, *self.b]


class Cloud:
    """Everything but the service; `open` starts it side by side and returns when all of it listens."""

    def __init__(self, run: Run, peers: Peers) -> None:
        self.run = run
        self.peers = peers
        self.secret = secrets.token_hex(16)
        self.nova = Nova(run, peers, self.secret)
        self.board = Board(run.directory / "board.json", Upstream(self.nova.url))
        self.board.plug([])
        self.agents = {
            label: Agent(run, peers, self.board, version=version, kind=kind, secret=self.secret)
            for label, (version, kind) in AGENTS.items()
        }
        self.networks = {place: str(uuid.uuid4()) for place in SEATS}
        self._hubs = {place: Namespace(run, "-".join(place)) for place in SEATS}
        self._seats = [seat for place in SEATS for seat in self._seats_of(place)]
        self._desk = ThreadPoolExecutor(max_workers=1)
        self._next: Future[list[Instance]] | None = None
        self.tenants: Tenants | None = None

    def open(self) -> None:
        """Start all servers."""
        self.nova.start()
        for agent in self.agents.values():
            agent.start()
        with ThreadPoolExecutor() as pool:
            rendered = [pool.submit(self._render, label) for label in AGENTS]
            self._next = self._desk.submit(self._prepare)
            self._wire()
            for done in rendered:
                for place, configuration in done.result().items():
                    haproxy.start(self.run, self.peers, self._hubs[place], configuration)
        for agent in self.agents.values():
            agent.wait()
        self.nova.wait()

    def close(self) -> None:
        """Stop nova's desk; the processes are the run's to end."""
        self._desk.shutdown(wait=False, cancel_futures=True)
        self.nova.close()

    def send_to(self, url: str) -> None:
        """Point both agents at the metadata service *url*."""
        self.board.send_to(Upstream(url))

    def settle(self) -> Tenants:
        """Put new projects in, with a new instance on every seat, which nova knows and nobody has asked for yet."""
        assert self._next, "the cloud is not open"
        instances = self._next.result()
        # The next ones are made while this test runs.
        self._next = self._desk.submit(self._prepare)
        self.board.plug(instances)
        guests: dict[tuple[str, str], list[Guest]] = {place: [] for place in SEATS}
        for seat, instance in zip(self._seats, instances, strict=True):
            guests[seat.project, seat.agent].append(Guest(self.run, self.peers, seat.namespace, instance))
        self.tenants = Tenants(**{f"{project}_{agent}": found for (project, agent), found in guests.items()})
        return self.tenants

    def rest(self) -> None:
        """Return once nothing is being made: nova's own writes fail while another process writes its SQLite file."""
        if self._next:
            self._next.result()

    def _prepare(self) -> list[Instance]:
        projects = {project: uuid.uuid4().hex for project, _ in SEATS}
        instances = [
            Instance(
                project=projects[seat.project],
                name=seat.namespace.label,
                network=seat.network,
                cidr=f"{RANGES[seat.agent]}.0/24",
                gateway=f"{RANGES[seat.agent]}.1",
                address=seat.address,
                mac=seat.mac,
                metadata={"role": "member"},
                user_data=f"#!/bin/sh\n# {seat.namespace.label}\n",
            )
            for seat in self._seats
        ]
        self.nova.create(instances)
        return instances

    def _seats_of(self, place: tuple[str, str]) -> list[Seat]:
        project, agent = place
        return [
            Seat(
                project,
                agent,
                self.networks[place],
                Namespace(self.run, f"{project}-{agent}-{number}"),
                f"{RANGES[agent]}.{10 + number}",
                f"fa:16:3e:{ord(project):02x}:{list(AGENTS).index(agent):02x}:{number:02x}",
            )
            for number in range(1, SEATS[place] + 1)
        ]

    def _render(self, label: str) -> dict[tuple[str, str], Path]:
        places = [place for place in SEATS if place[1] == label]
        files = haproxy.render(self.run, self.agents[label], [self.networks[place] for place in places])
        return {place: files[self.networks[place]] for place in places}

    def _wire(self) -> None:
        """Make the namespaces; a project's two networks are joined as its router would."""
        for place, hub in self._hubs.items():
            hub.add()
            hub.become_network(f"{RANGES[place[1]]}.1", 24)
        for seat in self._seats:
            seat.namespace.add()
            hub = self._hubs[seat.project, seat.agent]
            hub.plug(seat.namespace, seat.mac, seat.address, 24, f"{RANGES[seat.agent]}.1")
        for project in {place[0] for place in SEATS}:
            old, new = self._hubs[project, "old"], self._hubs[project, "new"]
            old.route_to(new, f"{RANGES['old']}.0/24", f"{RANGES['new']}.0/24")
