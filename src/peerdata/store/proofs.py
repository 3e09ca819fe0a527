# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What nova last answered on each instance, kept for other workers, other servers, and the next start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select

from peerdata.model import Instance
from peerdata.store import schema

ROWS_AT_ONCE = 500
"""Instances in one statement; SQLite takes 32 766 parameters, older ones 999."""

_proof = schema.proof

# Built once, for the reason that `entries` has.
_of_these = _proof.c.uuid.in_(bindparam("uuids", expanding=True))
_READ = select(_proof.c.uuid, _proof.c.project_id, _proof.c.proven_at, _proof.c.disowned_at).where(_of_these)
_REMOVE = delete(_proof).where(_of_these)
_INSERT = insert(_proof)
_REMOVE_OLD = delete(_proof).where(_proof.c.proven_at < bindparam("before"), _proof.c.disowned_at < bindparam("before"))


@dataclass(frozen=True, slots=True)
class Finding:
    """Nova's answer on whether an instance is of a project."""

    instance: Instance
    known: bool
    """False: nova answered 404, or 403."""
    at: int
    """UTC, whole seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row: what is kept of the instance *uuid*."""

    uuid: str
    project_id: str
    proven_at: int
    disowned_at: int

    def finding(self) -> Finding:
        """The later of its two times; of one second, the refusal."""
        known = self.proven_at > self.disowned_at
        return Finding(Instance(self.uuid, self.project_id), known, self.proven_at if known else self.disowned_at)


def changed(kept: Mapping[str, Kept], findings: Iterable[Finding], *, refresh_s: float) -> Iterator[Kept]:
    """
    The rows that *findings* change: those that say something new, and those that have grown older than *refresh_s*.

    What is kept of a later moment stays. A refusal in one project says nothing of the instance in another.
    """
    for finding in findings:
        instance = finding.instance
        old = kept.get(instance.uuid)
        if old is None:
            old = Kept(instance.uuid, instance.project_id, 0, 0)
        elif not _is_news(old, finding, refresh_s):
            continue
        if finding.known:
            yield Kept(instance.uuid, instance.project_id, finding.at, 0)
        else:
            yield Kept(instance.uuid, instance.project_id, old.proven_at, finding.at)


def _is_news(old: Kept, finding: Finding, refresh_s: float) -> bool:
    last = old.finding()
    if finding.at < last.at:
        return False
    same_project = old.project_id == finding.instance.project_id
    if finding.known:
        return not same_project or finding.at - old.proven_at > refresh_s or (not last.known and finding.at > last.at)
    return same_project and last.known


def read(connection: Connection, uuids: Sequence[str]) -> dict[str, Kept]:
    """What is kept of these instances."""
    rows = (row for some in _portions(uuids) for row in connection.execute(_READ, {"uuids": some}))
    return {row.uuid: Kept(*row) for row in rows}


def record(connection: Connection, findings: Sequence[Finding], *, refresh_s: float) -> None:
    """Keep of *findings*, one for each instance and project, what changes something; see `changed`."""
    kept = read(connection, [finding.instance.uuid for finding in findings])
    # Where nova refused an instance in one project and knows it in another, the latter is what is kept.
    refusals_first = sorted(findings, key=lambda finding: finding.known)
    rows = {row.uuid: row for row in changed(kept, refusals_first, refresh_s=refresh_s)}
    # In one order everywhere, so that two servers wait for each other and do not deadlock.
    for some in _portions(sorted(rows)):
        connection.execute(_REMOVE, {"uuids": some})
        connection.execute(_INSERT, [asdict(rows[uuid]) for uuid in some])


def _portions(uuids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (uuids[at : at + ROWS_AT_ONCE] for at in range(0, len(uuids), ROWS_AT_ONCE))


def remove_old(connection: Connection, *, before: int) -> None:
    """Remove all of whom nothing was heard since *before*, UTC, whole seconds since 1970."""
    connection.execute(_REMOVE_OLD, {"before": before})
