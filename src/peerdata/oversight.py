# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What the workers report to the process above them, and what it tells the service manager of them.

The service manager hears one process. It is told that the service is ready once every worker listens, and that it is
alive as long as one is. A worker whose event loop hangs is ended by the process above it, which starts it again; the
others go on meanwhile.

Everything arrives through one pipe, which the workers inherit, and is looked at in one thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable

from peerdata.notify import Notifier

LOG = logging.getLogger(__name__)

READY, ALIVE, GONE, RELOADING, STOPPING = "ready", "alive", "gone", "reloading", "stopping"
"""The words of a report: of a worker, then of the process above it."""

MAX_RELOAD_S = 60.0
"""A reload that some worker has not finished by then is reported as finished: systemctl must not wait for ever."""


class Reports:
    """The pipe; made before the workers are. A report is one line, and so arrives whole."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)

    def send(self, word: str, worker: int = -1) -> None:
        """Say *word* of *worker*, which is this process; -1: of the process above."""
        try:
            os.write(self._writing, f"{worker} {os.getpid()} {word}\n".encode())
        except OSError as error:  # nobody reads any more, or is far behind: the next one will do
            LOG.debug("A report was lost: %s", error)


class Reporter:
    """The process above, as a `notify.Observer` in a worker."""

    def __init__(self, reports: Reports, worker: int, watchdog_s: float | None) -> None:
        self._reports = reports
        self._worker = worker
        self._watchdog_s = watchdog_s

    def ready(self) -> None:
        self._reports.send(READY, self._worker)

    def reloading(self) -> None:
        """Whoever handed the signal on knows it."""

    def stopping(self) -> None:
        """As with `reloading`."""

    async def keep_alive(self) -> None:
        while self._watchdog_s:
            self._reports.send(ALIVE, self._worker)
            await asyncio.sleep(self._watchdog_s / 4)


class Oversight:
    """
    What is known of the workers, and what follows from it. Not for several threads.

    Args:
        notifier: Is told.
        workers: How many there are to be.
        clock: Seconds, monotonic.
        end: Ends the process of that id, so that it is started again.
    """

    def __init__(
        self, notifier: Notifier, workers: int, *, clock: Callable[[], float], end: Callable[[int], object]
    ) -> None:
        self._notifier = notifier
        self._number = workers
        self._clock = clock
        self._end = end
        self._alive: dict[int, tuple[int, float]] = {}
        """Of each worker that has listened: its process, and when it was last heard."""
        self._reloading: set[int] | None = None
        self._reload_until = 0.0
        self._told_ready = False
        self._stopping = False
        self._looked_at = clock()

    def hear(self, worker: int, pid: int, word: str) -> None:
        """A report has arrived."""
        if word == READY:
            self._alive[worker] = pid, self._clock()
            self._finish_reload(worker)
        elif word == ALIVE and self._alive.get(worker, (0, 0))[0] == pid:
            self._alive[worker] = pid, self._clock()
        elif word == GONE:
            self._alive.pop(worker, None)
            self._finish_reload(worker)
        elif word == RELOADING and self._told_ready and not self._stopping:
            self._reloading = set(self._alive)
            self._reload_until = self._clock() + MAX_RELOAD_S
            self._notifier.reloading()
        elif word == STOPPING:
            self._stopping = True
            self._notifier.stopping()
        if not self._told_ready and len(self._alive) == self._number:
            self._told_ready = True
            self._notifier.ready()

    def _finish_reload(self, worker: int) -> None:
        if self._reloading is not None:
            self._reloading.discard(worker)
            self._end_reload()

    def _end_reload(self) -> None:
        if self._reloading is not None and (not self._reloading or self._clock() > self._reload_until):
            self._reloading = None
            self._notifier.ready()

    def look(self) -> None:
        """To be called several times within the watchdog's interval: end who hangs, and say that the others live."""
        self._end_reload()
        watchdog_s = self._notifier.watchdog_s
        now = self._clock()
        late, self._looked_at = now - self._looked_at, now
        if not watchdog_s:
            return
        if late > watchdog_s / 2:
            # This thread itself stood still: so may have the machine, and nobody can be blamed for having kept silent.
            self._alive = {worker: (pid, now) for worker, (pid, _) in self._alive.items()}
        for worker, (pid, heard_at) in list(self._alive.items()):
            if now - heard_at > watchdog_s and not self._stopping:
                LOG.error("Worker %d, process %d, has not responded for %.0f s: ending it", worker, pid, watchdog_s)
                del self._alive[worker]
                self._finish_reload(worker)
                self._end(pid)
        if self._alive or not self._told_ready:
            self._notifier.alive()


def oversee(oversight: Oversight, reports: Reports, *, every_s: float) -> None:
    """Hear *reports* from now on, in a thread of its own that lives as long as the process."""

    def run() -> None:
        rest = b""
        while True:
            oversight.look()
            readable, _, _ = select.select([reports.reading], [], [], every_s)
            if not readable:
                continue
            *lines, rest = (rest + os.read(reports.reading, 65_536)).split(b"\n")
            for line in lines:
                worker, pid, word = line.decode().split()
                oversight.hear(int(worker), int(pid), word)

    threading.Thread(target=run, name="oversight", daemon=True).start()


def abort(pid: int) -> None:
    """End a process that hangs: with SIGABRT, at which it says where (faulthandler), and with SIGKILL if need be."""
    try:
        os.kill(pid, signal.SIGABRT)
        time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
