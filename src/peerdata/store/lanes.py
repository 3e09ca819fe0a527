# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Who waits for whom: jobs of one lane in groups, one group after the other; lanes side by side. Knows no database.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

J = TypeVar("J")

GROUP_MOST = 256
"""Jobs in one group; bounds what the first of them waits for."""


class Lanes(Generic[J]):
    """
    Groups of jobs for threads.

    Args:
        settle: Called in a thread with one group, in the order in which it came. It must not raise.
        threads: How many groups, each of another lane, are settled side by side.
    """

    def __init__(self, settle: Callable[[list[J]], None], threads: int) -> None:
        self._settle = settle
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store-write")
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[J]] = {}
        """By lane; a lane that is here has a thread, or will have one."""
        self._number = 0

    def __len__(self) -> int:
        """How many jobs wait, those being settled not counted."""
        return self._number

    def put(self, lane: str, job: J) -> None:
        """Let *job* wait in *lane*."""
        with self._lock:
            jobs = self._waiting.get(lane)
            if jobs is not None:
                jobs.append(job)
            else:
                # Refused with a RuntimeError once closed, and then the job does not wait.
                self._threads.submit(self._serve, lane)
                self._waiting[lane] = deque((job,))
            self._number += 1

    def _serve(self, lane: str) -> None:
        """Settle one group; then stand in line again, behind the other lanes."""
        with self._lock:
            jobs = self._waiting[lane]
            group = [jobs.popleft() for _ in range(min(len(jobs), GROUP_MOST))]
            self._number -= len(group)
        self._settle(group)
        with self._lock:
            if not self._waiting[lane]:
                del self._waiting[lane]
                return
        try:
            self._threads.submit(self._serve, lane)
        except RuntimeError:  # closing: this thread is the last to serve the lane
            self._serve(lane)

    def close(self) -> None:
        """Settle all that waits. Blocks."""
        self._threads.shutdown()
