# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Stored: SQLite stores with as many projects and instances as nobody wants to wait for, written straight into the tables.

The service's own migrations make the schema. Instances come in the order in which they would arrive, all projects
mixed, with random uuids; only the transactions are larger than those of a service.
"""

from __future__ import annotations

import random
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.crowd import Instance, Project
from peerdata.store import migrate

PUBLISHED_AT = 1_700_000_000

SEED = 169_254


@dataclass(frozen=True)
class Others:
    """Projects that are there, of instances that nobody has to know one by one."""

    projects: int
    instances: int
    """Of each project."""
    keys: int = 2
    """Of each instance, all shared."""

    def name(self, number: int) -> str:
        """Of a project, as keystone would give it."""
        return f"{0xA11_0000_0000 + number:032x}"

    def uuids(self, number: int) -> list[str]:
        """Of the instances of a project, in the order in which they joined."""
        chance = random.Random(SEED + number)
        return [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(self.instances)]


def fill(path: Path, projects: Sequence[Project] = (), others: Others | None = None) -> None:
    """
    Make a store at *path* in which everybody has published.

    Args:
        projects: With what `Instance.keys` says.
        others: Besides.
    """
    migrate.upgrade(f"sqlite:///{path}", busy_timeout_s=10)
    with closing(sqlite3.connect(path)) as connection:
        # Nothing is lost if this is: it would be made again.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        for project in projects:
            members = [(one.project, one.uuid, one.keys) for one in project.instances]
            _write(connection, {project.name: len(members)}, members)
        if others:
            sizes = dict.fromkeys(map(others.name, range(others.projects)), others.instances)
            _write(connection, sizes, list(_arriving(others)), keys=others.keys)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_Member = tuple[str, str, dict[str, str]]


def _arriving(others: Others) -> Iterator[_Member]:
    """The first of each project, the second of each, and so on."""
    names = [others.name(number) for number in range(others.projects)]
    uuids = [others.uuids(number) for number in range(others.projects)]
    number = 0
    for place in range(others.instances):
        for name, members in zip(names, uuids, strict=True):
            yield name, members[place], Instance(number, name).keys
            number += 1


def _write(connection: sqlite3.Connection, sizes: dict[str, int], members: Sequence[_Member], *, keys: int = 2) -> None:
    """*members* join their projects one after the other; each call sets *keys* keys."""
    with connection:
        connection.executemany(
            "INSERT INTO project (project_id, revision, entries, forgotten) VALUES (?, ?, ?, 0)",
            ((name, size, keys * size) for name, size in sizes.items()),
        )
        connection.executemany(
            "INSERT INTO instance (project_id, uuid, joined, revision) VALUES (?, ?, ?, ?)", _joining(members)
        )
        connection.executemany(
            "INSERT INTO entry (project_id, uuid, key, value, shared, published_at) VALUES (?, ?, ?, ?, 1, ?)",
            (
                (name, member, key, value, PUBLISHED_AT)
                for name, member, entries in members
                for key, value in list(entries.items())[:keys]
            ),
        )


def _joining(members: Iterable[_Member]) -> Iterator[tuple[str, str, int, int]]:
    revisions: dict[str, int] = {}
    for name, member, _ in members:
        revision = revisions[name] = revisions.get(name, 0) + 1
        yield name, member, revision, revision


def bytes_a_key(directory: Path, others: Others) -> float:
    """Of the file of a store with *others*, after a checkpoint."""
    path = directory / f"keys-{others.keys}.sqlite"
    fill(path, others=others)
    size = path.stat().st_size
    path.unlink()
    return size / (others.projects * others.instances * others.keys)
