# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What is kept: the tables, each column with its meaning. `migrations/` brings a store here from any earlier schema.

Every table of what instances do begins with the project, so that what is read together lies together and
no statement can reach across projects by forgetting a condition. A revision is a number of the project's own sequence.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"},
)

# Keystone's project ids are 32 hexadecimal digits; its column, and so ours, has 64 (keystone: resource/backends).
_PROJECT = String(64)
_UUID = String(36)
# 65 536 characters; MySQL's TEXT has as many bytes.
_VALUE = Text().with_variant(MEDIUMTEXT(), "mysql")

project = Table(
    "project",
    metadata,
    Column("project_id", _PROJECT, primary_key=True),
    Column("revision", BigInteger, nullable=False),  # of the last accepted change; grows by one with each
    Column("entries", Integer, nullable=False),  # how many entries the project has, for its quota
    Column("forgotten", BigInteger, nullable=False),  # revision up to which removals are no longer kept
    Column("bytes", BigInteger, nullable=False, server_default="0"),  # of keys and values as UTF-8, for its quota
    # The revision up to which `bytes` was counted. A version that does not know the two moves the revision on without
    # it; then it is counted anew.
    Column("bytes_at", BigInteger, nullable=False, server_default="-1"),
    sqlite_with_rowid=False,
)

instance = Table(
    "instance",
    metadata,
    Column("project_id", _PROJECT, primary_key=True),
    Column("uuid", _UUID, primary_key=True),
    Column("joined", BigInteger, nullable=False),  # revision at which it first shared; 0: shares nothing
    Column("revision", BigInteger, nullable=False),  # of the last change to a key it shares; 0: shares nothing
    Index(None, "project_id", "revision"),
    sqlite_with_rowid=False,
)

entry = Table(
    "entry",
    metadata,
    Column("project_id", _PROJECT, primary_key=True),
    Column("uuid", _UUID, primary_key=True),  # of the instance that set it, as proven
    Column("key", String(243), primary_key=True),  # without from_server_
    Column("value", _VALUE, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("published_at", BigInteger, nullable=False),  # UTC, whole seconds since 1970
    sqlite_with_rowid=False,
)

removal = Table(
    "removal",
    metadata,
    Column("project_id", _PROJECT, primary_key=True),
    Column("revision", BigInteger, primary_key=True),  # of the removal itself
    Column("uuid", _UUID, nullable=False),  # of the instance that left
    sqlite_with_rowid=False,
)

refusal = Table(
    "refusal",
    metadata,
    Column("project_id", _PROJECT, primary_key=True),
    Column("uuid", _UUID, primary_key=True),
    Column("error", _VALUE, nullable=False),  # the answer's "error" member, JSON
    Column("call", _VALUE, nullable=False),  # method and path
    Column("refused_at", BigInteger, nullable=False),  # UTC, whole seconds since 1970
    Index(None, "refused_at"),
    sqlite_with_rowid=False,
)

proof = Table(
    "proof",
    metadata,
    Column("uuid", _UUID, primary_key=True),  # of the instance; a uuid has one project, so the last one proven counts
    Column("project_id", _PROJECT, nullable=False),  # as nova's document names it
    Column("proven_at", BigInteger, nullable=False),  # nova last knew it, UTC, whole seconds since 1970; 0: never
    Column("disowned_at", BigInteger, nullable=False),  # nova has refused it since, likewise; 0: it has not
    Index(None, "proven_at"),
    sqlite_with_rowid=False,
)

restoration = Table(
    "restoration",
    metadata,
    # Above every revision given out before a backup was put back; projects begin here whose first entry comes after it.
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

cluster = Table(
    "cluster",
    metadata,
    Column("project_id", _PROJECT, primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("size", Integer, nullable=False),  # how many it is planned for
    Column("founders", String(3), nullable=False),  # one, all
    Column("closed", Boolean, nullable=False),  # nobody but `size` members is let in
    Column("term", BigInteger, nullable=False),  # grows when founders are replaced; never goes back
    Column("formed", Boolean, nullable=False),  # a founder of this term has confirmed
    Column("next_ordinal", BigInteger, nullable=False),  # of whoever comes next
    sqlite_with_rowid=False,
)

member = Table(
    "member",
    metadata,
    Column("project_id", _PROJECT, primary_key=True),
    Column("cluster", String(64), primary_key=True),
    Column("uuid", _UUID, primary_key=True),  # of the instance, as proven
    Column("ordinal", BigInteger, nullable=False),  # its place on the roll
    Column("founder", Boolean, nullable=False),  # of the present term
    Index(None, "uuid"),
    sqlite_with_rowid=False,
)

compatibility = Table(
    "compatibility",
    metadata,
    # One row: code that wants this schema, or a later one, may run on the store; written by `migrate.upgrade`.
    Column("oldest", String(32), primary_key=True),
    sqlite_with_rowid=False,
)
