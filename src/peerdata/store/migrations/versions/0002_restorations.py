# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Restorations: at which revision projects begin that a backup did not know."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "restoration",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_restoration"),
        sqlite_with_rowid=False,
        mysql_engine="InnoDB",
    )
