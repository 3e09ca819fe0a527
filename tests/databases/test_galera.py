# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The cluster is real: what Galera promises, what it does not, and what it says while a node is gone.

These are the facts that the store's consistency on Galera rests on.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine

from .galera import Galera
from .run import until
from .sql import ADVANCE, READ, Refusal, ask, connect, give_up, prepared, refused

Read = Callable[[Connection], object]

CONFLICT = Refusal("OperationalError", 1213, False)
NOT_PRIMARY = Refusal("OperationalError", 1047, False)
CUT_WHILE_COMMITTING = Refusal("OperationalError", 1180, False)
NOT_CAUSAL_IN_TIME = Refusal("OperationalError", 1205, False)

# Galera's evs.suspect_timeout: how long a node may be silent before the others go on without it.
SUSPECT_S = 5.0

# A little more than Galera's evs.causal_keepalive_period: after a word from all others, a node knows for so long that
# they have committed nothing without it, and answers causal reads by itself.
KNOWN_S = 1.2


@pytest.fixture
def cluster(galera: Galera) -> Galera:
    """Three nodes, all synced."""
    galera.mend()
    return galera


@pytest.fixture
def engines(cluster: Galera) -> dict[int, Engine]:
    """An engine on each node, on a new database with the counters a and b, which all nodes have."""
    urls = cluster.new_database()
    prepared(urls[0], "a", "b")
    engines = dict(zip(cluster.numbers, map(connect, urls), strict=True))
    for engine in engines.values():
        with engine.connect() as connection:
            ask(connection, "SET SESSION wsrep_sync_wait = 1")
            assert ask(connection, READ.format("b")) == 0
        engine.dispose()
    return engines


def _needs_partitions(cluster: Galera) -> None:
    if cluster.cut_off:
        pytest.skip(cluster.cut_off)


def test_every_node_takes_writes_and_all_get_them(engines: dict[int, Engine]) -> None:
    """Read with causality, so at once."""
    for node, engine in engines.items():
        with engine.begin() as connection:
            ask(connection, ADVANCE.format("a"))
        for other in engines.values():
            with other.connect() as connection:
                ask(connection, "SET SESSION wsrep_sync_wait = 1")
                assert ask(connection, READ.format("a")) == node
                connection.invalidate()  # not back to the pool with this setting


def test_a_read_on_another_node_is_stale_unless_it_waits(engines: dict[int, Engine]) -> None:
    """
    A 200 from one server, then an older answer from another: this is what wsrep_sync_wait is for.

    To wait for the writer's token (WSREP_SYNC_WAIT_UPTO_GTID) is not enough: on a busy machine a read after it
    was stale once in 40.
    """
    read = READ.format("a")
    with _load(engines[1]):
        assert _stale_reads(engines, lambda reader: ask(reader, read), 2000, enough=1) == 1
        for way in (_after_a_wait_of_the_session, _with_a_wait_of_its_own):
            assert _stale_reads(engines, way, 40) == 0, way.__name__


def test_a_transaction_that_begins_with_a_wait_reads_what_was_committed_before(engines: dict[int, Engine]) -> None:
    """The wait stands at the first read, or at BEGIN; PyMySQL begins no transaction by itself."""
    with _load(engines[1]), engines[1].connect() as writer, engines[2].connect() as reader:
        ask(reader, "SET SESSION wsrep_sync_wait = 1")
        for revision in range(1, 21):
            ask(writer, ADVANCE.format("a"))
            writer.commit()
            ask(reader, "START TRANSACTION")
            assert ask(reader, READ.format("a")) == revision
            reader.rollback()


@pytest.mark.parametrize("then", ["COMMIT", ADVANCE.format("b"), READ.format("b")])
def test_of_two_writers_of_one_row_on_two_nodes_the_later_commit_loses(engines: dict[int, Engine], then: str) -> None:
    """It is told so at its next statement, whichever that is: COMMIT, a write, or even a read."""
    with engines[1].connect() as first, engines[2].connect() as second:
        ask(first, ADVANCE.format("a"))
        ask(second, ADVANCE.format("a"))
        first.commit()
        time.sleep(0.3)  # until node 2 has applied it, and rolled the other back
        assert refused(second, then) == CONFLICT
        second.rollback()
        assert ask(second, READ.format("a")) == 1


def test_writers_of_one_row_on_all_nodes_at_once_lose_no_update(engines: dict[int, Engine]) -> None:
    """Who was refused, most often at COMMIT, did nothing; the counter is the number of those who were not."""
    outcomes = []

    def write(engine: Engine) -> None:
        with engine.connect() as connection:
            for _ in range(50):
                outcomes.append(refused(connection, ADVANCE.format("a")) or refused(connection, "COMMIT"))
                connection.rollback()

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, engines.values()))
    assert set(outcomes) == {None, CONFLICT}
    with engines[3].connect() as connection:
        ask(connection, "SET SESSION wsrep_sync_wait = 1")
        assert ask(connection, READ.format("a")) == outcomes.count(None)


def test_a_new_row_on_two_nodes_is_a_conflict_first_and_a_duplicate_when_tried_again(
    engines: dict[int, Engine],
) -> None:
    """So the store must retry before it can say that a key is taken."""
    insert = "INSERT INTO project VALUES ('new', 1)"
    with engines[1].connect() as first, engines[2].connect() as second:
        ask(first, insert)
        ask(second, insert)
        first.commit()
        assert refused(second, "COMMIT") == CONFLICT
        second.rollback()
        ask(second, "SET SESSION wsrep_sync_wait = 1")
        ask(second, READ.format("new"))
        assert refused(second, insert) == Refusal("IntegrityError", 1062, False)


def test_the_upsert_that_returns_works_on_every_node(engines: dict[int, Engine]) -> None:
    """One round trip to advance a counter, or make it, and to read it back."""
    upsert = "INSERT INTO project VALUES ('new', 1) ON DUPLICATE KEY UPDATE revision = revision + 1 RETURNING revision"
    for node, engine in engines.items():
        with engine.connect() as connection:
            ask(connection, "SET SESSION wsrep_sync_wait = 1")
            ask(connection, READ.format("new"))
            assert ask(connection, upsert) == node
            connection.commit()


def test_a_node_that_cannot_apply_refuses_causal_reads_after_their_timeout(
    cluster: Galera, engines: dict[int, Engine]
) -> None:
    """30 s unless repl.causal_read_timeout says less; the error is that of a lock, SQLSTATE HY000."""
    cluster.node(2).ask("SET GLOBAL wsrep_provider_options = 'repl.causal_read_timeout=PT1S'")
    with engines[1].connect() as writer, engines[2].connect() as holder, engines[2].connect() as reader:
        ask(holder, "FLUSH TABLES WITH READ LOCK")
        ask(writer, ADVANCE.format("a"))
        writer.commit()
        assert ask(reader, READ.format("a")) == 0
        ask(reader, "SET SESSION wsrep_sync_wait = 1")
        reader.rollback()
        assert refused(reader, READ.format("a")) == NOT_CAUSAL_IN_TIME
        ask(holder, "UNLOCK TABLES")
        assert ask(reader, READ.format("a")) == 1
    cluster.node(2).ask("SET GLOBAL wsrep_provider_options = 'repl.causal_read_timeout=PT30S'")


def test_a_node_that_is_cut_off_answers_old_reads_and_then_refuses(cluster: Galera, engines: dict[int, Engine]) -> None:
    """Commits on both sides wait until the silent node is given up: 5 s. A refused one is nowhere afterwards."""
    _needs_partitions(cluster)
    insert = "INSERT INTO project VALUES ('{}', 1)"
    at = {"plain": 3, "causal": 3, "later": 3, "few": 3, "many": 1}
    connections = {name: engines[node].connect() for name, node in at.items()}
    ask(connections["causal"], "SET SESSION wsrep_sync_wait = 1")
    ask(connections["few"], insert.format("few"))
    ask(connections["many"], insert.format("many"))
    cluster.partition(3)
    cut = time.monotonic()
    with ThreadPoolExecutor() as pool:
        few = pool.submit(refused, connections["few"], "COMMIT")
        many = pool.submit(refused, connections["many"], "COMMIT")
        time.sleep(KNOWN_S)
        causal = pool.submit(refused, connections["causal"], READ.format("a"))
        assert refused(connections["plain"], READ.format("a")) is None
        assert time.monotonic() - cut < SUSPECT_S - 1
    assert (causal.result(), few.result(), many.result()) == (NOT_CAUSAL_IN_TIME, CUT_WHILE_COMMITTING, None)
    assert SUSPECT_S - 1 < time.monotonic() - cut < SUSPECT_S + 10

    started = time.monotonic()
    assert refused(connections["plain"], READ.format("a")) == NOT_PRIMARY
    assert refused(connections["later"], ADVANCE.format("a")) == NOT_PRIMARY
    assert time.monotonic() - started < SUSPECT_S - 1
    assert ask(connections["many"], READ.format("a")) == 0
    for connection in connections.values():
        give_up(connection)

    cluster.heal()
    cluster.wait_synced()
    for engine in engines.values():
        with engine.connect() as connection:
            assert ask(connection, READ.format("many")) == 1
            assert ask(connection, READ.format("few")) is None


def test_a_node_that_stood_still_answers_old_reads_but_no_causal_ones(
    cluster: Galera, engines: dict[int, Engine]
) -> None:
    """The others went on without it, and it does not know yet. So a read without the wait is wrong on any node."""
    with engines[1].connect() as writer, engines[3].connect() as plain, engines[3].connect() as causal:
        ask(causal, "SET SESSION wsrep_sync_wait = 1")
        assert [ask(reader, READ.format("a")) for reader in (plain, causal)] == [0, 0]
        plain.rollback()
        causal.rollback()
        cluster.node(3).pause()
        with ThreadPoolExecutor() as pool:
            old = pool.submit(ask, plain, READ.format("a"))
            none = pool.submit(refused, causal, READ.format("a"))
            ask(writer, ADVANCE.format("a"))
            writer.commit()
            cluster.node(3).resume()
        assert old.result() == 0
        assert none.result() in (NOT_CAUSAL_IN_TIME, NOT_PRIMARY)
        give_up(plain)
        give_up(causal)


def test_without_a_majority_even_rollback_is_refused_and_after_all_were_killed_nothing_is_lost(
    cluster: Galera, engines: dict[int, Engine]
) -> None:
    """
    Closing a connection then raises, and `SELECT 1` is no health check, nor is a read with wsrep_dirty_reads on.

    The killed cluster begins anew from the node that has seen most.
    """
    for engine in engines.values():
        with engine.begin() as connection:
            ask(connection, ADVANCE.format("b"))
    alone = engines[3].connect()
    ask(alone, "SELECT 1")
    cluster.kill(1, 2)
    until("refusals", lambda: _refuses(engines[3]))
    assert refused(alone, "ROLLBACK") == NOT_PRIMARY
    assert refused(alone, "SELECT 1") is None
    assert refused(alone, READ.format("b")) == NOT_PRIMARY
    assert refused(alone, "SET SESSION wsrep_dirty_reads = 1") is None
    assert ask(alone, READ.format("b")) == 3
    give_up(alone)

    cluster.kill(3)
    cluster.recover()
    for engine in engines.values():
        engine.dispose()
        with engine.connect() as connection:
            assert ask(connection, READ.format("b")) == 3


def test_an_answer_that_is_lost_on_the_way_may_still_have_been_done(
    cluster: Galera, engines: dict[int, Engine]
) -> None:
    """The client sees a timeout; the server has committed."""
    _needs_partitions(cluster)
    impatient = connect(cluster.url(3, engines[3].url.database or ""), connect_timeout=2, read_timeout=2)
    connection = impatient.connect()
    ask(connection, ADVANCE.format("a"))
    cluster.mute(3)
    assert refused(connection, "COMMIT") == Refusal("OperationalError", 2013, True)
    give_up(connection)
    with engines[1].connect() as other:
        assert ask(other, READ.format("a")) == 1
    cluster.heal()


@contextmanager
def _load(engine: Engine) -> Iterator[None]:
    """Inside, one node gets big transactions, which the others must apply."""
    ended = threading.Event()
    with engine.begin() as connection:
        ask(connection, "CREATE TABLE load_ (id BIGINT AUTO_INCREMENT PRIMARY KEY, value TEXT)")

    def write() -> None:
        with engine.connect() as connection:
            while not ended.is_set():
                ask(connection, "INSERT INTO load_ (value) VALUES " + ",".join(["(REPEAT('x', 200))"] * 200))
                connection.commit()

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write) for _ in range(2)]
        try:
            yield
        finally:
            ended.set()
        for writer in writers:
            writer.result()


def _stale_reads(engines: dict[int, Engine], read: Read, most: int, *, enough: int | None = None) -> int:
    """How many of *most* reads on node 2 were older than what node 1 had answered before; it stops at *enough*."""
    stale = 0
    with engines[1].connect() as writer, engines[2].connect() as reader:
        for _ in range(most):
            ask(writer, ADVANCE.format("a"))
            revision = ask(writer, READ.format("a"))
            writer.commit()
            stale += read(reader) != revision
            reader.rollback()
            if stale == enough:
                break
        reader.invalidate()  # not back to the pool with its settings
    return stale


def _after_a_wait_of_the_session(reader: Connection) -> object:
    ask(reader, "SET SESSION wsrep_sync_wait = 1")
    return ask(reader, READ.format("a"))


def _with_a_wait_of_its_own(reader: Connection) -> object:
    ask(reader, "SET SESSION wsrep_sync_wait = 0")
    return ask(reader, f"SET STATEMENT wsrep_sync_wait = 1 FOR {READ.format('a')}")


def _refuses(engine: Engine) -> bool:
    connection = engine.connect()
    said = refused(connection, "DO 1")
    give_up(connection)
    return said == NOT_PRIMARY
