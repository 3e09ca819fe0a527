# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Several processes that answer, under one that starts them, starts again those that die, and hands signals on.

Cotyledon does that, as it does under oslo.service for nova. What is here is what the workers share: the listeners,
which the first process opens and they inherit, and the files in which each of them counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import glob
import logging
import math
import multiprocessing
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import cotyledon
import uvloop
from prometheus_client import values

from peerdata import notify
from peerdata.errors import PeerdataError
from peerdata.oversight import GONE, RELOADING, STOPPING, Oversight, Reporter, Reports, abort, oversee
from peerdata.settings import Settings

if TYPE_CHECKING:
    from peerdata.serving import OpenListener, Service

MakeService = Callable[[notify.Observer], "Service"]
"""Makes the service of one process, for whoever wants to know how it is."""

LOG = logging.getLogger(__name__)

SPARE_S = 2
"""How much longer than its own limits allow a worker may take to end, before it is cut off."""

HURRY = signal.SIGUSR1
"""Tells a worker to end without waiting for anybody."""

METRICS_PREFIX = "peerdata-metrics-"
"""Of the directories in which workers count."""

OWNER = "owner"
"""The file in such a directory that is locked while anybody counts there."""

_number = "none"
"""Of the worker that this process is."""


@contextmanager
def share_metrics() -> Iterator[None]:
    """
    Let workers count together, in files of a directory; to be entered before anything that counts is imported.

    Each is known by its number, so that one which was started again goes on where the one before it ended. The
    directory goes when the last worker has; one that was left behind, by a kill -9, goes when the next service starts.
    """
    assert "peerdata.metrics" not in sys.modules
    _remove_left_metrics()
    made = tempfile.TemporaryDirectory(prefix=METRICS_PREFIX, ignore_cleanup_errors=True)
    with made as directory, _own(directory):
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        values.ValueClass = values.MultiProcessValue(lambda: _number)  # type: ignore[no-untyped-call]
        yield


@contextmanager
def _own(directory: str) -> Iterator[None]:
    """Hold the lock in *directory*, as its workers do, which inherit it. It has its name only once it is locked."""
    unnamed = os.path.join(directory, f"new-{OWNER}")
    with open(unnamed, "x") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(unnamed, os.path.join(directory, OWNER))
        yield


def _remove_left_metrics() -> None:
    """Remove the directories of this user's services of which no process lives any more."""
    for directory in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), METRICS_PREFIX + "*")):
        try:
            there = os.lstat(directory)
            if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
                continue
            with open(os.path.join(directory, OWNER)) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while it has an owner
                shutil.rmtree(directory, ignore_errors=True)
        except OSError:
            continue


def supervise(
    settings: Settings,
    listeners: Sequence[OpenListener],
    make_service: MakeService,
    notifier: notify.Notifier | None = None,
) -> None:
    """
    Run as many workers as *settings* say, until SIGTERM; exits the process then, or at the next signal at once.

    Args:
        settings: Of all of them.
        listeners: From which all of them accept.
        make_service: Called in each of them, once it is a process of its own.
        notifier: Is told of all of them together.
    """
    ending_s = (
        settings.instance_api.drain + settings.nova.pass_through_timeout + settings.database.busy_timeout + SPARE_S
    )
    # So that they inherit what is open. Cotyledon 2.2 could be told (mp_context); before, as in OpenStack 2025.1 and
    # 2025.2, it takes the default of multiprocessing, which is another one from Python 3.14 on.
    multiprocessing.set_start_method("fork", force=True)
    manager = cotyledon.ServiceManager(graceful_shutdown_timeout=math.ceil(ending_s) + 1)
    reports = _watch(manager, notifier or notify.Notifier(), settings.instance_api.workers)
    manager.register_hooks(on_terminate=partial(_begin_to_end, listeners))
    manager.add(_Worker, settings.instance_api.workers, args=(make_service, math.ceil(ending_s), reports))
    manager.run()


def _begin_to_end(listeners: Sequence[OpenListener]) -> None:
    """
    Leave the listeners to the workers, which close them last, and hand on that somebody does not want to wait.

    Cotyledon ignores signals from here on. It sends SIGTERM to each worker, and so does systemd; so a worker may get
    two that mean one, and is told by another signal.
    """
    for listener in listeners:
        listener.close()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _hurry)


def _hurry(*_: object) -> None:
    for worker in multiprocessing.active_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid or 0, HURRY)


def _watch(manager: cotyledon.ServiceManager, notifier: notify.Notifier, workers: int) -> _MakeReporter:
    """Have *notifier* told of the workers of *manager*; gives what they report with."""
    reports = Reports()
    watchdog_s = notifier.watchdog_s
    oversight = Oversight(notifier, workers, clock=time.monotonic, end=abort)
    manager.register_hooks(
        on_terminate=lambda: reports.send(STOPPING),
        on_reload=lambda: reports.send(RELOADING),
        on_dead_worker=lambda _service, worker, _code: reports.send(GONE, worker),
    )
    oversee(oversight, reports, every_s=watchdog_s / 4 if watchdog_s else 1)
    return lambda worker: Reporter(reports, worker, watchdog_s)


_MakeReporter = Callable[[int], notify.Observer]
"""Makes what the worker of that number reports with."""


class _Worker(cotyledon.Service):
    """
    One process that answers. Cotyledon keeps its main thread for signals, and calls each method in another.

    Args:
        worker_id: 0 and so on.
        make_service: Makes what it runs.
        ending_s: Within how many seconds it must end.
        make_reporter: Makes what it reports with.
    """

    name = "instance_api"

    def __init__(self, worker_id: int, make_service: MakeService, ending_s: int, make_reporter: _MakeReporter) -> None:
        global _number
        super().__init__(worker_id)  # type: ignore[arg-type]  # cotyledon has a type of its own for it
        _number = str(worker_id)
        self.graceful_shutdown_timeout = ending_s  # type: ignore[misc]
        try:
            self._service = make_service(make_reporter(worker_id))
        except PeerdataError as error:  # a certificate that is just being replaced, say
            LOG.error("Worker %s cannot start: %s", _number, error.message)
            sys.exit(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_loop = threading.Event()
        self._ended = threading.Event()
        signal.signal(HURRY, lambda *_: self._in_loop(self._service.stop_now))

    def run(self) -> None:
        """Answer until `terminate`. Who cannot start says why, ends, and is started again."""
        try:
            uvloop.run(self._answer())
        except PeerdataError as error:
            LOG.error("Worker %s cannot start: %s", _number, error.message)
            sys.exit(1)

    # Not `_run`: that is one of cotyledon's own before 2.2, as are `_reload` and `_terminate`.
    async def _answer(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._has_loop.set()
        try:
            await self._service.run()
        finally:
            self._ended.set()

    def terminate(self) -> None:
        """Drain, and let what was begun finish."""
        self._in_loop(self._service.stop)
        self._ended.wait()

    def reload(self) -> None:
        """SIGHUP."""
        self._in_loop(self._service.reload)

    def _in_loop(self, action: Callable[[], None]) -> None:
        self._has_loop.wait()
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(action)
