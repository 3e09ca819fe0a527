# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Whose turn it is to write: jobs of one lane in groups, one group after the other; lanes side by side. Knows no database.

# Why one project cannot keep another waiting

A lane may be shared by all projects: SQLite has one lock for the file. Each project has a queue of its own in it, and
a group takes one job from each queue in turn, so a project with a thousand jobs and a project with one are in the same
group. A newcomer then waits for the group that is being settled, and for its own. Both are short while several
projects write: each puts at most `SHARE_MAX` jobs into a group. A project that is alone may put in `ALONE_MAX`, because
large groups make writes cheap.

The event loop has one queue too, and a store that settles more than the loop can answer would fill that instead. So
while several projects write, a lane goes on only when the callers of its last group have been served.

The places of those that wait are shared in the same way. When all are taken, the project with the longest queue
gives one up, so only a project that has more than its share is refused.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

J = TypeVar("J")

GROUP_MAX = 256
"""Jobs in one group, of all projects together."""

ALONE_MAX = 64
"""Jobs of one project in a group while no other writes. From 32 on, a larger group costs no less CPU for each."""

SHARE_MAX = 8
"""Jobs of one project in a group while others write too. Measured beside a flood of 64 connections on SQLite, p50 of
a quiet client: 4: x 1.7, 8: x 2.6, 16: x 4.3; CPU for each write of the flood: 213, 141 and 107 us."""

MEETING_S = 2.0
"""Seconds for which groups stay short after another project has written: it may come again at any moment."""


class Lanes(Generic[J]):
    """
    Groups of jobs for threads.

    Args:
        settle: Called in a thread with one group, and with what it must call, in any thread, when the callers have been
            served and the lane may go on; None where it need not. It must not raise.
        threads: How many groups, each of another lane, are settled side by side.
        max_waiting: How many jobs may wait, those being settled not counted.
        clock: Seconds; only differences count.
    """

    def __init__(
        self,
        settle: Callable[[list[J], Callable[[], None] | None], None],
        threads: int,
        *,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settle = settle
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store-write")
        self._max_waiting = max_waiting
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: dict[str, OrderedDict[str, deque[J]]] = {}
        """The queues of each lane by project, whose turn it is first. A lane that is here has a thread, or will."""
        self._queues: dict[tuple[str, str], deque[J]] = {}
        """The same queues, by lane and project. None is empty."""
        self._number = 0
        self._last_project: str | None = None
        self._meeting_until = -math.inf

    def __len__(self) -> int:
        """How many jobs wait, those being settled not counted."""
        return self._number

    def put(self, lane: str, project: str, job: J) -> J | None:
        """
        Let *job* of *project* wait in *lane*.

        Returns:
            None where there was room. Else the job that gave up its place and is never settled: *job* itself, or the
            newest of the project that has most.

        Raises:
            RuntimeError: closed, and *job* does not wait.
        """
        with self._lock:
            self._note_meeting(project)
            where = lane, project
            displaced = self._make_room(where, job) if self._number >= self._max_waiting else None
            if displaced is job:
                return job
            if lane not in self._lanes:
                self._threads.submit(self._serve, lane)
                self._lanes[lane] = OrderedDict()
            if (queue := self._queues.get(where)) is None:
                queue = self._queues[where] = self._lanes[lane][project] = deque()
            queue.append(job)
            self._number += 1
            return displaced

    def _note_meeting(self, project: str) -> None:
        if project != self._last_project:
            if self._last_project is not None:
                self._meeting_until = self._clock() + MEETING_S
            self._last_project = project

    def _make_room(self, where: tuple[str, str], job: J) -> J:
        """The job that gives up its place to *job*, or *job*."""
        own = len(self._queues.get(where, ()))
        if own * len(self._queues) >= self._max_waiting:  # it has its share, and whoever has more is not looked for
            return job
        longest = max(self._queues.values(), key=len)
        if len(longest) <= own + 1:
            return job
        self._number -= 1
        return longest.pop()

    def _take(self, lane: str, share: int) -> list[J]:
        """The next group: a job of each project in turn, until all are in it or have *share* in it."""
        waiting = self._lanes[lane]
        group: list[J] = []
        served: OrderedDict[str, deque[J]] = OrderedDict()
        for _ in range(share):
            while waiting and len(group) < GROUP_MAX:
                project, queue = waiting.popitem(last=False)
                group.append(queue.popleft())
                if queue:
                    served[project] = queue
                else:
                    del self._queues[lane, project]
            # Whoever was not served in this round is first in the next group.
            waiting.update(served)
            served.clear()
        self._number -= len(group)
        return group

    def _serve(self, lane: str) -> None:
        """Settle one group; then stand in line again, behind the other lanes."""
        with self._lock:
            meeting = self._clock() < self._meeting_until
            group = self._take(lane, SHARE_MAX if meeting else ALONE_MAX)
        if meeting:
            self._settle(group, lambda: self._go_on(lane))
        else:
            self._settle(group, None)
            self._go_on(lane)

    def _go_on(self, lane: str) -> None:
        with self._lock:
            if not self._lanes[lane]:
                del self._lanes[lane]
                return
        try:
            self._threads.submit(self._serve, lane)
        except RuntimeError:  # closing: this thread is the last to serve the lane
            self._serve(lane)

    def close(self) -> None:
        """Settle all that waits. Blocks."""
        self._threads.shutdown()
