# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Work against the store: transactions in threads of their own, writes in groups, conflicts tried again in one place.

# Why the promises hold

A write locks its project's row before it looks at anything, and gives the
project its next revision in the same transaction. So the changes of one project
are decided one after the other, and no revision can be seen before those
below it (G2). On SQLite the lock is the file's; on a server it is the row's, and other projects go on. On
Galera two nodes can both believe to hold the row; then the one whose commit comes
second is refused as a whole, and decides anew on what the first has left.

All calls that wait in one lane share one transaction, and so one fsync; the
lane is the project, or with SQLite the file. Calls that stand side by side and want the same are done together, by
statements whose number does not grow with theirs: the projects are locked and the instances read, then each call is
decided in its turn on what those before it leave, and what was accepted is written. A call that is refused has written
nothing, so one refusal undoes nothing of another (G1). If a group fails for a reason that is not the
store's, each of its calls is tried again by itself.

A transaction that met another one has done nothing, and is tried again here and
nowhere else. If the connection is lost while COMMIT is on its way, nobody knows; the
work is done again on a new connection, which changes nothing where it was done the first time
(publishing the same is no change). Where that fails too, the answer says that it is not known.

A read is one snapshot (G4), and begins after whoever asked for it. The databases
answer with everything that was committed before: SQLite and PostgreSQL always do, a Galera node because
it is told to wait for the others (`database.connect`, wsrep_sync_wait). That is G3, through any server.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from sqlalchemy import Connection
from sqlalchemy import Engine as Database

from peerdata.errors import PeerdataError, ServerBusy, StoreUnavailable
from peerdata.store.database import (
    FAILURES,
    connect,
    file_of,
    is_conflict,
    is_lost,
    leaves_commit_open,
    translated_errors,
)
from peerdata.store.lanes import Lanes
from peerdata.store.measuring import measured
from peerdata.store.watchdog import Watchdog

LOG = logging.getLogger(__name__)

C = TypeVar("C")
T = TypeVar("T")

Work = Callable[[Connection], T]
"""Gives its outcome, or raises why it is refused."""

WorkForAll = Callable[[Connection, Sequence[C]], Sequence[T | PeerdataError]]
"""Gives for each of some calls, in the order in which they came, its outcome, or why it is refused."""

WRITERS = 8
"""Projects whose writes are under way side by side, on a server; each holds a connection."""

READERS = 2
"""Reads under way side by side, on a server. One question serves all who wait, so it is not one for each reader."""


NOT_KNOWN = (
    "the store was lost while it was writing, and it is not known whether this was stored; ask again: the same call "
    "changes nothing where it was"
)

SPARE_S = 1.0
"""How much longer than its own limits a transaction may take before the server is held to be silent."""

_deciding = threading.Lock()


@dataclass(slots=True)
class _Job:
    work: WorkForAll[Any, Any]
    call: Any
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    look: WorkForAll[Any, Any] | None = None
    begun: bool = False
    given_up: bool = False

    def begin(self) -> bool:
        """Whether anybody still waits for it; from now on it is not known what is stored of it."""
        with _deciding:
            self.begun = not self.given_up
            return self.begun

    def expire(self) -> None:
        """Let nobody wait for it any more. Where it has not begun, it never will."""
        with _deciding:
            self.given_up = not self.begun
        nothing = "the store keeps silent; nothing was stored, try again in a moment"
        _settle([(self, StoreUnavailable(nothing if self.given_up else NOT_KNOWN))])


class Engine:
    """
    Runs work against the store, off the event loop.

    Args:
        url: See `database.connect`.
        busy_timeout_s: How long a lock, a connection or a conflict may keep work waiting before it is refused.
        max_waiting_writes: How many writes may wait.
        opened: Whether the store was prepared; else nothing of it is touched, and all work is refused, until `open`.
    """

    _reading: Database
    _writing: Database

    def __init__(self, url: str, *, busy_timeout_s: float, max_waiting_writes: int, opened: bool = True) -> None:
        path = file_of(url)
        self._writers, self._readers_max = (1, 1) if path else (WRITERS, READERS)
        self._url = url
        self._path = path
        self._one_lane = path is not None
        self._patience_s = busy_timeout_s
        # A call may meet one transaction that waits in vain, and then be the next that does.
        self._deadline_s = 2 * (busy_timeout_s + SPARE_S)
        self._watchdog = Watchdog(busy_timeout_s + SPARE_S)
        self._max_waiting = max_waiting_writes
        self._file: _File | None = None
        self._watching: sqlite3.Cursor | None = None
        self._readers = ThreadPoolExecutor(self._readers_max, thread_name_prefix="store-read")
        self._lanes = Lanes(self._settle_group, self._writers, max_waiting=max_waiting_writes)
        self._closing = False
        self._opened = False
        if opened:
            self.open()

    def open(self) -> None:
        """
        The store was prepared by now: do work from now on.

        Raises:
            StoreUnavailable: its file cannot be used any more.
        """
        url, patience_s = self._url, self._patience_s
        reading = connect(url, busy_timeout_s=patience_s, writes=False, pool_size=self._readers_max)
        if self._path:
            try:
                watching = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            except sqlite3.Error as error:
                reading.dispose()
                raise StoreUnavailable(f"the store's file cannot be opened: {error}") from error
            self._file = _File(self._path)
            self._watching = watching.cursor()
        self._reading = reading
        self._writing = connect(url, busy_timeout_s=patience_s, writes=True, pool_size=self._writers)
        self._opened = True

    def _check_opened(self) -> None:
        if not self._opened:
            raise StoreUnavailable("the store has not been there since the service started; try again in a moment")

    def version(self) -> int | None:
        """
        A number that is another one after any commit, by whatever process; None where that cannot be told at once.

        Costs 4 microseconds and never waits: SQLite compares a counter in the memory that
        all users of the file share (PRAGMA data_version). A server would have to be asked.
        """
        if self._watching is None:
            return None
        try:
            # One cursor again and again, each time read to the end, costs half of what a new one does.
            ((found,),) = self._watching.execute("PRAGMA data_version").fetchall()
        except sqlite3.Error:
            return None
        return int(found)

    async def read(self, work: Work[T]) -> T:
        """
        Run *work* in a read-only snapshot.

        Raises:
            StoreUnavailable.
        """
        self._check_opened()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)
        except TimeoutError as error:
            raise StoreUnavailable("the store keeps silent; nothing could be read, try again in a moment") from error

    @measured("read")
    def _read(self, work: Work[T]) -> T:
        began = time.monotonic()
        with translated_errors("reading"):
            try:
                return self._read_once(work)
            except Exception as error:
                hopeless = self._closing or time.monotonic() - began > self._patience_s / 2
                if hopeless or not (is_lost(error) or is_conflict(error)):
                    raise
            # The server was restarted since the connection was last used, or refused the snapshot to another's sake.
            return self._read_once(work)

    def _read_once(self, work: Work[T]) -> T:
        if self._file:
            self._file.check()
        with self._reading.connect() as connection, self._watched(connection), connection.begin():
            return work(connection)

    def _watched(self, connection: Connection) -> AbstractContextManager[None]:
        return nullcontext() if self._file else self._watchdog.over(connection)

    async def write(self, work: Work[T], lane: str = "", look: WorkForAll[Work[T], T | None] | None = None) -> T:
        """
        Run *work* in a transaction that is durable when this returns, together with other work of its *lane*.

        *work* must refuse before it writes: what it raises does not undo what it did. It may run more than once, all
        but the last time undone, so it must have no effects but on the connection; and where it ran already it must
        change nothing.

        Args:
            work: Gets the connection.
            lane: The project whose row *work* locks first; work of different lanes goes side by side where it can.
                Where it cannot, each has its turn.
            look: As for `write_together`.

        Raises:
            StoreUnavailable: nothing of it was stored, unless the message says that it is not known.
            ServerBusy: too many wait already, most of them of this project; nothing of it was begun.
            PeerdataError: what *work* itself raised.
        """
        return await self.write_together(_one_by_one, work, lane, look)

    async def write_together(
        self, work: WorkForAll[C, T], call: C, lane: str = "", look: WorkForAll[C, T | None] | None = None
    ) -> T:
        """
        Do *call* with *work*, at once with the calls of others who wait beside it for the same *work*.

        Args:
            work: Gets the connection and the calls. Its rules are those of `write`, except that it returns refusals:
                whatever it raises is no call's, and is tried again with each by itself.
            call: What *work* is to do here.
            lane: As for `write`.
            look: Asked before *work*, in a read-only snapshot that began after this call and takes no lock. A call for
                which it gives an outcome or a refusal is settled by that; the others go on to *work*.

        Raises:
            StoreUnavailable, ServerBusy: as `write` does.
            PeerdataError: the refusal that *work* or *look* returned for this call.
        """
        self._check_opened()
        loop = asyncio.get_running_loop()
        job = _Job(work, call, loop.create_future(), loop, look)
        if displaced := self._lanes.put("" if self._one_lane else lane, lane, job):
            busy = f"{self._max_waiting} calls wait for the store, and this project has most of them; try again soon"
            _settle([(displaced, ServerBusy(busy))])
        deadline = loop.call_later(self._deadline_s, job.expire)
        try:
            # A caller that goes away cancels this future, and not what is about to be settled.
            result: T = await job.done
            return result
        finally:
            deadline.cancel()

    def _settle_group(self, group: list[_Job], go_on: Callable[[], None] | None) -> None:
        """Settle every job of *group* in this thread, and let the loop know of it."""
        group = [job for job in group if job.begin()]
        settled = list(zip(group, self._outcomes(group), strict=True))
        try:
            # Once for all: waking the loop costs more than settling a call.
            group[0].loop.call_soon_threadsafe(_settle, settled, go_on)
        except (IndexError, RuntimeError):  # nobody waits any more; or the loop has ended
            if go_on:
                go_on()

    def _outcomes(self, group: list[_Job]) -> list[Any]:
        """What comes of each of *group*: in one transaction, or, where one of them breaks it, each in its own."""
        try:
            if self._closing:
                raise StoreUnavailable("the service is stopping; nothing was stored, try again")
            outcomes = self._look(group)
            undecided = [place for place, outcome in enumerate(outcomes) if outcome is None]
            if undecided:
                written = self._run([group[place] for place in undecided])
                for place, outcome in zip(undecided, written, strict=True):
                    outcomes[place] = outcome
            return outcomes
        except Exception as error:
            if len(group) > 1 and not isinstance(error, StoreUnavailable):
                return [outcome for job in group for outcome in self._outcomes([job])]
            return [error] * len(group)

    def _look(self, group: list[_Job]) -> list[Any]:
        """What a read can tell of the outcomes; None where it cannot."""
        outcomes: list[Any] = [None] * len(group)
        looking = [place for place, job in enumerate(group) if job.look]
        if looking:
            calls = [(group[place].look, group[place].call) for place in looking]
            found = self._read(lambda connection: _do(calls, connection))
            for place, outcome in zip(looking, found, strict=True):
                outcomes[place] = outcome
        return outcomes

    @measured("write")
    def _run(self, group: list[_Job]) -> list[Any]:
        """The outcomes of *group*, after as many tries as it takes within the patience."""
        until = time.monotonic() + self._patience_s
        pause_s = 0.005
        commit_lost = False
        while True:
            committing = False
            if self._file:
                self._file.check()
            try:
                with (
                    self._writing.connect() as connection,
                    self._watched(connection),
                    connection.begin() as transaction,
                ):
                    outcomes = _do([(job.work, job.call) for job in group], connection)
                    committing = True
                    transaction.commit()
                return outcomes
            except Exception as error:
                commit_lost = commit_lost or (committing and leaves_commit_open(error))
                hopeless = self._closing or time.monotonic() + pause_s > until
                if hopeless or not (is_lost(error) or is_conflict(error)):
                    _give_up(error, commit_lost=commit_lost)
            # Spread, so that those who met do not meet again.
            time.sleep(pause_s * random.random())  # noqa: S311 - keeps no secret
            pause_s = min(2 * pause_s, 0.5)

    def close(self) -> None:
        """Finish what is under way, refuse what waits, and let go of the store. Blocks."""
        self._closing = True
        self._watchdog.hurry(SPARE_S)  # nobody waits any more who could be told
        self._lanes.close()
        self._readers.shutdown()
        if self._watching:
            self._watching.connection.close()
        self._watchdog.close()
        if self._opened:
            self._reading.dispose()
            self._writing.dispose()


class _File:
    """The file of an embedded store. Once it is removed, SQLite goes on writing to what has no name any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = self._identify()

    def _identify(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def check(self) -> None:
        """
        Raise if the file is not that of the beginning any more. Costs 2 microseconds.

        Raises:
            StoreUnavailable.
        """
        if self._identify() != self._identity:
            line = f"The store's file {self._path} was removed or replaced while the service runs: restart it"
            FAILURES.tell("file", line, logging.ERROR)
            raise StoreUnavailable(
                "the store's file was removed or replaced while the service runs; nothing was stored, and the operator "
                "must restart the service"
            )


def _give_up(error: Exception, *, commit_lost: bool) -> NoReturn:
    try:
        with translated_errors("writing"):
            raise error
    except StoreUnavailable as unavailable:
        if not commit_lost:
            raise
        raise StoreUnavailable(NOT_KNOWN) from unavailable


def _do(calls: Sequence[tuple[Any, Any]], connection: Connection) -> list[Any]:
    """
    The outcomes of (work, call) each; those that want the same work are done together.

    None of them has been answered yet, so they have no order among them that anybody could tell.
    """
    by_work: dict[WorkForAll[Any, Any], list[int]] = {}
    for place, (work, _) in enumerate(calls):
        by_work.setdefault(work, []).append(place)
    outcomes: list[Any] = [None] * len(calls)
    for work, places in by_work.items():
        for place, outcome in zip(places, work(connection, [calls[place][1] for place in places]), strict=True):
            outcomes[place] = outcome
    return outcomes


def _one_by_one(connection: Connection, works: Sequence[Work[T]]) -> list[T | PeerdataError]:
    """What each of *works* gives, or the refusal that it raises."""
    outcomes: list[T | PeerdataError] = []
    for work in works:
        try:
            outcomes.append(work(connection))
        except PeerdataError as refusal:
            outcomes.append(refusal)
    return outcomes


def _settle(settled: list[tuple[_Job, Any]], go_on: Callable[[], None] | None = None) -> None:
    try:
        for job, outcome in settled:
            if job.done.done():  # the caller has gone, or was told that it takes too long
                continue
            if isinstance(outcome, Exception):
                job.done.set_exception(copy.copy(outcome))  # each raise adds its own frames
            else:
                job.done.set_result(outcome)
    finally:
        if go_on:
            asyncio.get_running_loop().call_soon(go_on)  # behind the callers, which have just been woken
