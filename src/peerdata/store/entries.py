# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What instances have set: the statements, each inside a transaction that its caller began.

A function that refuses does so before it writes, so a transaction may carry the calls of several instances
(`engine.Engine.write` groups them) and one refusal does not touch the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from sqlalchemy import Connection, Insert, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from peerdata.model import Changes, Entry, Instance, Peer
from peerdata.store import schema
from peerdata.store.database import POSTGRESQL, SQLITE

REMOVALS_KEPT = 1000
"""Removals a project remembers, so that a reader who follows `since` hears of them; one further behind reads all."""

RESTORED_STEP = 2**32
"""How far the revisions of a restored store are moved on: more changes than a project sees in its life."""

Decide = Callable[[Mapping[str, Entry], int], tuple[Entry, ...]]
"""(the instance's entries by key, number of keys in the project) -> new entries, or raises."""


def publish(connection: Connection, instance: Instance, decide: Decide, *, now: int) -> dict[str, Entry]:
    """
    Add what *decide* makes of the present state, and give the instance's entries, by key, as they are then.

    The project's row is locked first, so calls of one project are decided one after the other, in the order of their
    revisions.
    """
    revision, project_entries = _lock_project(connection, instance.project_id)
    existing = read_instance(connection, instance)
    new = decide(existing, project_entries)
    if not new:
        return existing
    revision += 1
    _advance(connection, instance.project_id, revision=revision, entries=project_entries + len(new))
    connection.execute(
        insert(schema.entry),
        [
            {
                "project_id": instance.project_id,
                "uuid": instance.uuid,
                "key": entry.key,
                "value": entry.value,
                "shared": entry.shared,
                "published_at": now,
            }
            for entry in new
        ],
    )
    _touch(connection, instance, revision, shares=any(entry.shared for entry in new), known=bool(existing))
    return existing | {entry.key: entry for entry in new}


def _lock_project(connection: Connection, project_id: str) -> tuple[int, int]:
    """Revision and number of entries of the project, which nobody else changes before this transaction ends."""
    table = schema.project
    # SQLite has the lock since the transaction began, and leaves FOR UPDATE out.
    lock = select(table.c.revision, table.c.entries).where(table.c.project_id == project_id).with_for_update()
    row = connection.execute(lock).one_or_none()
    if row is None:
        blank = {"project_id": project_id, "revision": 0, "entries": 0, "forgotten": 0}
        connection.execute(_insert_unless_there(connection, table).values(blank))
        row = connection.execute(lock).one()
    return row.revision, row.entries


def _insert_unless_there(connection: Connection, table: Table) -> Insert:
    """An INSERT that does nothing where somebody else, at the same moment, has put in the row already."""
    if connection.dialect.name == SQLITE:
        return sqlite.insert(table).on_conflict_do_nothing()
    if connection.dialect.name == POSTGRESQL:
        return postgresql.insert(table).on_conflict_do_nothing()
    return insert(table).prefix_with("IGNORE")


def _advance(connection: Connection, project_id: str, *, revision: int, entries: int) -> None:
    connection.execute(
        update(schema.project)
        .where(schema.project.c.project_id == project_id)
        .values(revision=revision, entries=entries)
    )


def _touch(connection: Connection, instance: Instance, revision: int, *, shares: bool, known: bool) -> None:
    """Note on the instance's row that its shared keys changed at *revision*, if *shares*."""
    table = schema.instance
    if not known:
        at = revision if shares else 0
        connection.execute(
            insert(table).values(project_id=instance.project_id, uuid=instance.uuid, joined=at, revision=at)
        )
    elif shares:
        connection.execute(
            update(table)
            .where(table.c.project_id == instance.project_id, table.c.uuid == instance.uuid)
            .values(revision=revision, joined=func.coalesce(func.nullif(table.c.joined, 0), revision))
        )


def read_instance(connection: Connection, instance: Instance) -> dict[str, Entry]:
    """All entries of one instance, shared or not, by key, in alphabetical order."""
    table = schema.entry
    rows = connection.execute(
        select(table.c.key, table.c.value, table.c.shared)
        .where(table.c.project_id == instance.project_id, table.c.uuid == instance.uuid)
        .order_by(table.c.key)
    )
    return {row.key: Entry(row.key, row.value, row.shared) for row in rows}


def read_news(connection: Connection, project_ids: Sequence[str], known: Mapping[str, int]) -> dict[str, Changes]:
    """
    What happened in each of *project_ids* after the revision that is *known* of it; where nothing did it is left out.

    One statement where nothing happened, however many projects.
    """
    revisions: dict[str, int] = {}
    # SQLite takes 32 766 parameters in one statement, before 3.32 only 999.
    for start in range(0, len(project_ids), 500):
        rows = connection.execute(
            select(schema.project.c.project_id, schema.project.c.revision).where(
                schema.project.c.project_id.in_(project_ids[start : start + 500])
            )
        )
        revisions.update((row.project_id, row.revision) for row in rows)
    return {
        project_id: read_changes(connection, project_id, known.get(project_id))
        for project_id in project_ids
        if project_id not in known or revisions.get(project_id, 0) != known[project_id]
    }


def read_changes(connection: Connection, project_id: str, since: int | None) -> Changes:
    """
    What happened in the project after *since*; everything where that is None, or too old, or not yet.

    One snapshot, because the transaction is one.
    """
    row = connection.execute(
        select(schema.project.c.revision, schema.project.c.forgotten).where(schema.project.c.project_id == project_id)
    ).one_or_none()
    if row is None:
        return Changes(0, full=True, peers=(), removed=(), forgotten=0)
    full = since is None or since > row.revision or since < row.forgotten
    after = 0 if full or since is None else since
    removal = schema.removal
    removed = connection.execute(
        select(removal.c.uuid, removal.c.revision)
        .where(removal.c.project_id == project_id, removal.c.revision > after)
        .order_by(removal.c.revision)
    )
    return Changes(
        row.revision,
        full=full,
        peers=tuple(_read_peers(connection, project_id, after)),
        removed=tuple((left.uuid, left.revision) for left in removed),
        forgotten=row.forgotten,
    )


def _read_peers(connection: Connection, project_id: str, after: int) -> Iterable[Peer]:
    """The instances whose shared keys changed after that revision, in the order in which they joined."""
    peer, entry = schema.instance, schema.entry
    rows = connection.execute(
        select(peer.c.uuid, peer.c.joined, peer.c.revision, entry.c.key, entry.c.value)
        .join(entry, (entry.c.project_id == peer.c.project_id) & (entry.c.uuid == peer.c.uuid))
        .where(peer.c.project_id == project_id, peer.c.revision > after, entry.c.shared)
        .order_by(peer.c.joined, entry.c.key)
    )
    for (uuid, joined, revision), group in groupby(rows, key=lambda row: (row[0], row[1], row[2])):
        yield Peer(uuid, joined, revision, {row.key: row.value for row in group})


def remove(connection: Connection, instance: Instance) -> int:
    """Take all entries of an instance away; returns how many there were. It may publish anew, as if never seen."""
    entries, peer, removal = schema.entry, schema.instance, schema.removal
    revision, project_entries = _lock_project(connection, instance.project_id)
    gone = connection.execute(
        delete(entries).where(entries.c.project_id == instance.project_id, entries.c.uuid == instance.uuid)
    ).rowcount
    if not gone:
        return 0
    this = (peer.c.project_id == instance.project_id) & (peer.c.uuid == instance.uuid)
    joined = connection.execute(select(peer.c.joined).where(this)).scalar_one()
    connection.execute(delete(peer).where(this))
    revision += 1
    _advance(connection, instance.project_id, revision=revision, entries=project_entries - gone)
    if joined:  # nobody ever saw one that shared nothing
        left = {"project_id": instance.project_id, "revision": revision, "uuid": instance.uuid}
        connection.execute(insert(removal).values(left))
        _forget_removals(connection, instance.project_id)
    return gone


def _forget_removals(connection: Connection, project_id: str) -> None:
    """Keep the newest `REMOVALS_KEPT`; who follows from before the others must read in full."""
    removal = schema.removal
    newest_to_go = connection.execute(
        select(removal.c.revision)
        .where(removal.c.project_id == project_id)
        .order_by(removal.c.revision.desc())
        .offset(REMOVALS_KEPT)
        .limit(1)
    ).scalar_one_or_none()
    if newest_to_go is None:
        return
    connection.execute(delete(removal).where(removal.c.project_id == project_id, removal.c.revision <= newest_to_go))
    connection.execute(
        update(schema.project).where(schema.project.c.project_id == project_id).values(forgotten=newest_to_go)
    )


def restart_revisions(connection: Connection) -> int:
    """
    After a backup was put back: let nobody take a revision of now for the same one of before.

    Returns:
        The number of projects.

    Every project goes on from a revision that none can have reached before, and whoever follows reads in full once.
    """
    table = schema.project
    moved = table.c.revision + RESTORED_STEP
    # In this order: MySQL sets one column after the other, and would else count the step twice.
    return connection.execute(
        update(table).ordered_values((table.c.forgotten, moved), (table.c.revision, moved))
    ).rowcount


def list_instances(connection: Connection) -> list[tuple[str, str, int, int]]:
    """Project, uuid, number of entries and `joined` of every instance that has entries, by project and uuid."""
    peer, entry = schema.instance, schema.entry
    rows = connection.execute(
        select(peer.c.project_id, peer.c.uuid, func.count(), peer.c.joined)
        .join(entry, (entry.c.project_id == peer.c.project_id) & (entry.c.uuid == peer.c.uuid))
        .group_by(peer.c.project_id, peer.c.uuid, peer.c.joined)
        .order_by(peer.c.project_id, peer.c.uuid)
    )
    return [tuple(row) for row in rows]


def find_projects(connection: Connection, uuid: str) -> list[str]:
    """The projects in which an instance has entries: one, unless an inventory moved it."""
    rows = connection.execute(select(schema.instance.c.project_id).where(schema.instance.c.uuid == uuid))
    return sorted(row.project_id for row in rows)
