# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The one table that the tests of the servers use, a counter for each project, and what a refusal looks like."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, String, Table, create_engine, text
from sqlalchemy.exc import DBAPIError

from .mariadb import PATIENCE

PROJECT_TABLE = Table(
    "project",
    MetaData(),
    Column("project_id", String(64), primary_key=True),
    Column("revision", BigInteger, nullable=False),
)

ADVANCE = "UPDATE project SET revision = revision + 1 WHERE project_id = '{}'"

READ = "SELECT revision FROM project WHERE project_id IN ('{}')"


@dataclass(frozen=True)
class Refusal:
    """
    What SQLAlchemy raised.

    Args:
        kind: SQLAlchemy's class.
        code: MariaDB's number, else the SQLSTATE, else the name of the driver's class.
        invalidated: SQLAlchemy counts the connection as lost, and empties its pool.
    """

    kind: str
    code: int | str
    invalidated: bool


def refusal(error: DBAPIError) -> Refusal:
    """The facts of *error*."""
    cause: Any = error.orig
    first = cause.args[0] if cause.args else ""
    code = first if isinstance(first, int) else getattr(cause, "sqlstate", None) or type(cause).__name__
    return Refusal(type(error).__name__, code, error.connection_invalidated)


def refused(connection: Connection, statement: str) -> Refusal | None:
    """How *statement* was refused, or None where it was not; "COMMIT" goes through SQLAlchemy."""
    try:
        ask(connection, statement)
    except DBAPIError as exc:
        return refusal(exc)
    return None


def ask(connection: Connection, statement: str) -> Any:
    """The one value that *statement* answers, if any."""
    if statement == "COMMIT":
        connection.commit()
        return None
    answer = connection.execute(text(statement))
    return answer.scalar() if answer.returns_rows else None


def connect(url: str, *, pool_size: int = 5, **arguments: Any) -> Engine:
    """An engine whose driver gets *arguments*; for MariaDB also what makes it give up on a server that is silent."""
    if url.startswith("mysql"):
        arguments = PATIENCE | arguments
    return create_engine(url, pool_size=pool_size, connect_args=arguments)


def prepared(url: str, *projects: str) -> Engine:
    """An engine on *url* where the table was made, with a counter at 0 for each of *projects*."""
    engine = connect(url)
    with engine.begin() as connection:
        PROJECT_TABLE.create(connection)
        for project in projects:
            ask(connection, f"INSERT INTO project VALUES ('{project}', 0)")
    return engine


def give_up(connection: Connection) -> None:
    """Close *connection*, whose server may refuse even the rollback that this means."""
    with suppress(DBAPIError):
        connection.close()
