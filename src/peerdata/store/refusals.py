# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The last refusal of each instance, so that it can read again what an old agent replaced on the way. A day is kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select

from peerdata.model import Instance, Refusal
from peerdata.store import schema

KEPT_S = 86_400

_refusal = schema.refusal
_of_instance = (_refusal.c.project_id == bindparam("project_id"), _refusal.c.uuid == bindparam("uuid"))

# Built once, for the reason that `entries` has.
_REMOVE = delete(_refusal).where(
    _refusal.c.project_id == bindparam("of_project"), _refusal.c.uuid == bindparam("of_uuid")
)
_REMOVE_OLD = delete(_refusal).where(_refusal.c.refused_at < bindparam("since"))
_INSERT = insert(_refusal)
_READ = select(_refusal.c.error, _refusal.c.call, _refusal.c.refused_at).where(
    *_of_instance, _refusal.c.refused_at >= bindparam("since")
)


def remember(connection: Connection, instance: Instance, refusal: Refusal) -> None:
    """Keep *refusal* in the place of the instance's last one, and let go of everybody's that are too old."""
    remember_all(connection, [(instance, refusal)])


def remember_all(connection: Connection, refused: Sequence[tuple[Instance, Refusal]]) -> list[None]:
    """The same for many, of each instance the last, by three statements."""
    last = dict(refused)
    whose = [{"of_project": instance.project_id, "of_uuid": instance.uuid} for instance in last]
    connection.execute(_REMOVE, whose)
    connection.execute(_REMOVE_OLD, {"since": max(refusal.refused_at for refusal in last.values()) - KEPT_S})
    rows = [
        {
            "project_id": instance.project_id,
            "uuid": instance.uuid,
            "error": json.dumps(refusal.error),
            "call": refusal.call,
            "refused_at": refusal.refused_at,
        }
        for instance, refusal in last.items()
    ]
    connection.execute(_INSERT, rows)
    return [None] * len(refused)


def read(connection: Connection, instance: Instance, *, now: int) -> Refusal | None:
    """The instance's last refusal, unless it is more than a day old."""
    whose = {"project_id": instance.project_id, "uuid": instance.uuid}
    row = connection.execute(_READ, whose | {"since": now - KEPT_S}).one_or_none()
    return Refusal(json.loads(row.error), row.call, row.refused_at) if row else None
