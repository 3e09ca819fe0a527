# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The first schema: projects, instances, entries, removals, refusals."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0001"
down_revision = None


def upgrade() -> None:
    mysql = mysql_options(op.get_bind())
    text = sa.Text().with_variant(MEDIUMTEXT(), "mysql")
    op.create_table(
        "project",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("forgotten", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", name="pk_project"),
        sqlite_with_rowid=False,
        **mysql,
    )
    op.create_table(
        "instance",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("joined", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "uuid", name="pk_instance"),
        sqlite_with_rowid=False,
        **mysql,
    )
    op.create_index("ix_instance_project_id_revision", "instance", ["project_id", "revision"])
    op.create_table(
        "entry",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("key", sa.String(243), nullable=False),
        sa.Column("value", text, nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "uuid", "key", name="pk_entry"),
        sqlite_with_rowid=False,
        **mysql,
    )
    op.create_table(
        "removal",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "revision", name="pk_removal"),
        sqlite_with_rowid=False,
        **mysql,
    )
    op.create_table(
        "refusal",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("error", text, nullable=False),
        sa.Column("call", text, nullable=False),
        sa.Column("refused_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "uuid", name="pk_refusal"),
        sqlite_with_rowid=False,
        **mysql,
    )
    op.create_index("ix_refusal_refused_at", "refusal", ["refused_at"])


def mysql_options(connection: sa.Connection) -> dict[str, Any]:
    """Keys differ by case and by a space at their end, which MySQL's usual collations do not see."""
    collation = "utf8mb4_nopad_bin" if getattr(connection.dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": collation}
