# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Proofs: what nova last answered on each instance, for all workers and servers. Adds a table and changes none."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "proof",
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("proven_at", sa.BigInteger(), nullable=False),
        sa.Column("disowned_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uuid", name="pk_proof"),
        sqlite_with_rowid=False,
        **mysql_options(op.get_bind()),
    )
    op.create_index("ix_proof_proven_at", "proof", ["proven_at"])


def mysql_options(connection: sa.Connection) -> dict[str, Any]:
    """As in 0001: a migration stands by itself."""
    collation = "utf8mb4_nopad_bin" if getattr(connection.dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": collation}
