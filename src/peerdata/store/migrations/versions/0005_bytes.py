# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Bytes of a project's keys and values. The version before goes on beside it: it neither reads nor sets them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("project", sa.Column("bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("project", sa.Column("bytes_at", sa.BigInteger(), nullable=False, server_default="-1"))
