# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What instances have set: the statements, each inside a transaction that its caller began.

A call that is refused is refused before anything is written, so a transaction may carry the calls of several instances
(`engine.Engine` groups them) and one refusal does not touch the others.

What every publish and every refresh of a board asks is built once, see `store.rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    LargeBinary,
    Row,
    Select,
    Table,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from peerdata.errors import PeerdataError
from peerdata.model import Changes, Entry, Instance, Peer, Usage
from peerdata.store import schema
from peerdata.store.database import POSTGRESQL, SQLITE
from peerdata.store.rows import execute_all, insert_all, select_for

REMOVALS_KEPT = 1000
"""Removals a project remembers, so that a reader who follows `since` hears of them; one further behind reads all."""

CHANGES_A_SECOND = 2**20
"""More than a project ever sees, so that no revision is above the seconds since 1970 times this."""

Decide = Callable[[Mapping[str, Entry], Usage], tuple[Entry, ...]]
"""(the instance's entries by key, what the project holds) -> new entries, or raises."""

_project, _instance, _entry, _removal = schema.project, schema.instance, schema.entry, schema.removal
_restoration = schema.restoration


def _projects(number: int) -> Select[str, int, int, int, int]:
    """So many projects."""
    columns = (_project.c.project_id, _project.c.revision, _project.c.entries, _project.c.bytes, _project.c.bytes_at)
    return select(*columns).where(_project.c.project_id.in_([bindparam(f"p{place}") for place in range(number)]))


def _projects_locked(number: int) -> Select[str, int, int, int, int]:
    """The same, locked. SQLite has the lock since the transaction began, and leaves FOR UPDATE out."""
    # In one order, so that two who lock several do not wait for each other.
    return _projects(number).order_by(_project.c.project_id).with_for_update()


_ADVANCE_PROJECT = update(_project).where(_project.c.project_id == bindparam("of_project"))
_ADVANCE_BY_ONE = _ADVANCE_PROJECT.ordered_values(
    # In this order: MariaDB goes on with what it has just set.
    (_project.c.bytes_at, case((_project.c.bytes_at == _project.c.revision, _project.c.revision + 1), else_=-1)),
    (_project.c.revision, _project.c.revision + 1),
)
_SHARE_MORE = (
    update(_instance)
    .where(_instance.c.project_id == bindparam("of_project"), _instance.c.uuid == bindparam("of_uuid"))
    .values(
        revision=bindparam("at"),
        joined=func.coalesce(func.nullif(_instance.c.joined, literal_column("0")), bindparam("at")),
    )
)
_READ_REVISIONS = select(_project.c.project_id, _project.c.revision).where(
    _project.c.project_id.in_(bindparam("project_ids", expanding=True))
)
_READ_PROJECT = select(_project.c.revision, _project.c.forgotten).where(
    _project.c.project_id == bindparam("project_id")
)
_READ_FIRST_REVISION = select(func.coalesce(func.max(_restoration.c.revision), 0))
_READ_REMOVALS = (
    select(_removal.c.uuid, _removal.c.revision)
    .where(_removal.c.project_id == bindparam("project_id"), _removal.c.revision > bindparam("after"))
    .order_by(_removal.c.revision)
)
_READ_PEERS = (
    select(_instance.c.uuid, _instance.c.joined, _instance.c.revision, _entry.c.key, _entry.c.value)
    .join(_entry, (_entry.c.project_id == _instance.c.project_id) & (_entry.c.uuid == _instance.c.uuid))
    .where(
        _instance.c.project_id == bindparam("project_id"), _instance.c.revision > bindparam("after"), _entry.c.shared
    )
    .order_by(_instance.c.joined, _entry.c.key)
)


def _entries_of(number: int) -> Select[str, str, str, str, bool]:
    """
    The entries of so many instances, keys in alphabetical order.

    Pairs joined by OR are what all three databases find by the primary key; `(project_id, uuid) IN` makes SQLite read
    the whole table.
    """
    these = (
        (_entry.c.project_id == bindparam(f"p{2 * place}")) & (_entry.c.uuid == bindparam(f"p{2 * place + 1}"))
        for place in range(number)
    )
    columns = (_entry.c.project_id, _entry.c.uuid, _entry.c.key, _entry.c.value, _entry.c.shared)
    return select(*columns).where(or_(*these)).order_by(_entry.c.key)


@dataclass(frozen=True, slots=True)
class Offer:
    """What one instance wants to publish."""

    instance: Instance
    decide: Decide
    now: int
    """UTC, whole seconds since 1970."""


@dataclass(slots=True)
class _Project:
    """A locked project, as it will be after what has been accepted so far."""

    revision: int
    entries: int
    bytes: int | None
    """None: not known, see `_count_uncounted`."""

    def usage(self) -> Usage:
        """What it holds; counted by now."""
        assert self.bytes is not None
        return Usage(self.entries, self.bytes)

    def add(self, new: Sequence[Entry]) -> None:
        """Move on by one change."""
        self.revision += 1
        self.entries += len(new)
        if self.bytes is not None:
            self.bytes += sum(entry.bytes for entry in new)


_NOTHING = _Project(0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """An offer of which something is new."""

    offer: Offer
    new: tuple[Entry, ...]
    revision: int
    known: bool
    """The instance had entries before."""

    @property
    def shares(self) -> bool:
        return any(entry.shared for entry in self.new)


def publish_offer(connection: Connection, offer: Offer) -> dict[str, Entry]:
    """One offer by itself; what `publish_all` gives for it, or raises the refusal."""
    (outcome,) = publish_all(connection, (offer,))
    if isinstance(outcome, PeerdataError):
        raise outcome
    return outcome


def publish_all(connection: Connection, offers: Sequence[Offer]) -> list[dict[str, Entry] | PeerdataError]:
    """
    Decide on one offer after the other, each on what is there after those before it, and add what is new.

    The projects' rows are locked first, so calls of one project are decided in the order of their revisions. The
    statements are the same few, however many the offers.

    Returns:
        For each offer the entries of its instance as they are then, by key; or why it was refused.
    """
    projects = _lock_projects(connection, {offer.instance.project_id for offer in offers})
    _count_uncounted(connection, projects)
    entries = _read_entries(connection, {offer.instance for offer in offers})
    outcomes: list[dict[str, Entry] | PeerdataError] = []
    accepted: list[_Accepted] = []
    for offer in offers:
        project, existing = projects[offer.instance.project_id], entries[offer.instance]
        try:
            new = offer.decide(existing, project.usage())
        except PeerdataError as refusal:
            outcomes.append(refusal)
            continue
        if new:
            project.add(new)
            accepted.append(_Accepted(offer, new, project.revision, known=bool(existing)))
            entries[offer.instance] = existing | {entry.key: entry for entry in new}
        outcomes.append(entries[offer.instance])
    if accepted:
        moved = {one.offer.instance.project_id for one in accepted}
        _advance(connection, {project_id: projects[project_id] for project_id in moved})
        _add(connection, accepted)
        _touch(connection, accepted)
    return outcomes


def judge_all(connection: Connection, offers: Sequence[Offer]) -> list[dict[str, Entry] | PeerdataError | None]:
    """
    What `publish_all` would give for offers that change nothing, told from a read, by two statements.

    Entries are set once. So an offer that changes nothing in a snapshot that began after it came, or is refused in it,
    is decided by that, as if it had been the next to have the lock.

    Returns:
        As `publish_all`; None: something in the offer is new, and it must be published.
    """
    project_ids = {offer.instance.project_id for offer in offers}
    projects = _read_projects(connection, _projects, project_ids)
    _count_uncounted(connection, projects)
    found = _read_entries(connection, {offer.instance for offer in offers})
    outcomes: list[dict[str, Entry] | PeerdataError | None] = []
    for offer in offers:
        existing = found[offer.instance]
        try:
            new = offer.decide(existing, projects.get(offer.instance.project_id, _NOTHING).usage())
        except PeerdataError as refusal:
            outcomes.append(refusal)
        else:
            outcomes.append(None if new else existing)
    return outcomes


def refuse(offer: Offer) -> Callable[[Connection, Sequence[object]], list[PeerdataError | None]]:
    """What tells from a read whether *offer*, which is part of another call, will be refused; that settles the call."""

    def look(connection: Connection, _calls: Sequence[object]) -> list[PeerdataError | None]:
        (outcome,) = judge_all(connection, (offer,))
        return [outcome if isinstance(outcome, PeerdataError) else None]

    return look


def lock_project(connection: Connection, project_id: str) -> None:
    """Let nobody else change the project before this transaction ends."""
    _lock_projects(connection, (project_id,))


def advance(connection: Connection, project_id: str) -> None:
    """Give a locked project its next revision, for a change that is not one of its entries."""
    connection.execute(_ADVANCE_BY_ONE, {"of_project": project_id})


def read_revision(connection: Connection, project_id: str) -> int:
    """The revision of the project's last accepted change; where there was none, the one at which it will begin."""
    row = connection.execute(_READ_PROJECT, {"project_id": project_id}).one_or_none()
    return row[0] if row else _read_first_revision(connection)


def _read_first_revision(connection: Connection) -> int:
    """The revision at which a project begins: above all that any had before the store was last restored."""
    first: int = connection.execute(_READ_FIRST_REVISION).scalar_one()
    return first


def _lock_projects(connection: Connection, project_ids: Collection[str]) -> dict[str, _Project]:
    """The projects by id, which nobody else changes before this transaction ends."""

    locked = _read_projects(connection, _projects_locked, project_ids)
    if missing := sorted(set(project_ids) - locked.keys()):
        first = _read_first_revision(connection)
        blank = {"revision": first, "entries": 0, "forgotten": first, "bytes": 0, "bytes_at": first}
        connection.execute(
            _insert_unless_there(connection, _project), [{"project_id": project_id, **blank} for project_id in missing]
        )
        locked |= _read_projects(connection, _projects_locked, missing)
    return locked


def _read_projects(
    connection: Connection, statement_for: Callable[[int], Any], project_ids: Collection[str]
) -> dict[str, _Project]:
    """Those of *project_ids* that are there."""
    found = {}
    wanted = [(project_id,) for project_id in project_ids]
    for project_id, revision, entries, size, counted_at in select_for(connection, statement_for, wanted):
        found[project_id] = _Project(revision, entries, size if counted_at == revision else None)
    return found


def _count_uncounted(connection: Connection, projects: Mapping[str, _Project]) -> None:
    """Find out what those hold that were changed by somebody who does not count bytes."""
    for project_id, project in projects.items():
        if project.bytes is None:
            project.bytes = _count_bytes(connection, _entry.c.project_id == project_id)


def _count_bytes(connection: Connection, which: ColumnElement[bool]) -> int:
    """Of the keys and values of *which* entries, as `Entry.bytes` counts them."""

    def octets(column: ColumnElement[str]) -> ColumnElement[int]:
        if connection.dialect.name == SQLITE:  # has octet_length only since 3.43
            return func.length(cast(column, LargeBinary))
        return func.octet_length(column)

    counted = select(func.coalesce(func.sum(octets(_entry.c.key) + octets(_entry.c.value)), 0)).where(which)
    return int(connection.execute(counted).scalar_one())


def _insert_unless_there(connection: Connection, table: Table) -> Insert:
    """An INSERT that does nothing where somebody else, at the same moment, has put in the row already."""
    if connection.dialect.name == SQLITE:
        return sqlite.insert(table).on_conflict_do_nothing()
    if connection.dialect.name == POSTGRESQL:
        return postgresql.insert(table).on_conflict_do_nothing()
    return insert(table).prefix_with("IGNORE")


def _advance(connection: Connection, projects: Mapping[str, _Project]) -> None:
    moved = [
        {
            "of_project": project_id,
            "revision": project.revision,
            "entries": project.entries,
            "bytes": project.bytes or 0,
            "bytes_at": -1 if project.bytes is None else project.revision,
        }
        for project_id, project in projects.items()
    ]
    execute_all(connection, _ADVANCE_PROJECT, moved)


def _add(connection: Connection, accepted: Iterable[_Accepted]) -> None:
    added = [
        (instance.project_id, instance.uuid, entry.key, entry.value, entry.shared, one.offer.now)
        for one in accepted
        for instance in (one.offer.instance,)
        for entry in one.new
    ]
    insert_all(connection, _entry, added)


def _touch(connection: Connection, accepted: Iterable[_Accepted]) -> None:
    """Note on the instances' rows at which revisions their shared keys changed."""
    newcomers: list[tuple[object, ...]] = []
    sharers: list[dict[str, object]] = []
    for one in accepted:
        project_id, uuid = one.offer.instance.project_id, one.offer.instance.uuid
        if not one.known:
            at = one.revision if one.shares else 0
            newcomers.append((project_id, uuid, at, at))
        elif one.shares:
            sharers.append({"of_project": project_id, "of_uuid": uuid, "at": one.revision})
    # In this order: who is new may share more in the same group.
    if newcomers:
        insert_all(connection, _instance, newcomers)
    if sharers:
        execute_all(connection, _SHARE_MORE, sharers)


def read_instance(connection: Connection, instance: Instance) -> dict[str, Entry]:
    """All entries of one instance, shared or not, by key, in alphabetical order."""
    return _read_entries(connection, (instance,))[instance]


def read_instances(connection: Connection, instances: Collection[Instance]) -> dict[Instance, dict[str, Entry]]:
    """The same of each of *instances*: 1 to 256, because they are one expression."""
    return _read_entries(connection, instances)


def _read_entries(connection: Connection, instances: Collection[Instance]) -> dict[Instance, dict[str, Entry]]:
    """All entries of each of *instances*, shared or not, by key, in alphabetical order."""
    found: dict[Instance, dict[str, Entry]] = {instance: {} for instance in instances}
    wanted = [(instance.project_id, instance.uuid) for instance in found]
    for project_id, uuid, key, value, shared in select_for(connection, _entries_of, wanted):
        found[Instance(uuid, project_id)][key] = Entry(key, value, bool(shared))
    return found


def read_news(connection: Connection, project_ids: Sequence[str], known: Mapping[str, int]) -> dict[str, Changes]:
    """
    What happened in each of *project_ids* after the revision that is *known* of it; where nothing did it is left out.

    One or two statements where nothing happened, however many projects.
    """
    revisions: dict[str, int] = {}
    # SQLite takes 32 766 parameters in one statement, before 3.32 only 999.
    for start in range(0, len(project_ids), 500):
        rows = connection.execute(_READ_REVISIONS, {"project_ids": project_ids[start : start + 500]})
        revisions.update((row.project_id, row.revision) for row in rows)
    if missing := set(project_ids) - revisions.keys():
        revisions |= dict.fromkeys(missing, _read_first_revision(connection))
    return {
        project_id: read_changes(connection, project_id, known.get(project_id))
        for project_id in project_ids
        if revisions[project_id] != known.get(project_id)
    }


def read_changes(connection: Connection, project_id: str, since: int | None) -> Changes:
    """
    What happened in the project after *since*; everything where that is None, or too old, or not yet.

    One snapshot, because the transaction is one.
    """
    row = connection.execute(_READ_PROJECT, {"project_id": project_id}).one_or_none()
    if row is None:
        first = _read_first_revision(connection)
        return Changes(first, full=True, peers=(), removed=(), forgotten=first)
    full = since is None or since > row.revision or since < row.forgotten
    after = {"project_id": project_id, "after": 0 if full or since is None else since}
    removed = connection.execute(_READ_REMOVALS, after)
    return Changes(
        row.revision,
        full=full,
        removed=tuple((left.uuid, left.revision) for left in removed),
        peers=tuple(_group_by_peer(connection.execute(_READ_PEERS, after))),
        forgotten=row.forgotten,
    )


def _group_by_peer(rows: Iterable[Row[str, int, int, str, str]]) -> Iterable[Peer]:
    """The instances whose shared keys changed, in the order in which they joined."""
    for (uuid, joined, revision), group in groupby(rows, key=lambda row: (row[0], row[1], row[2])):
        yield Peer(uuid, joined, revision, {row.key: row.value for row in group})


def remove(connection: Connection, instance: Instance) -> int:
    """Take all entries of an instance away; returns how many there were. It may publish anew, as if never seen."""
    project_id, uuid = instance.project_id, instance.uuid
    projects = _lock_projects(connection, (project_id,))
    project = projects[project_id]
    size = _count_bytes(connection, (_entry.c.project_id == project_id) & (_entry.c.uuid == uuid))
    gone = connection.execute(delete(_entry).where(_entry.c.project_id == project_id, _entry.c.uuid == uuid)).rowcount
    if not gone:
        return 0
    this = (_instance.c.project_id == project_id) & (_instance.c.uuid == uuid)
    joined = connection.execute(select(_instance.c.joined).where(this)).scalar_one()
    connection.execute(delete(_instance).where(this))
    project.revision += 1
    project.entries -= gone
    if project.bytes is not None:
        project.bytes -= size
    _advance(connection, projects)
    if joined:  # nobody ever saw one that shared nothing
        connection.execute(insert(_removal), {"project_id": project_id, "revision": project.revision, "uuid": uuid})
        _forget_removals(connection, project_id)
    return gone


def _forget_removals(connection: Connection, project_id: str) -> None:
    """Keep the newest `REMOVALS_KEPT`; who follows from before the others must read in full."""
    newest_to_go = connection.execute(
        select(_removal.c.revision)
        .where(_removal.c.project_id == project_id)
        .order_by(_removal.c.revision.desc())
        .offset(REMOVALS_KEPT)
        .limit(1)
    ).scalar_one_or_none()
    if newest_to_go is None:
        return
    connection.execute(delete(_removal).where(_removal.c.project_id == project_id, _removal.c.revision <= newest_to_go))
    connection.execute(update(_project).where(_project.c.project_id == project_id).values(forgotten=newest_to_go))


def restart_revisions(connection: Connection, *, now: int) -> int:
    """
    After a backup was put back: let nobody take a revision of now for the same one of before.

    Every project, also one that is younger than the backup, goes on from a revision that none can have reached before,
    and whoever follows reads in full once.

    Args:
        now: UTC, whole seconds since 1970; orders this restoration after others of the same backup.

    Returns:
        The number of projects that the backup knew.
    """
    reached = connection.execute(select(func.max(_project.c.revision))).scalar_one() or 0
    reached = max(reached, _read_first_revision(connection))
    # The second is for a clock that was set back.
    first = max(now * CHANGES_A_SECOND, reached + CHANGES_A_SECOND)
    connection.execute(insert(_restoration), {"revision": first})
    counted = case((_project.c.bytes_at == _project.c.revision, first), else_=-1)
    everything = update(_project).ordered_values(
        (_project.c.bytes_at, counted), (_project.c.revision, first), (_project.c.forgotten, first)
    )
    return connection.execute(everything).rowcount


def list_instances(connection: Connection) -> list[tuple[str, str, int, int]]:
    """Project, uuid, number of entries and `joined` of every instance that has entries, by project and uuid."""
    rows = connection.execute(
        select(_instance.c.project_id, _instance.c.uuid, func.count(), _instance.c.joined)
        .join(_entry, (_entry.c.project_id == _instance.c.project_id) & (_entry.c.uuid == _instance.c.uuid))
        .group_by(_instance.c.project_id, _instance.c.uuid, _instance.c.joined)
        .order_by(_instance.c.project_id, _instance.c.uuid)
    )
    return [tuple(row) for row in rows]


def find_projects(connection: Connection, uuid: str) -> list[str]:
    """The projects in which an instance has entries: one, unless an inventory moved it."""
    rows = connection.execute(select(_instance.c.project_id).where(_instance.c.uuid == uuid))
    return sorted(row.project_id for row in rows)
