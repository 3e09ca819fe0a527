# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Clusters and their rolls."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    mysql = mysql_options(op.get_bind())
    op.create_table(
        "cluster",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("founders", sa.String(3), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("formed", sa.Boolean(), nullable=False),
        sa.Column("next_ordinal", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "name", name="pk_cluster"),
        sqlite_with_rowid=False,
        **mysql,
    )
    op.create_table(
        "member",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("cluster", sa.String(64), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("founder", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "cluster", "uuid", name="pk_member"),
        sqlite_with_rowid=False,
        **mysql,
    )
    op.create_index("ix_member_uuid", "member", ["uuid"])


def mysql_options(connection: sa.Connection) -> dict[str, Any]:
    """As in 0001: a migration stands by itself."""
    collation = "utf8mb4_nopad_bin" if getattr(connection.dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": collation}
