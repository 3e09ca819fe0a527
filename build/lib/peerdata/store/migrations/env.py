# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Alembic's entry: runs the migrations on the connection that `store.migrate` hands in, in its transaction."""

from alembic import context

from peerdata.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=False
)
context.run_migrations()
