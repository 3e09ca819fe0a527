# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The connection to the store: transactions in threads of their own, writes in groups, and the database's errors as ours.

The embedded store is one SQLite file. It has one writer at a time, so writes run in one
thread; all that wait there share one transaction, and so one fsync, while each is
still whole or not at all. Reads run beside them in another thread, each in a snapshot of its own (WAL).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, event, exc, make_url
from sqlalchemy import Engine as Database
from sqlalchemy import create_engine as create_database

from peerdata.errors import PeerdataError, ServerBusy, SettingsInvalid, StoreUnavailable

LOG = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], T]

GROUP_MOST = 256
"""Writes in one transaction; bounds what the first of them waits for."""


_FORM = "write sqlite:/// and the absolute path, as in sqlite:////var/lib/peerdata/peerdata.sqlite"


def file_of(url: str) -> Path:
    """
    The file of a store.

    Raises:
        SettingsInvalid: *url* does not name one.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise SettingsInvalid(f"[database] connection cannot be understood; {_FORM}") from error
    # SQLite's own URIs (file:) can mean memory in several ways.
    if not parsed.database or parsed.database.startswith((":", "file:")) or parsed.host:
        raise SettingsInvalid(f"[database] connection must name a file; {_FORM}")
    return Path(parsed.database).absolute()


def connect(url: str, *, busy_timeout_s: float, writes: bool) -> Database:
    """
    An SQLAlchemy engine on the SQLite file of *url*, set up to survive a power cut.

    Args:
        url: ``sqlite:////absolute/path``. Directory and file are made, for this user alone, where they are missing.
        busy_timeout_s: How long to wait for a lock that another process holds.
        writes: Take the write lock at the beginning of a transaction (BEGIN IMMEDIATE), so that what it reads is
            still true when it writes.
    """
    path = file_of(url)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What an instance keeps to itself may be a secret. SQLite gives its other files the mode of this one.
        path.touch(mode=0o600)
    except OSError as error:
        raise SettingsInvalid(
            f"cannot make the file '{path}': {error.strerror}; set [DEFAULT] state_path or [database] connection to a "
            "place that this user may write"
        ) from error
    database = create_database(url, connect_args={"timeout": busy_timeout_s, "check_same_thread": False})

    @event.listens_for(database, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself; SQLAlchemy's "begin" below does.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # promise G8: in WAL mode NORMAL may lose the last commits
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(database, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return database


@contextmanager
def translated_errors(doing: str) -> Iterator[None]:
    """Inside, an error of the database becomes `StoreUnavailable`; the log has its own words, the answer not."""
    try:
        yield
    except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
        raise  # a defect of ours
    except (exc.DBAPIError, exc.TimeoutError) as error:
        reason = str(getattr(error, "orig", None) or error)
        LOG.error("The store failed while %s: %s", doing, reason)
        raise StoreUnavailable(f"the store is away while {doing}; nothing was stored, try again in a moment") from error


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Engine:
    """Runs work against the store, off the event loop."""

    def __init__(self, url: str, *, busy_timeout_s: float, max_waiting_writes: int) -> None:
        self._reading = connect(url, busy_timeout_s=busy_timeout_s, writes=False)
        self._writing = connect(url, busy_timeout_s=busy_timeout_s, writes=True)
        self._watching = sqlite3.connect(
            str(self._reading.url.database), timeout=0, isolation_level=None, check_same_thread=False
        )
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="store-read")
        self._max_waiting = max_waiting_writes
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_for_ever, name="store-write", daemon=True)
        self._writer.start()

    def version(self) -> int | None:
        """
        A number that is another one after any commit, by whatever process; None where that cannot be told at once.

        Costs 5 microseconds and never waits: SQLite compares a counter in the memory that
        all users of the file share (PRAGMA data_version).
        """
        try:
            found: int = self._watching.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:
            return None
        return found

    async def read(self, work: Work[T]) -> T:
        """
        Run *work* in a read-only snapshot.

        Raises:
            StoreUnavailable.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Work[T]) -> T:
        with translated_errors("reading"), self._reading.connect() as connection, connection.begin():
            return work(connection)

    async def write(self, work: Work[T]) -> T:
        """
        Run *work* in a transaction that is durable when this returns, together with other work that waits.

        *work* must refuse before it writes: what it raises does not undo what it did. It may run twice, the first time
        undone, so it must have no effects but on the connection.

        Raises:
            StoreUnavailable: nothing of it was stored.
            ServerBusy: too many wait already; nothing of it was begun.
            PeerdataError: what *work* itself raised.
        """
        if self._jobs.qsize() >= self._max_waiting:
            raise ServerBusy(f"{self._max_waiting} calls wait for the store already; try again in a moment")
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future(), loop)
        self._jobs.put(job)
        # A caller that goes away must not cancel what the writer is about to settle.
        result: T = await asyncio.shield(job.done)
        return result

    def _write_for_ever(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            while len(group) < GROUP_MOST:
                try:
                    further = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if further is None:
                    self._jobs.put(None)
                    break
                group.append(further)
            self._write_group(group)

    def _write_group(self, group: list[_Job]) -> None:
        """Settle every job of *group*: in one transaction, or, where one of them breaks it, each in its own."""
        try:
            outcomes = self._in_one_transaction(group)
        except Exception as error:
            if len(group) > 1 and not isinstance(error, StoreUnavailable):
                for job in group:
                    self._write_group([job])
                return
            outcomes = [error] * len(group)
        for job, outcome in zip(group, outcomes, strict=True):
            try:
                job.loop.call_soon_threadsafe(_settle, job.done, outcome)
            except RuntimeError:  # the loop has ended, and nobody waits any more
                LOG.debug("A write was settled after its caller had gone")

    def _in_one_transaction(self, group: list[_Job]) -> list[Any]:
        outcomes: list[Any] = []
        with translated_errors("writing"), self._writing.connect() as connection, connection.begin():
            for job in group:
                try:
                    outcomes.append(job.work(connection))
                except PeerdataError as refusal:
                    outcomes.append(refusal)
        return outcomes

    def close(self) -> None:
        """Finish what waits, and let go of the store. Blocks; idempotent."""
        self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown()
        self._watching.close()
        self._reading.dispose()
        self._writing.dispose()


def _settle(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.cancelled():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
