# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.databases.measure`: what a commit, a causal read and an advance of a counter cost on each server here.

The rows of a table are measured in turn, again and again, so that other work on
the machine meets all of them. "quiet" is the smallest of the medians of the
turns; p50 and p99 are of everything. All statements go through the bare driver,
so SQLAlchemy's own time is not in them.
"""

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from sqlalchemy import Engine

from . import Programs
from .galera import Galera
from .mariadb import Mariadb
from .postgresql import Postgresql
from .run import Run
from .sql import ADVANCE, READ, ask, connect, prepared

TURNS = 12
CALLS = 60

UPSERT = "INSERT INTO project VALUES ('a', 1) ON {} revision = project.revision + 1 RETURNING revision"
ON_MARIADB = UPSERT.format("DUPLICATE KEY UPDATE")
ON_OTHERS = UPSERT.format("CONFLICT (project_id) DO UPDATE SET")
LAST_INSERT_ID = "UPDATE project SET revision = LAST_INSERT_ID(revision + 1) WHERE project_id = 'a'"

Work = Callable[[], object]


class Session:
    """One connection of the bare driver."""

    def __init__(self, engine: Engine, *first: str) -> None:
        self._connection: Any = engine.raw_connection()  # held, or the pool would give it to the next one
        self._cursor = self._connection.cursor()
        for statement in first:
            self.run(statement)
        self._connection.commit()

    def run(self, *statements: str) -> object:
        """The rows of the last of *statements*, each a round trip."""
        for statement in statements:
            self._cursor.execute(statement)
        return self._cursor.fetchall() if self._cursor.description else None

    def commit(self, *statements: str) -> None:
        """Run *statements* in a transaction of their own."""
        self.run(*statements)
        self._connection.commit()


def main() -> int:
    """Measure everything, and print it as tables."""
    if reason := Programs.default().why_not():
        print(reason, file=sys.stderr)
        return 1
    with Run.begin() as run:
        started = time.monotonic()
        cluster = Galera(run)
        cluster.open()
        print(f"cluster of 3 open in {time.monotonic() - started:.1f} s", flush=True)
        urls = cluster.new_database()
        galera = {number: connect(url, pool_size=20) for number, url in zip(cluster.numbers, urls, strict=True)}
        prepared(urls[0], "a")
        commits(run, galera[1])
        causal_reads(galera)
        counts_of_causal_reads(galera[2])
        staleness(galera)
    return 0


def commits(run: Run, galera: Engine) -> None:
    """One writer, one row: an update and a commit, and the ways to read the new value in the same round trip."""
    engines: dict[str, Engine] = {"Galera": galera}
    for name, server in (("PostgreSQL", Postgresql(run)), ("MariaDB", Mariadb(run))):
        server.create()
        server.start()
        engines[name] = prepared(server.new_database(), "a")
    engines["SQLite"] = prepared(f"sqlite:///{run.directory}/measured.sqlite", "a")
    work: dict[str, Work] = {"4 KiB appended to a file, fdatasync": _appending(run)}
    update_then_read = (ADVANCE.format("a"), READ.format("a"))
    for name, engine in engines.items():
        ways = {
            "UPDATE": (ADVANCE.format("a"),),
            "UPDATE, then SELECT": update_then_read,
            "upsert RETURNING": (ON_MARIADB if "MariaDB" in name or "Galera" in name else ON_OTHERS,),
        }
        if name in ("Galera", "MariaDB"):
            ways["UPDATE with LAST_INSERT_ID()"] = (LAST_INSERT_ID,)
        for way, statements in ways.items():
            first = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL") if name == "SQLite" else ()
            session = Session(engine, *first)
            work[f"{name}: {way}, COMMIT"] = partial(session.commit, *statements)
    table("commit", work)


def causal_reads(galera: Mapping[int, Engine]) -> None:
    """A trivial read on node 2, while nothing is written."""
    read = READ.format("a")
    plain = Session(galera[2], "SET SESSION autocommit = 1", "SET SESSION wsrep_sync_wait = 0")
    causal = Session(galera[2], "SET SESSION autocommit = 1", "SET SESSION wsrep_sync_wait = 1")
    (seen,) = plain.run("SELECT WSREP_LAST_SEEN_GTID()")[0]  # type: ignore[index]
    until_seen = f"SELECT WSREP_SYNC_WAIT_UPTO_GTID('{seen.decode()}')"
    table(
        "read on node 2, nothing written meanwhile",
        {
            "DO 1": lambda: plain.run("DO 1"),
            "SELECT": lambda: plain.run(read),
            "SELECT, wsrep_sync_wait = 1": lambda: causal.run(read),
            "SET STATEMENT wsrep_sync_wait = 1 FOR SELECT": lambda: plain.run(
                f"SET STATEMENT wsrep_sync_wait = 1 FOR {read}"
            ),
            "BEGIN, SELECT, COMMIT": lambda: plain.run("BEGIN", read, "COMMIT"),
            "BEGIN, SELECT, COMMIT, wsrep_sync_wait = 1": lambda: causal.run("BEGIN", read, "COMMIT"),
            "SELECT WSREP_LAST_SEEN_GTID()": lambda: plain.run("SELECT WSREP_LAST_SEEN_GTID()"),
            "SELECT WSREP_SYNC_WAIT_UPTO_GTID(seen), then SELECT": lambda: plain.run(until_seen, read),
        },
    )
    ended = threading.Event()
    writers = [Session(galera[1]) for _ in range(4)]

    def write(number: int) -> None:
        while not ended.is_set():
            writers[number].commit(
                f"INSERT INTO project VALUES ('w{number}', 1) {ON_MARIADB[ON_MARIADB.index('ON') :]}"
            )

    with ThreadPoolExecutor() as pool:
        writing = [pool.submit(write, number) for number in range(len(writers))]
        table(
            "read on node 2, four writers at node 1 meanwhile",
            {"SELECT": lambda: plain.run(read), "SELECT, wsrep_sync_wait = 1": lambda: causal.run(read)},
        )
        ended.set()
        for outcome in writing:
            outcome.result()


def counts_of_causal_reads(node: Engine) -> None:
    """How many reads a second one node answers to several readers at once; the readers share Python's one thread."""
    print("\n| readers | SELECT a second | with wsrep_sync_wait = 1 |\n|---:|---:|---:|")
    for readers in (1, 8, 32):
        counts = [_reads_a_second(node, readers, wait) for wait in (0, 1)]
        print(f"| {readers} | {counts[0]:.0f} | {counts[1]:.0f} |", flush=True)


def _reads_a_second(node: Engine, readers: int, wait: int) -> float:
    engine = connect(node.url.render_as_string(hide_password=False), pool_size=readers)
    first = ("SET SESSION autocommit = 1", f"SET SESSION wsrep_sync_wait = {wait}")
    sessions = [Session(engine, *first) for _ in range(readers)]
    end = time.monotonic() + 2

    def read(session: Session) -> int:
        done = 0
        while time.monotonic() < end:
            session.run(READ.format("a"))
            done += 1
        return done

    with ThreadPoolExecutor(readers) as pool:
        return sum(pool.map(read, sessions)) / 2


def staleness(galera: Mapping[int, Engine]) -> None:
    """How often node 2 does not know yet what node 1 has answered, one after the other, nothing else going on."""
    print("\n| wsrep_sync_wait | stale reads of 500 |\n|---:|---:|")
    for wait in (0, 1):
        stale = 0
        with galera[1].connect() as writer, galera[2].connect() as reader:
            ask(reader, f"SET SESSION wsrep_sync_wait = {wait}")
            for _ in range(500):
                revision = ask(writer, ON_MARIADB)
                writer.commit()
                stale += ask(reader, READ.format("a")) != revision
                reader.rollback()
        print(f"| {wait} | {stale} |", flush=True)


def table(title: str, work: Mapping[str, Work]) -> None:
    """Measure the rows in turn, and print them."""
    times: dict[str, list[list[float]]] = {name: [] for name in work}
    for _ in range(TURNS):
        for name, call in work.items():
            turn = []
            for _ in range(CALLS):
                began = time.perf_counter()
                call()
                turn.append((time.perf_counter() - began) * 1e6)
            times[name].append(turn)
    print(f"\n| {title} | quiet µs | p50 µs | p99 µs |\n|---|---:|---:|---:|")
    for name, turns in times.items():
        every = sorted(time_us for turn in turns for time_us in turn)
        quiet = min(map(statistics.median, turns))
        print(f"| {name} | {quiet:.0f} | {every[len(every) // 2]:.0f} | {every[len(every) * 99 // 100]:.0f} |")
    sys.stdout.flush()


def _appending(run: Run) -> Work:
    """What the disk itself takes: the bound of every commit above."""
    file = os.open(run.directory / "appended", os.O_CREAT | os.O_WRONLY)

    def append() -> None:
        os.write(file, bytes(4096))
        os.fdatasync(file)

    return append


if __name__ == "__main__":
    sys.exit(main())
