# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Databases: the core rows on PostgreSQL and on Galera, beside SQLite, each under a stand-alone service of its own.

The servers are those of the database tests, durable as they come, on the servers' core together with the service; what
they cost is counted with it. The service before Galera uses the first of three nodes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from tests.databases import Programs, run
from tests.databases.galera import Galera
from tests.databases.postgresql import Postgresql

from bench.crowd import PEER_DATA, SHARED, Crowd, Instance, Project, instances_of
from bench.exchange import Check, ask, holds, request
from bench.load import Load
from bench.load.guests import send
from bench.load.wrk import Wrk
from bench.machine import pinned
from bench.markdown import table, whole
from bench.part import Part, Setting
from bench.rounds import Beside, Line, Measured, Row, measure
from bench.rows import publishes
from bench.rows.reads import check_quiet
from bench.service import Service, Settings
from bench.stage import Stage
from bench.tools import Tools
from peerdata.store import migrate

SIZES = (100, 1_000)
"""Peers of a project."""

BOOT = 400
"""Instances, in projects of 100, that publish for the first time in one round."""

CALLERS = 10

ROUNDS = 3
"""Of each row; of reads and polls a second each."""


@dataclass(frozen=True)
class _Run(run.Run):
    """A run of the database tests that knows what it started."""

    started: list[run.Process] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> run.Process:
        process = super().start(name, command, environment)
        self.started.append(process)
        return process

    def started_since(self, number: int) -> list[int]:
        """The processes that were started after the first *number*."""
        return [process.pid for process in self.started[number:]]


@dataclass(frozen=True)
class _Crowd:
    """Who asks; the same on each database."""

    sized: dict[int, Project]
    booting: list[list[Instance]]
    """For each round."""


def measured(setting: Setting) -> Part:
    """The rows, SQLite as ours and the others beside it."""
    rows = _compare(setting.stage, setting.tools)
    return Part("Databases", _text(rows), lines=[line for row in rows for line in row.lines])


def _compare(stage: Stage, tools: Tools) -> list[Measured]:
    crowd = Crowd()
    sized = {size: crowd.add(f"peers-{size}", size=size)[0] for size in SIZES}
    booting = [instances_of(crowd.add(f"boot-{turn}", size=100, projects=BOOT // 100)) for turn in range(ROUNDS)]
    inventory = stage.directory / "inventory-databases.yaml"
    crowd.write_inventory(inventory)
    with started(stage, inventory, list(SERVERS)) as services:
        for service in services.values():
            for project in sized.values():
                asked = [one.publishes(one.forwarded()) for one in project.instances]
                send(service.port, asked, publishes.check_published)
        rows = _Rows(stage, tools, services, _Crowd(sized, booting))
        return [measure(row, stage, rounds=ROUNDS) for row in rows.make()]


@contextmanager
def started(
    stage: Stage, inventory: Path, names: Sequence[str], *, prefix: str = "peerdata", settings: Settings | None = None
) -> Iterator[dict[str, Service]]:
    """
    A stand-alone service on each database, by its name.

    Args:
        names: Of `SERVERS`.
        prefix: How the names of the services begin.
        settings: Further ones of each service.
    """
    print(f"services on {', '.join(names)}", file=sys.stderr, flush=True)
    with _begun(stage.directory.parent) as servers:
        services = {}
        for name in names:
            number = len(servers.started)
            with pinned(stage.cores.server):
                url = SERVERS[name](servers)
            if url:
                migrate.upgrade(url, busy_timeout_s=10)
            service = services[name] = Service.standalone(
                stage, inventory, name=f"{prefix}-{name.lower()}", database_url=url, settings=settings
            )
            stage.adopt(service.name, servers.started_since(number))
            service.start()
        yield services
        for service in services.values():
            stage.stop(service.name)


def _postgresql(servers: _Run) -> str:
    postgresql = Postgresql(servers)
    postgresql.create()
    postgresql.start()
    return postgresql.new_database()


def _galera(servers: _Run) -> str:
    galera = Galera(servers)
    galera.open()
    return galera.new_database()[0]


SERVERS: Mapping[str, Callable[[_Run], str]] = {
    "SQLite": lambda _servers: "",
    "PostgreSQL": _postgresql,
    "Galera": _galera,
}
"""By the name of the database, what starts its server and gives the URL of an empty database; "" for a file."""


@contextmanager
def _begun(places: Path) -> Iterator[_Run]:
    """A run below *places*, which is on the disk that all stores are on."""
    before, tempfile.tempdir = tempfile.tempdir, str(places)
    try:
        servers = cast(_Run, _Run.begin())
    finally:
        tempfile.tempdir = before
    with servers:
        yield servers


class _Rows:
    """The rows; each is to be measured before the next is made."""

    def __init__(self, stage: Stage, tools: Tools, services: dict[str, Service], crowd: _Crowd) -> None:
        self._stage = stage
        self._tools = tools
        self._services = services
        self._crowd = crowd

    def make(self) -> Iterator[Row]:
        """Reads of each size, polls, publishes."""
        for size, project in self._crowd.sized.items():
            yield self._row(f"shared.json, {size} peers", self._reads(project, SHARED, project.check_shared))
        project = self._crowd.sized[SIZES[0]]
        yield self._row("peer_data.json?since= with nothing new", self._polls(project))
        yield self._row("POST of two new keys, durable", self._publishes)

    def _row(self, title: str, load_of: Callable[[str, Service], Load]) -> Row:
        sqlite, *others = (load_of(name, service) for name, service in self._services.items())
        return Row(f"databases, {title}", sqlite, [Beside(load) for load in others])

    def _reads(self, project: Project, target: str, check: Check) -> Callable[[str, Service], Load]:
        callers = project.instances[:CALLERS]

        def load(name: str, service: Service) -> Load:
            return Wrk(
                self._tools,
                self._stage.directory,
                who=name,
                server=service.name,
                port=service.port,
                requests=[request("GET", target, one.forwarded()) for one in callers],
                check=check,
                seconds=1,
            )

        return load

    def _polls(self, project: Project) -> Callable[[str, Service], Load]:
        def load(name: str, service: Service) -> Load:
            reply = ask(service.port, request("GET", PEER_DATA, project.instances[0].forwarded()))
            holds(b"")(reply)
            target = f"{PEER_DATA}?since={json.loads(reply.body)['revision']}"
            return self._reads(project, target, check_quiet)(name, service)

        return load

    def _publishes(self, name: str, service: Service) -> Load:
        return publishes.ours(service.name, service.port, self._crowd.booting, who=name)


def versions() -> dict[str, str]:
    """As each server says it of itself."""
    programs = Programs.default()
    said = {
        "PostgreSQL": [str(programs.postgresql / "postgres"), "--version"],
        "MariaDB": [str(programs.mariadb / "sbin" / "mariadbd"), "--no-defaults", "--version"],
    }
    found = {}
    for name, command in said.items():
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | programs.environment())
        match = re.search(r"\d+(\.\d+)+", done.stdout)
        found[name] = match[0] if match else "?"
    return found


def _text(rows: Sequence[Measured]) -> str:
    """The part of the page."""
    titles = ("", "requests/s", "spread", "p50 ms", "p99 ms", "CPU µs each", "core", "of SQLite")
    parts = [
        "The same calls, stand-alone, 64 connections, with the store on a server: PostgreSQL, and "
        "three nodes of Galera of which the service uses one, all durable as they come. Everything is on the servers' "
        "core: service, PostgreSQL and all three nodes; **CPU µs each** counts the database with the service. **of "
        "SQLite** is the ratio of the rates. One worker.\n"
    ]
    for row in rows:
        parts.append(f"### {row.row.title.removeprefix('databases, ')}, by database\n")
        lines = [_line(line, row.ours) for line in (row.ours, *row.beside)]
        parts.append(table(titles, lines, "lrrrrrrr"))
    return "\n".join(parts)


def _line(line: Line, sqlite: Line) -> list[str]:
    if line.failure:
        return [line.who, f"**failed**: {line.failure}", *[""] * 6]
    return [
        line.who,
        whole(line.rate),
        f"{line.spread:.0%}",
        f"{line.p50_ms:.2f}",
        f"{line.p99_ms:.2f}",
        f"{line.cpu_us:.1f}",
        f"{line.core:.0%}",
        "" if line is sqlite or sqlite.failure else f"{line.rate / sqlite.rate:.2f} x",
    ]
