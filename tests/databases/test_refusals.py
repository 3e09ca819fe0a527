# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What SQLAlchemy raises when PostgreSQL or MariaDB refuse: the facts that the store's table of errors rests on."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import pytest
from sqlalchemy import Engine
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from .mariadb import Mariadb
from .postgresql import Postgresql
from .sql import ADVANCE, PROJECT_TABLE, READ, Refusal, ask, connect, give_up, prepared, refusal, refused

Server = Postgresql | Mariadb

T = TypeVar("T")


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each server, answering."""
    server: Server = request.getfixturevalue(request.param)
    server.mend()
    return server


@pytest.fixture
def engine(server: Server) -> Engine:
    """An engine on a new database with two counters."""
    return prepared(server.new_database(), "a", "b")


def of(server: Server, postgresql: T, mariadb: T) -> T:
    """The one of two that belongs to *server*."""
    return postgresql if isinstance(server, Postgresql) else mariadb


def test_of_two_that_wait_for_each_other_one_is_refused(server: Server, engine: Engine) -> None:
    """PostgreSQL looks after 1 s (deadlock_timeout), InnoDB at once. The other one goes on."""
    with engine.connect() as first, engine.connect() as second, ThreadPoolExecutor() as pool:
        ask(first, ADVANCE.format("a"))
        ask(second, ADVANCE.format("b"))
        waiting = pool.submit(refused, first, ADVANCE.format("b"))
        time.sleep(0.1)
        outcomes = [refused(second, ADVANCE.format("a")), waiting.result()]
    assert [outcome for outcome in outcomes if outcome] == [
        of(server, Refusal("OperationalError", "40P01", False), Refusal("OperationalError", 1213, False))
    ]


def test_a_lock_that_is_not_given_in_time(server: Server, engine: Engine) -> None:
    """MariaDB undoes the statement and keeps the transaction, which must be rolled back by the client."""
    patience = of(server, "SET lock_timeout = '300ms'", "SET SESSION innodb_lock_wait_timeout = 1")
    with engine.connect() as first, engine.connect() as second:
        ask(second, patience)
        second.commit()
        ask(second, ADVANCE.format("b"))
        ask(first, ADVANCE.format("a"))
        assert refused(second, ADVANCE.format("a")) == of(
            server, Refusal("OperationalError", "55P03", False), Refusal("OperationalError", 1205, False)
        )
        assert refused(second, READ.format("b")) == of(server, Refusal("InternalError", "25P02", False), None)


def test_a_key_that_is_there_already(server: Server, engine: Engine) -> None:
    """The one refusal that is an answer."""
    with engine.connect() as connection:
        assert refused(connection, "INSERT INTO project VALUES ('a', 1)") == of(
            server, Refusal("IntegrityError", "23505", False), Refusal("IntegrityError", 1062, False)
        )


def test_a_statement_that_takes_too_long(server: Server, engine: Engine) -> None:
    """A limit that the server keeps; it does not help when the server is silent."""
    limit = of(server, "SET statement_timeout = '300ms'", "SET SESSION max_statement_time = 0.3")
    sleep = of(server, "SELECT pg_sleep(3)", "SELECT SLEEP(3) FROM project")
    with engine.connect() as connection:
        ask(connection, limit)
        assert refused(connection, sleep) == of(
            server, Refusal("OperationalError", "57014", False), Refusal("OperationalError", 1969, False)
        )


def test_a_server_that_was_killed(server: Server, engine: Engine) -> None:
    """An open connection is lost at its next word, COMMIT included: then nobody knows whether it is done."""
    lost = of(server, Refusal("OperationalError", "OperationalError", True), Refusal("OperationalError", 2013, True))
    idle, writing = engine.connect(), engine.connect()
    ask(idle, "SELECT 1")
    ask(writing, ADVANCE.format("a"))
    server.kill()
    assert refused(idle, "SELECT 1") == lost
    assert refused(writing, "COMMIT") == lost
    give_up(idle)
    give_up(writing)
    assert not_connected(engine) == of(
        server, Refusal("OperationalError", "OperationalError", False), Refusal("OperationalError", 2003, False)
    )
    server.start()
    with engine.connect() as connection:
        assert ask(connection, READ.format("a")) == 0


def test_a_server_that_was_stopped(server: Server, engine: Engine) -> None:
    """Only PostgreSQL says why."""
    connection = engine.connect()
    ask(connection, "SELECT 1")
    server.stop()
    assert refused(connection, "SELECT 1") == of(
        server, Refusal("OperationalError", "57P01", True), Refusal("OperationalError", 2013, True)
    )
    give_up(connection)


def test_a_server_with_too_many_connections(server: Server) -> None:
    """PostgreSQL reserves three for its administrator, and the connection has no SQLSTATE yet."""
    engine = connect(server.url(), pool_size=250)
    held = []
    with suppress(DBAPIError):
        while True:
            held.append(engine.connect())
    assert not_connected(engine) == of(
        server, Refusal("OperationalError", "OperationalError", False), Refusal("OperationalError", 1040, False)
    )
    for connection in held:
        connection.close()
    engine.dispose()


def test_pymysql_waits_for_an_answer_as_long_as_its_read_timeout(mariadb: Mariadb) -> None:
    """Which is for ever unless it is set. Afterwards the connection is gone, and SQLAlchemy wants a rollback first."""
    mariadb.mend()
    engine = connect(mariadb.url(), read_timeout=1)
    with engine.connect() as connection:
        assert refused(connection, "SELECT SLEEP(3)") == Refusal("OperationalError", 2013, True)
        with pytest.raises(PendingRollbackError):
            ask(connection, "SELECT 1")
        connection.rollback()
        assert ask(connection, "SELECT 1") == 1


def test_mariadb_returns_from_insert_but_not_from_update(mariadb: Mariadb) -> None:
    """So the upsert is the one round trip that makes or advances a counter and reads it back."""
    mariadb.mend()
    engine = prepared(mariadb.new_database(), "a")
    upsert = "INSERT INTO project VALUES ('{}', 1) ON DUPLICATE KEY UPDATE revision = revision + 1 RETURNING revision"
    with engine.connect() as connection:
        assert refused(connection, ADVANCE.format("a") + " RETURNING revision") == Refusal(
            "ProgrammingError", 1064, False
        )
        assert [ask(connection, upsert.format(project)) for project in ("a", "a", "new", "new")] == [1, 2, 1, 2]
        assert ask(connection, "DELETE FROM project WHERE project_id = 'new' RETURNING revision") == 2
        given = insert(PROJECT_TABLE).values(project_id="a", revision=1)
        advance = given.on_duplicate_key_update(revision=PROJECT_TABLE.c.revision + 1)
        assert connection.execute(advance.returning(PROJECT_TABLE.c.revision)).scalar_one() == 3


def test_mariadb_tells_the_counter_of_an_update_in_its_answer(mariadb: Mariadb) -> None:
    """The driver calls it lastrowid: no row is sent. Without such a counter the update changes nothing."""
    mariadb.mend()
    engine = prepared(mariadb.new_database(), "a")
    advance = "UPDATE project SET revision = LAST_INSERT_ID(revision + 1) WHERE project_id = '{}'"
    with engine.connect() as connection:
        told = [connection.exec_driver_sql(advance.format(project)) for project in ("a", "a", "none")]
        assert [(answer.rowcount, answer.lastrowid) for answer in told] == [(1, 1), (1, 2), (0, 0)]


def not_connected(engine: Engine) -> Refusal:
    """How a new connection is refused."""
    with pytest.raises(DBAPIError) as caught:
        engine.connect()
    return refusal(caught.value)
