# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The servers are real: they keep what they promised when they are killed, and the machine is as before afterwards."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from . import PROJECT, small_disk
from .mariadb import Mariadb
from .ports import free_port
from .postgresql import Postgresql
from .run import MARK, Run, until
from .small_disk import SmallDisk
from .sql import ADVANCE, READ, ask, connect, give_up, prepared, refused

Server = Postgresql | Mariadb

# Those of Debian's services, and Galera's for groups, increments and whole states.
STANDARD_PORTS = {3306, 4444, 4567, 4568, 5432}


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each server, answering."""
    server: Server = request.getfixturevalue(request.param)
    server.mend()
    return server


def test_a_new_database_is_empty_and_remembers(server: Server) -> None:
    """Two of them share nothing."""
    first, second = server.new_database(), server.new_database()
    assert inspect(connect(first)).get_table_names() == []
    with prepared(first, "a").begin() as connection:
        ask(connection, ADVANCE.format("a"))
    with connect(first).connect() as connection:
        assert ask(connection, READ.format("a")) == 1
    assert inspect(connect(second)).get_table_names() == []


def test_what_was_committed_survives_a_kill_and_nothing_else_does(server: Server) -> None:
    """The promise that all others stand on."""
    engine = prepared(server.new_database(), "kept", "lost")
    with engine.begin() as connection:
        ask(connection, ADVANCE.format("kept"))
    open_one = engine.connect()
    ask(open_one, ADVANCE.format("lost"))
    server.kill()
    assert not server.running
    assert not server.answers()
    give_up(open_one)
    server.start()
    with engine.connect() as connection:
        assert ask(connection, READ.format("kept")) == 1
        assert ask(connection, READ.format("lost")) == 0


def test_each_commit_is_on_the_disk_before_it_is_answered(postgresql: Postgresql, mariadb: Mariadb) -> None:
    """The settings that say so; a test can only kill a server, not the machine under it."""
    with connect(postgresql.url()).connect() as connection:
        assert [ask(connection, f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
    with connect(mariadb.url()).connect() as connection:
        assert ask(connection, "SELECT @@innodb_flush_log_at_trx_commit") == 1


def test_a_server_that_stands_still_is_silent_until_it_is_resumed(server: Server) -> None:
    """Unlike a killed one it refuses nothing: only a timeout of the client ends the wait."""
    engine = connect(server.url(), connect_timeout=2, **_reading_for(server, 2))
    server.pause()
    started = time.monotonic()
    with pytest.raises(DBAPIError):
        engine.connect()
    assert 1.5 < time.monotonic() - started < 10
    server.resume()
    with engine.connect() as connection:
        assert ask(connection, "SELECT 1") == 1


def test_a_stopped_server_starts_again_at_the_same_address(server: Server) -> None:
    """So an engine of the service finds it again."""
    before = server.url()
    server.stop()
    assert not server.answers()
    server.start()
    assert server.url() == before


def test_no_port_is_a_standard_one_or_one_that_the_kernel_gives_to_clients(server: Server) -> None:
    """A client that retries could else be connected to itself."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = {server.port, free_port(), free_port()}
    assert len(ports) == 3
    assert not ports & STANDARD_PORTS
    assert max(ports) < lowest


def test_a_full_disk_refuses_what_needs_space_and_loses_nothing(database_run: Run) -> None:
    """On PostgreSQL that is SQLSTATE 53100, on MariaDB error 1114; reads are answered, and writes again with space."""
    if reason := small_disk.why_not():
        pytest.skip(reason)
    for kind, name, mebibytes in ((Postgresql, "full-postgresql", 120), (Mariadb, "full-mariadb", 150)):
        with SmallDisk(database_run, name, mebibytes) as disk:
            server: Server = kind(database_run, name)
            server.create()
            server.start()
            engine = prepared(server.new_database(), "a")
            with engine.begin() as connection:
                ask(connection, "CREATE TABLE big (id INT PRIMARY KEY, value TEXT)")
            disk.fill()
            inserted, said = 0, None
            with engine.connect() as connection:
                while not said:
                    insert = f"INSERT INTO big VALUES ({inserted}, '{'x' * 5000}')"
                    said = refused(connection, insert) or refused(connection, "COMMIT")
                    inserted += not said
                connection.rollback()
                assert (said.kind, said.code) == ("OperationalError", "53100" if kind is Postgresql else 1114)
                assert ask(connection, "SELECT COUNT(*) FROM big") == inserted
                disk.empty()
                ask(connection, f"INSERT INTO big VALUES ({inserted}, 'x')")
                connection.commit()
            engine.dispose()
            server.kill()


def test_a_log_without_space_ends_postgresql_until_someone_starts_it_again(database_run: Run) -> None:
    """It does not come back by itself, but has all that it promised."""
    if reason := small_disk.why_not():
        pytest.skip(reason)
    with SmallDisk(database_run, "full-log", 120) as disk:
        server = Postgresql(database_run, "full-log")
        server.create()
        server.start()
        engine = prepared(server.new_database(), "a")
        disk.fill()
        with engine.connect() as connection:
            ask(connection, "SELECT pg_switch_wal()")
            said = refused(connection, ADVANCE.format("a")) or refused(connection, "COMMIT")
            give_up(connection)
        assert said
        assert (said.kind, said.invalidated) == ("OperationalError", True)
        until("the end of the server", lambda: not server.running)
        disk.empty()
        server.start()
        with engine.connect() as connection:
            assert ask(connection, READ.format("a")) == 0
        engine.dispose()
        server.kill()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that the servers' user can reach too; pytest's own are closed to it."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def test_the_next_run_removes_what_a_killed_one_left(database_run: Run, open_directory: Path) -> None:
    """Its servers, its files and its mounts."""
    script = (
        "import os, signal\n"
        "from tests.databases.mariadb import Mariadb\n"
        "from tests.databases.postgresql import Postgresql\n"
        "from tests.databases.run import Run\n"
        "run = Run.begin()\n"
        "for server in (Postgresql(run), Mariadb(run)):\n"
        "    server.create()\n"
        "    server.start()\n"
        "print(run.directory, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"TMPDIR": str(open_directory)}
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True
    )
    left = Path(killed.stdout.strip())
    assert _of(left)
    subprocess.run(
        [sys.executable, "-c", "from tests.databases.run import Run\nwith Run.begin(): pass"],
        cwd=PROJECT,
        env=environment,
        check=True,
    )
    assert not _of(left)
    assert list(open_directory.iterdir()) == []


def _of(directory: Path) -> list[str]:
    """The processes that carry the mark of the run in *directory*."""
    mark = f"{MARK}={directory}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.append(place.name)
        except OSError:
            pass
    return found


def _reading_for(server: Server, seconds: int) -> dict[str, int]:
    """PyMySQL's connect_timeout ends with TCP's handshake; the greeting is a read."""
    return {"read_timeout": seconds} if isinstance(server, Mariadb) else {}
