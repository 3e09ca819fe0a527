# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The last refusal of each instance, so that it can read again what an old agent replaced on the way. A day is kept.
"""

from __future__ import annotations

import json

from sqlalchemy import Connection, delete, insert, select

from peerdata.model import Instance, Refusal
from peerdata.store import schema

KEPT_S = 86_400


def remember(connection: Connection, instance: Instance, refusal: Refusal) -> None:
    """Keep *refusal* in the place of the instance's last one, and let go of everybody's that are too old."""
    table = schema.refusal
    connection.execute(delete(table).where(table.c.project_id == instance.project_id, table.c.uuid == instance.uuid))
    connection.execute(delete(table).where(table.c.refused_at < refusal.refused_at - KEPT_S))
    connection.execute(
        insert(table).values(
            project_id=instance.project_id,
            uuid=instance.uuid,
            error=json.dumps(refusal.error),
            call=refusal.call,
            refused_at=refusal.refused_at,
        )
    )


def read(connection: Connection, instance: Instance, *, now: int) -> Refusal | None:
    """The instance's last refusal, unless it is more than a day old."""
    table = schema.refusal
    row = connection.execute(
        select(table.c.error, table.c.call, table.c.refused_at).where(
            table.c.project_id == instance.project_id,
            table.c.uuid == instance.uuid,
            table.c.refused_at >= now - KEPT_S,
        )
    ).one_or_none()
    return Refusal(json.loads(row.error), row.call, row.refused_at) if row else None
