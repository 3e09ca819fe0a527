# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What differs between SQLite, PostgreSQL and MariaDB: how a connection is prepared, and what their errors mean.

Everything else of the store says the same to all three. What the errors are
was seen on real servers, see tests/databases/test_refusals.py and test_galera.py.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, exc, make_url
from sqlalchemy import Engine as Database
from sqlalchemy import create_engine as create_database

from peerdata.errors import SettingsInvalid, StoreUnavailable
from peerdata.repeats import Repeats

LOG = logging.getLogger(__name__)

FAILURES = Repeats(LOG, time.monotonic)
"""Every call that needs a store that is away meets the same failure."""

_FORM = (
    "write sqlite:////absolute/path, postgresql+psycopg://user:password@host/name, or "
    "mysql+pymysql://user:password@host/name"
)

SQLITE, POSTGRESQL, MYSQL = "sqlite", "postgresql", "mysql"

_DRIVERS = {SQLITE: "pysqlite", POSTGRESQL: "psycopg", MYSQL: "pymysql"}


def parse(url: str) -> URL:
    """
    *url* as SQLAlchemy has it, if it is one of a store.

    Raises:
        SettingsInvalid: it is not; says how it is written.
    """
    try:
        parsed = make_url(url)
        backend, driver = parsed.get_backend_name(), parsed.get_driver_name()
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
        raise SettingsInvalid(f"[database] connection cannot be understood; {_FORM}") from error
    if _DRIVERS.get(backend) != driver:
        raise SettingsInvalid(f"[database] connection names no store that is supported; {_FORM}")
    # SQLite's own URIs (file:) can mean memory in several ways.
    embedded = backend == SQLITE
    if not parsed.database or (
        embedded and (parsed.database.startswith((":", "file:")) or parsed.host or parsed.query)
    ):
        raise SettingsInvalid(
            f"[database] connection must name a {'file' if backend == SQLITE else 'database'}; {_FORM}"
        )
    return parsed


def file_of(url: str) -> Path | None:
    """The file of an embedded store; None where the store is a server."""
    parsed = parse(url)
    return Path(parsed.database or "").absolute() if parsed.get_backend_name() == SQLITE else None


def connect(url: str, *, busy_timeout_s: float, writes: bool, pool_size: int = 1) -> Database:
    """
    An SQLAlchemy engine on the store of *url*, set up so that what is committed survives, and what is read is true.

    Args:
        url: See `parse`. Directory and file of an embedded store are made, for this user alone, where they are missing.
        busy_timeout_s: How long to wait for a lock, for a connection, or for a silent server.
        writes: Its transactions decide by what they read, and write; else each is one read-only snapshot.
        pool_size: Connections to a server that are kept, and the most that are opened.
    """
    parsed = parse(url)
    path = file_of(url)
    if path:
        _make_file(path)
        return _connect_sqlite(url, busy_timeout_s, writes=writes)
    make = _connect_postgresql if parsed.get_backend_name() == POSTGRESQL else _connect_mysql
    try:
        return make(parsed, busy_timeout_s, writes=writes, pool_size=pool_size)
    except ModuleNotFoundError as error:
        extra = parsed.get_backend_name()
        raise SettingsInvalid(
            f"[database] connection needs the module {error.name}: pip install 'peerdata[server,{extra}]'"
        ) from error


_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""Why a file cannot be made that are no fault of the settings, and may pass."""


def _make_file(path: Path) -> None:
    if path.is_dir():
        raise SettingsInvalid(f"[database] connection names a directory, '{path}', where it must name a file")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What an instance keeps to itself may be a secret. SQLite gives its other files the mode of this one.
        path.touch(mode=0o600)
    except OSError as error:
        if error.errno in _PASSING:
            raise StoreUnavailable(f"cannot make the file '{path}': {error.strerror}") from error
        raise SettingsInvalid(
            f"cannot make the file '{path}': {error.strerror}; set [DEFAULT] state_path or [database] connection to a "
            "place that this user may write"
        ) from error


def _connect_sqlite(url: str, busy_timeout_s: float, *, writes: bool) -> Database:
    database = create_database(url, connect_args={"timeout": busy_timeout_s, "check_same_thread": False})

    @event.listens_for(database, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself; SQLAlchemy's "begin" below does.
        connection.isolation_level = None
        cursor = connection.cursor()
        _use_wal(cursor, busy_timeout_s)
        cursor.execute("PRAGMA synchronous = FULL")  # promise G8: in WAL mode NORMAL may lose the last commits
        if writes:
            # Together a quarter less CPU for a commit: a page that many commits change is folded back into the file
            # once in 16 MiB of log, not once in 4, and stays in memory until then (KiB where negative).
            cursor.execute("PRAGMA wal_autocheckpoint = 4096")
            cursor.execute("PRAGMA cache_size = -16384")
        cursor.close()

    @event.listens_for(database, "begin")
    def begin(connection: Connection) -> None:
        # A write takes its lock at the beginning, so that what it reads is still true when it writes.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return database


def _use_wal(cursor: Any, busy_timeout_s: float) -> None:
    """A file is turned to WAL by its first user; who comes at that moment is told «locked» without being let wait."""
    until = time.monotonic() + busy_timeout_s
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _connect_postgresql(url: URL, busy_timeout_s: float, *, writes: bool, pool_size: int) -> Database:
    patience_ms = int(busy_timeout_s * 1000)
    options = f"-c lock_timeout={patience_ms} -c statement_timeout={2 * patience_ms} -c synchronous_commit=on"
    return create_database(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=busy_timeout_s,
        # A write locks the project's row first, and every later statement must see what was committed until then;
        # a read is one snapshot.
        isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
        connect_args={
            "connect_timeout": max(2, int(busy_timeout_s)),
            "options": options,
            # A server that fell silent is one that is gone (Linux: TCP_USER_TIMEOUT, in milliseconds).
            "tcp_user_timeout": 2 * patience_ms,
        },
    )


def _connect_mysql(url: URL, busy_timeout_s: float, *, writes: bool, pool_size: int) -> Database:
    patience_s = max(1, int(busy_timeout_s))
    database = create_database(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=busy_timeout_s,
        isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
        connect_args={
            "charset": "utf8mb4",
            "connect_timeout": patience_s,
            # PyMySQL waits for ever otherwise.
            "read_timeout": 2 * patience_s,
            "write_timeout": 2 * patience_s,
        },
    )

    @event.listens_for(database, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {patience_s}")
            # On Galera a node may answer before it has applied what another has committed, or while it is cut off and
            # does not know it yet. 1: wait before reads, and so refuse where that cannot be known (promise G3).
            cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
            row = cursor.fetchone()
            if row and row[1] == "ON":
                cursor.execute("SET SESSION wsrep_sync_wait = 1")

    return database


def hang_up(connection: Connection) -> None:
    """Shut the connection to a server down, whoever waits on it, in whatever thread; its driver finds it lost."""
    driven: Any = connection.connection.dbapi_connection
    try:
        descriptor = driven.fileno() if hasattr(driven, "fileno") else driven._sock.fileno()  # psycopg; PyMySQL
        with socket.socket(fileno=os.dup(descriptor)) as same:
            same.shutdown(socket.SHUT_RDWR)
    except Exception as error:  # closed already, in one of many ways
        LOG.debug("There was nothing to hang up on: %s", error)


# PostgreSQL: serialization failure, deadlock, duplicate. MariaDB: deadlock, which is also Galera's refusal of a
# transaction that met another node's; lock wait timeout is not among them, as it has waited long enough.
_CONFLICTS: frozenset[object] = frozenset(("40001", "40P01", "23505", 1213, 1062))


def is_conflict(error: BaseException) -> bool:
    """
    Whether a transaction met another one, so that it did nothing and may succeed when tried again.

    A duplicate is one: two servers made the same row at the same moment, and the next try will find it.
    """
    return isinstance(error, exc.DBAPIError) and _code(error) in _CONFLICTS


def is_lost(error: BaseException) -> bool:
    """Whether the connection was lost, or a Galera node cut off in COMMIT (1180): nobody knows whether it was done."""
    return isinstance(error, exc.DBAPIError) and (bool(error.connection_invalidated) or _code(error) == 1180)


def leaves_commit_open(error: BaseException) -> bool:
    """Whether, met in COMMIT, it leaves it open what was done: a lost connection, or a disk that failed to sync."""
    # SQLITE_IOERR and its kinds: the write may be in the log all the same, and be found there after a crash.
    return is_lost(error) or (
        isinstance(error, exc.DBAPIError) and getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR
    )


def _code(error: exc.DBAPIError) -> object:
    cause: Any = error.orig
    first = cause.args[0] if cause is not None and cause.args else None
    return first if isinstance(first, int) else getattr(cause, "sqlstate", None)


@contextmanager
def translated_errors(doing: str) -> Iterator[None]:
    """Inside, an error of the database becomes `StoreUnavailable`; the log has its own words, the answer not."""
    try:
        yield
    except exc.DBAPIError as error:
        if isinstance(error, exc.IntegrityError | exc.ProgrammingError | exc.DataError):
            raise  # a defect of ours
        raise _unavailable(doing, error) from error
    except exc.TimeoutError as error:  # no connection came free
        raise _unavailable(doing, error) from error


def _unavailable(doing: str, error: exc.SQLAlchemyError) -> StoreUnavailable:
    cause = getattr(error, "orig", None) or error
    reason = " ".join(str(cause).split())
    FAILURES.tell((doing, type(cause)), f"The store failed while {doing}: {reason}", logging.ERROR)
    return StoreUnavailable(f"the store is away while {doing}; nothing was stored, try again in a moment")
