# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Prefixes: what `peer_data.json?prefix=` costs on a project as large as its quota allows, beside a full read of it.

A filter should cost what it answers. Two shapes have 20 000 keys: few instances with as many keys as each may have, of
which a prefix finds one, and as many instances as there can be with a key each. No prefix is asked for twice, so that
none is answered from what was filtered before.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from bench.crowd import PEER_DATA, Crowd, Instance, Project
from bench.exchange import AnswerWrong, Check, Reply, ask, holds, request
from bench.goals import Verdict, at_most
from bench.load.flood import flood
from bench.load.guests import Guests, in_rounds
from bench.load.straight import Connection
from bench.load.wrk import Wrk
from bench.markdown import table
from bench.part import Part, Setting
from bench.rounds import Beside, Measured, Row, measure
from bench.service import Service
from bench.stored import PUBLISHED_AT
from peerdata.store import migrate

NAMES = ("prefix",)

WIDE = (160, 125)
TALL = (20_000, 1)
"""Instances, and keys of each: both are 20 000 keys, all that a project may have by default."""

LETTERS = "abcdefgh"
BEGIN = {"wide": "", "tall": "", "long": LETTERS * 26}
TAIL = {"wide": LETTERS, "tall": LETTERS * 14, "long": ""}
"""How the keys begin and end: there is one more prefix for each letter."""

VALUE = {"wide": "10.0.0.1:80", "tall": "10.0.0.1:80", "long": "x" * 255}

ROUNDS = 3

CALLS = {"wide": 100, "tall": 12}
"""Filtered reads of a round, each with a prefix of its own."""

BROAD = 100
"""Reads of the long shape, each with a prefix of its own that finds all keys but one; then memory is looked at."""

QUIET_S = 1.5
"""Of one measurement of the other project."""

WIDE_MS = 0.2
"""What a filtered read may cost that answers one key of each of 160 instances. A full read is no measure for it: it is
one text which all its readers share, so it costs what sending costs, however much it says."""

TALL_MS = 8.0
"""What one with an answer from each of 20 000 instances may cost: nobody else is answered meanwhile."""

QUIET_READS = 2
"""Filtered reads for whose CPU time another project's poll may wait: the one under way and the next of that client."""

GROWTH_MIB = 50
"""Five answers: each of them is 10 MB."""


@dataclass(frozen=True)
class Shape:
    """A project of one shape, in a service of its own."""

    name: str
    service: Service
    project: Project
    quiet: Instance
    """Of the other project."""
    keys: int

    def full(self) -> bytes:
        """A read without a prefix."""
        return request("GET", PEER_DATA, self.project.instances[0].forwarded())

    def filtered(self, turn: int) -> list[bytes]:
        """Reads of a round, each with a prefix that finds one key of every instance; no two rounds have the same."""
        letters = turn * len(TAIL[self.name]) // (ROUNDS + 1)
        prefixes = (
            _key(self.name, key)[: len("key_000_") + letters + 1 + call // self.keys]
            for call in range(CALLS[self.name])
            for key in (call % self.keys,)
        )
        caller = self.project.instances[0].forwarded()
        return [request("GET", f"{PEER_DATA}?prefix={prefix}", caller) for prefix in prefixes]

    def further(self) -> list[bytes]:
        """As many more reads as there are with prefixes that no round has, which find one key of every instance."""
        caller = self.project.instances[0].forwarded()
        return [
            request("GET", f"{PEER_DATA}?prefix={_key(self.name, key)[: len('key_000_') + letters]}", caller)
            for letters in range(0, len(TAIL[self.name]) + 1, 2)
            for key in range(self.keys)
        ]

    def broad(self, number: int) -> bytes:
        """A read with a prefix that finds every key but the first of each instance."""
        caller = self.project.instances[0].forwarded()
        return request("GET", f"{PEER_DATA}?prefix={_key(self.name, 1)[: number + 1]}", caller)


def _key(shape: str, number: int) -> str:
    return f"{BEGIN[shape] if number else ''}key_{number:03}_{TAIL[shape]}"


def measured(setting: Setting, _names: Collection[str]) -> Iterator[Part]:
    """Everything of this module."""
    print("prefixes: 20 000 keys stored, twice", file=sys.stderr, flush=True)
    stage = setting.stage
    wide, tall = _shape(setting, "wide", *WIDE), _shape(setting, "tall", *TALL)
    rows = [_costs(setting, wide, "160 instances with 125 keys, one found of each", ours="prefix of one key in 125")]
    rows.append(_costs(setting, tall, "20 000 instances with one key, which is found", ours="prefix of that key"))
    beside = {
        "alone": _quiet_ms(setting, wide, []),
        "full reads": _quiet_ms(setting, wide, [wide.full()]),
        "filtered reads": _quiet_ms(setting, wide, wide.further()),
    }
    long = _shape(setting, "long", *WIDE)
    growth = _growth_bytes(setting, long)
    for shape in (wide, tall, long):
        stage.stop(shape.service.name)
    lines = [line for row in rows for line in row.lines]
    yield Part("Prefixes", _text(rows, beside, growth), _verdicts(rows, beside, growth), lines)


def _shape(setting: Setting, name: str, instances: int, keys: int) -> Shape:
    """A stand-alone service whose store has that many instances with keys, and one of another project."""
    crowd = Crowd()
    project, quiet = crowd.add(name, size=instances)[0], crowd.add(f"{name}-quiet", size=1)[0]
    inventory = setting.stage.directory / f"inventory-{name}.yaml"
    crowd.write_inventory(inventory)
    service = Service.standalone(setting.stage, inventory, name=f"peerdata-{name}")
    _fill(service, project, name, keys)
    service.start()
    return Shape(name, service, project, quiet.instances[0], keys)


def _fill(service: Service, project: Project, shape: str, keys: int) -> None:
    migrate.upgrade(f"sqlite:///{service.store}", busy_timeout_s=10)
    members = [(project.name, one.uuid, number) for number, one in enumerate(project.instances, 1)]
    entries = (
        (name, uuid, _key(shape, key), VALUE[shape], 1, PUBLISHED_AT)
        for name, uuid, _ in members
        for key in range(keys)
    )
    with closing(sqlite3.connect(service.store)) as connection, connection:
        connection.execute(
            "INSERT INTO project (project_id, revision, entries, forgotten) VALUES (?, ?, ?, 0)",
            (project.name, len(members), len(members) * keys),
        )
        connection.executemany(
            "INSERT INTO instance (project_id, uuid, joined, revision) VALUES (?, ?, ?, ?)",
            ((name, uuid, number, number) for name, uuid, number in members),
        )
        connection.executemany(
            "INSERT INTO entry (project_id, uuid, key, value, shared, published_at) VALUES (?, ?, ?, ?, ?, ?)", entries
        )


def _costs(setting: Setting, shape: Shape, title: str, *, ours: str) -> Measured:
    server, port = shape.service.name, shape.service.port
    full = Wrk(
        setting.tools,
        setting.stage.directory,
        who="full read",
        server=server,
        port=port,
        requests=[shape.full()],
        check=_has(len(shape.project.instances), shape.keys),
        seconds=setting.seconds,
        connections=1,
    )
    filtered = Guests(
        who=ours,
        server=server,
        port=port,
        rounds=in_rounds(shape.filtered),
        check=holds(b"from_server_key_"),
        connections=1,
    )
    _has(len(shape.project.instances), 1)(ask(port, shape.filtered(ROUNDS)[0]))
    return measure(Row(title, filtered, [Beside(full)]), setting.stage, rounds=ROUNDS)


def _has(peers: int, keys: int) -> Check:
    """That many peers with that many keys each."""

    def check(reply: Reply) -> None:
        holds(b"")(reply)
        found = json.loads(reply.body)["peers"]
        if len(found) != peers or any(len(peer["meta"]) != keys for peer in found):
            raise AnswerWrong(f"not {peers} peers with {keys} keys each, but {len(found)}: {reply.body[:200]!r}")

    return check


def _quiet_ms(setting: Setting, shape: Shape, beside: Sequence[bytes]) -> float:
    """Median milliseconds of the other project's quiet poll, while one connection asks for *beside* in turn."""
    poll = request("GET", f"{PEER_DATA}?since=0", shape.quiet.forwarded())
    took = []

    def poll_for_a_while() -> None:
        until = time.monotonic() + QUIET_S
        with Connection(shape.service.port) as connection:
            while time.monotonic() < until:
                began = time.perf_counter()
                connection.ask(poll)
                took.append(time.perf_counter() - began)

    if beside:
        with flood(setting.tools, setting.stage.directory, shape.service.port, beside, seconds=2, connections=1):
            time.sleep(0.2)
            poll_for_a_while()
    else:
        poll_for_a_while()
    return statistics.median(took) * 1000


def _growth_bytes(setting: Setting, long: Shape) -> int:
    """What the service has taken for `BROAD` reads, each with a prefix of its own."""
    stage, server = setting.stage, long.service.name
    with Connection(long.service.port) as connection:
        everything = len(connection.ask(long.full()).body)
        before = stage.resident_bytes(server)
        for number in range(BROAD):
            found = len(connection.ask(long.broad(number)).body)
            if not 0.95 * everything < found < everything:
                raise AnswerWrong(f"a prefix of 124 of 125 keys found {found} bytes of {everything}")
    return stage.resident_bytes(server) - before


def _verdicts(rows: Sequence[Measured], beside: dict[str, float], growth: int) -> list[Verdict]:
    wide, tall = rows
    wide_ms, tall_ms = (None if row.ours.failure else row.ours.cpu_us / 1000 for row in (wide, tall))
    waited = max(0.0, beside["filtered reads"] - beside["alone"])
    return [
        at_most("peer_data.json?prefix= that answers 1 of 125 keys, CPU", WIDE_MS, wide_ms, " ms"),
        at_most("peer_data.json?prefix= with 20 000 peers, CPU", TALL_MS, tall_ms, " ms"),
        at_most(
            "another project's quiet poll beside filtered reads, p50 above alone",
            QUIET_READS,
            waited / wide_ms if wide_ms else None,
            " x the CPU of one of those",
        ),
        at_most(f"memory, after {BROAD} prefixes of 124 in 125 keys", GROWTH_MIB, max(0, growth) / 2**20, " MiB more"),
    ]


def _text(rows: Sequence[Measured], beside: dict[str, float], growth: int) -> str:
    lines = []
    for row in rows:
        for line in (*row.beside, row.ours):
            cells = [f"**failed**: {line.failure}", ""]
            if not line.failure:
                cells = [f"{line.cpu_us / 1000:.2f}", f"{line.p50_ms:.2f}"]
            lines.append([row.row.title, line.who, *cells])
    quiet = [(what, f"{p50_ms:.2f}") for what, p50_ms in beside.items()]
    return (
        "`peer_data.json` of a project with 20 000 keys, all that it may have by default, stand-alone, one connection; "
        "no prefix twice. A full read is one text that all its readers share, so it costs what sending costs; a filter "
        "looks at each instance, and should cost what it answers: its goals are in milliseconds.\n\n"
        + table(("project", "read", "CPU ms each", "p50 ms"), lines, "llrr")
        + "\nA quiet poll of another project, one after the other over one connection, while one connection reads the "
        "project of 160 instances:\n\n"
        + table(("meanwhile", "p50 ms"), quiet, "lr")
        + f"\nAfter {BROAD} reads of 160 instances with 125 of the longest keys and values, each with another prefix "
        f"that finds 124 of them, the service had {growth / 2**20:.0f} MiB more.\n"
    )
