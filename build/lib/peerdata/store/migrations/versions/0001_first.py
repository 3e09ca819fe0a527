# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The first schema: projects, instances, entries, removals, refusals."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "project",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("forgotten", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", name="pk_project"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "instance",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("joined", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "uuid", name="pk_instance"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_instance_project_id_revision", "instance", ["project_id", "revision"])
    op.create_table(
        "entry",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("key", sa.String(243), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "uuid", "key", name="pk_entry"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "removal",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "revision", name="pk_removal"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "refusal",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("refused_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "uuid", name="pk_refusal"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_refusal_refused_at", "refusal", ["refused_at"])
