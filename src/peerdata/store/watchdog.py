# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Hangs up on a server that keeps silent, so that the thread which waits for it can go on.

A server that stands still, or whose machine's network swallows everything, ends no wait by itself: statement
timeouts are the server's own, TCP_USER_TIMEOUT does not count while its kernel acknowledges, and not every driver has
a timeout for reading. So who waits is watched from outside, and after a while its connection is shut down under it,
which the driver takes for one that was lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from peerdata.store.database import hang_up

LOG = logging.getLogger(__name__)


class Watchdog:
    """
    Watches transactions from a thread of its own, which begins with the first of them.

    Args:
        patience_s: How long one may take.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._watched: dict[object, tuple[float, Connection]] = {}
        self._thread: threading.Thread | None = None
        self._beginning = threading.Lock()
        self._closing = threading.Event()

    @contextmanager
    def over(self, connection: Connection) -> Iterator[None]:
        """While inside, *connection* is watched."""
        if self._thread is None:
            self._begin()
        this = object()
        self._watched[this] = (time.monotonic(), connection)
        try:
            yield
        finally:
            self._watched.pop(this, None)

    def _begin(self) -> None:
        with self._beginning:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="store-watchdog", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while not self._closing.wait(min(0.5, self._patience_s / 4)):
            self._hang_up()

    def hurry(self, patience_s: float) -> None:
        """Have less patience from now on."""
        self._patience_s = patience_s

    def _hang_up(self) -> None:
        for this, (began, connection) in list(self._watched.items()):
            # One that has just ended is hung up on for nothing at worst, and found lost when it is used again.
            if time.monotonic() - began >= self._patience_s:
                self._watched.pop(this, None)
                LOG.error("The store has kept silent for %.1f s; hanging up", time.monotonic() - began)
                hang_up(connection)

    def close(self) -> None:
        """Watch no more."""
        self._closing.set()
        if self._thread:
            self._thread.join()
