# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The rolls of clusters: the statements, each inside a transaction that its caller began. What may change, others decide.

As with entries, the project's row is locked first, so all changes of a project are decided one after the other; and a
call that is refused is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update

from peerdata.errors import QuotaReached
from peerdata.model import Cluster, ClusterPlan, Founders, Instance, Member
from peerdata.store import entries, schema

Change = Callable[[Cluster | None], Cluster | None]
"""A cluster as it is -> as it is to be, or raises; None: nobody has heard of it."""

_cluster, _member = schema.cluster, schema.member

_READ_CLUSTER = select(_cluster).where(
    _cluster.c.project_id == bindparam("project_id"), _cluster.c.name == bindparam("name")
)
_READ_MEMBERS = (
    select(_member.c.uuid, _member.c.ordinal, _member.c.founder)
    .where(_member.c.project_id == bindparam("project_id"), _member.c.cluster == bindparam("name"))
    .order_by(_member.c.ordinal)
)
_READ_METAS = (
    select(schema.entry.c.uuid, schema.entry.c.key, schema.entry.c.value)
    .join(_member, (_member.c.project_id == schema.entry.c.project_id) & (_member.c.uuid == schema.entry.c.uuid))
    .where(
        _member.c.project_id == bindparam("project_id"), _member.c.cluster == bindparam("name"), schema.entry.c.shared
    )
    .order_by(schema.entry.c.uuid, schema.entry.c.key)
)


@dataclass(frozen=True, slots=True, eq=False)
class Roll:
    """A cluster, and what its members share, at one revision of the project. Equal to itself alone."""

    cluster: Cluster | None
    metas: Mapping[str, Mapping[str, str]]
    """Shared keys by member, without the prefix, in alphabetical order."""
    revision: int
    rendered: dict[bool, bytes] = field(default_factory=dict)
    """What readers made of it, so that it is made once: its members as JSON, all or the founders alone."""
    size: int = 0
    """Bytes of memory without what is rendered, by estimate."""

    def __post_init__(self) -> None:
        members = len(self.cluster.members) if self.cluster else 0
        # Measured (tracemalloc): a member, and beside the text of a key and its value what holds the two.
        texts = sum(120 + len(key) + len(value.encode()) for meta in self.metas.values() for key, value in meta.items())
        object.__setattr__(self, "size", 500 + 560 * members + texts)


class Departure(NamedTuple):
    """A cluster that an instance has left."""

    cluster: str
    """Its name."""
    before: Cluster
    after: Cluster


@dataclass(frozen=True, slots=True)
class Room:
    """How many clusters there may be that have members: of a project, and with one instance among them."""

    of_project: int
    of_instance: int


def read(connection: Connection, project_id: str, name: str) -> Roll:
    """The cluster as it is."""
    which = {"project_id": project_id, "name": name}
    rows = connection.execute(_READ_METAS, which)
    metas = {uuid: {row.key: row.value for row in group} for uuid, group in groupby(rows, key=lambda row: row.uuid)}
    return Roll(_read_cluster(connection, which), metas, entries.read_revision(connection, project_id))


def change(
    connection: Connection,
    project_id: str,
    name: str,
    decide: Change,
    *,
    offer: entries.Offer | None = None,
    entering: Instance | None = None,
    room: Room | None = None,
) -> Cluster | None:
    """
    Let *decide* say how the cluster goes on, and publish *offer* with it, both or neither.

    Args:
        entering: Who may come onto the roll by this, if that is so and if there is *room*.

    Returns:
        The cluster as it is now. What its members share is not read here: others would wait for that.

    Raises:
        QuotaReached: there is none.
    """
    which = {"project_id": project_id, "name": name}
    entries.lock_project(connection, project_id)
    before = _read_cluster(connection, which)
    after = decide(before)
    if entering and room and after and after.member(entering.uuid) and not (before and before.member(entering.uuid)):
        _check_room(connection, entering, room, begins=not (before and before.members))
    if offer:
        entries.publish_offer(connection, offer)
    if after is not None and after != before:
        entries.advance(connection, project_id)
        _write(connection, which, before, after)
    return after


def leave_all(connection: Connection, instance: Instance, leave: Callable[[Cluster, str], Cluster]) -> list[Departure]:
    """Let *leave* take an instance off every roll of its project; returns those it was on."""
    entries.lock_project(connection, instance.project_id)  # before the look, so that it cannot come onto one meanwhile
    names = connection.execute(
        select(_member.c.cluster).where(_member.c.project_id == instance.project_id, _member.c.uuid == instance.uuid)
    ).scalars()
    departures: list[Departure] = []
    for name in list(names):

        def decide(cluster: Cluster | None, name: str = name) -> Cluster | None:
            if cluster is None:
                return None
            after = leave(cluster, instance.uuid)
            departures.append(Departure(name, cluster, after))
            return after

        change(connection, instance.project_id, name, decide)
    return departures


def list_clusters(connection: Connection) -> list[tuple[str, str, Cluster]]:
    """Project, name and cluster of all there are, by project and name."""
    keys = connection.execute(
        select(_cluster.c.project_id, _cluster.c.name).order_by(_cluster.c.project_id, _cluster.c.name)
    ).all()
    found = []
    for project_id, name in keys:
        cluster = _read_cluster(connection, {"project_id": project_id, "name": name})
        assert cluster is not None
        found.append((project_id, name, cluster))
    return found


def count(connection: Connection) -> tuple[int, int]:
    """How many clusters have members: those that are forming, and those that are formed."""
    has_members = exists().where(_member.c.project_id == _cluster.c.project_id, _member.c.cluster == _cluster.c.name)
    rows = connection.execute(
        select(_cluster.c.formed, func.count()).where(has_members).group_by(_cluster.c.formed)
    ).all()
    numbers = {bool(formed): int(number) for formed, number in rows}
    return numbers.get(False, 0), numbers.get(True, 0)


def find_projects(connection: Connection, uuid: str) -> list[str]:
    """The projects in which an instance is on a roll."""
    rows = connection.execute(select(_member.c.project_id).where(_member.c.uuid == uuid).distinct())
    return sorted(rows.scalars())


def _read_cluster(connection: Connection, which: Mapping[str, str]) -> Cluster | None:
    row = connection.execute(_READ_CLUSTER, which).one_or_none()
    if row is None:
        return None
    members = connection.execute(_READ_MEMBERS, which)
    return Cluster(
        ClusterPlan(row.size, Founders(row.founders), row.closed),
        row.term,
        row.formed,
        row.next_ordinal,
        tuple(Member(uuid, ordinal, founder) for uuid, ordinal, founder in members),
    )


def _check_room(connection: Connection, entering: Instance, room: Room, *, begins: bool) -> None:
    """One without members keeps its term for whoever begins it anew, and takes no room."""
    of_project = _member.c.project_id == entering.project_id
    number = select(func.count(_member.c.cluster.distinct()))
    if begins and (there := connection.execute(number.where(of_project)).scalar_one()) >= room.of_project:
        raise QuotaReached(
            f"the project has {there} clusters and may have {room.of_project}; use the name of one that is there",
            limit=room.of_project,
            scope="clusters",
        )
    its = connection.execute(number.where(of_project, _member.c.uuid == entering.uuid)).scalar_one()
    if its >= room.of_instance:
        raise QuotaReached(
            f"the instance is a member of {its} clusters and may be one of {room.of_instance}",
            limit=room.of_instance,
            scope="clusters",
        )


def _write(connection: Connection, which: Mapping[str, str], before: Cluster | None, after: Cluster) -> None:
    """Bring the rows from *before* to *after*; only members that changed are touched."""
    row = {
        "size": after.plan.size,
        "founders": after.plan.founders.value,
        "closed": after.plan.closed,
        "term": after.term,
        "formed": after.formed,
        "next_ordinal": after.next_ordinal,
    }
    if before is None:
        connection.execute(insert(_cluster), {**which, **row})
    else:
        this = (_cluster.c.project_id == which["project_id"]) & (_cluster.c.name == which["name"])
        connection.execute(update(_cluster).where(this).values(row))
    there = set(before.members) if before else set()
    of_cluster = (_member.c.project_id == which["project_id"]) & (_member.c.cluster == which["name"])
    for member in there - set(after.members):
        connection.execute(delete(_member).where(of_cluster, _member.c.uuid == member.uuid))
    new = [
        {
            "project_id": which["project_id"],
            "cluster": which["name"],
            "uuid": member.uuid,
            "ordinal": member.ordinal,
            "founder": member.founder,
        }
        for member in after.members
        if member not in there
    ]
    if new:
        connection.execute(insert(_member), new)
