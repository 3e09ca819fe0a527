# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Whose turn it is to write: jobs of one lane in groups, one group after the other; lanes side by side. Knows no database.

# Why one project cannot keep another waiting

A lane may be shared by all projects: SQLite has one lock for the file. Each project has a queue of its own in it, and
a group takes one job from each queue in turn, so a project with a thousand jobs and a project with one are in the same
group. A newcomer then waits for the group that is being settled, and for its own. Both are short while a light project
writes beside a heavy one: then each puts at most `SHARE_MAX` jobs into a group. Otherwise a project may put in
`ALONE_MAX`, because large groups make writes cheap, and in a storm of many projects nobody is helped by short ones.

The event loop has one queue too, and a store that settles more than the loop can answer would fill that instead. So
while a light project writes, a lane goes on only when the callers of its last group have been served.

The places of those that wait are shared in the same way. When all are taken, the project with the longest queue
gives one up, so only a project that has more than its share is refused.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

J = TypeVar("J")

GROUP_MAX = 256
"""Jobs in one group, of all projects together."""

ALONE_MAX = 64
"""Jobs of one project in a group while no light project writes. From 32 on, larger groups make none cheaper."""

SHARE_MAX = 8
"""Jobs of one project in a group while a light one writes too. Measured beside a flood of 64 connections on SQLite, p50
of a quiet client: 4: x 1.7, 8: x 2.6, 16: x 4.3; CPU for each write of the flood: 213, 141 and 107 us."""

LIGHT_CALLS = 3
"""A project is light that came so often within `LIGHT_S` with nothing under way, and found more than a share of others
there. One that is beginning or ending a storm of its own does that once or twice."""

LIGHT_S = 60.0
"""Seconds after which it is forgotten who is light."""

SHORT_S = 10.0
"""Seconds for which groups stay short after a light project has come: it may come again at any moment."""


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
        self._settling = 0
        self._under_way: dict[tuple[str, str], int] = {}
        """Jobs that wait or are being settled, by lane and project."""
        self._light: dict[tuple[str, str], int] = {}
        """How often each came as light projects do."""
        self._light_since = -math.inf
        self._short_until = -math.inf

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
            where = lane, project
            self._note_light(where)
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
            self._under_way[where] = self._under_way.get(where, 0) + 1
            return displaced

    def _note_light(self, where: tuple[str, str]) -> None:
        own = self._under_way.get(where, 0)
        if own >= SHARE_MAX:
            self._light.pop(where, None)
        elif not own and self._number + self._settling > SHARE_MAX:
            now = self._clock()
            if now - self._light_since > LIGHT_S:
                self._light.clear()
                self._light_since = now
            self._light[where] = times = self._light.get(where, 0) + 1
            if times >= LIGHT_CALLS:
                self._short_until = now + SHORT_S

    def _make_room(self, where: tuple[str, str], job: J) -> J:
        """The job that gives up its place to *job*, or *job*."""
        own = len(self._queues.get(where, ()))
        if own * len(self._queues) >= self._max_waiting:  # it has its share, and whoever has more is not looked for
            return job
        longest = max(self._queues, key=lambda one: len(self._queues[one]))
        if len(self._queues[longest]) <= own + 1:
            return job
        self._number -= 1
        self._end(longest, 1)
        return self._queues[longest].pop()

    def _end(self, where: tuple[str, str], number: int) -> None:
        """So many jobs of a project are not under way any more."""
        self._under_way[where] -= number
        if not self._under_way[where]:
            del self._under_way[where]

    def _take(self, lane: str, share: int) -> tuple[list[J], Counter[str]]:
        """
        The next group: a job of each project in turn, until all are in it or have *share* in it.

        Returns:
            Its jobs, and how many of each project.
        """
        waiting = self._lanes[lane]
        group: list[J] = []
        taken: Counter[str] = Counter()
        served: OrderedDict[str, deque[J]] = OrderedDict()
        for _ in range(share):
            while waiting and len(group) < GROUP_MAX:
                project, queue = waiting.popitem(last=False)
                group.append(queue.popleft())
                taken[project] += 1
                if queue:
                    served[project] = queue
                else:
                    del self._queues[lane, project]
            # Whoever was not served in this round is first in the next group.
            waiting.update(served)
            served.clear()
        self._number -= len(group)
        self._settling += len(group)
        return group, taken

    def _serve(self, lane: str) -> None:
        """Settle one group; then stand in line again, behind the other lanes."""
        with self._lock:
            short = self._clock() < self._short_until
            group, taken = self._take(lane, SHARE_MAX if short else ALONE_MAX)
        if short:
            self._settle(group, lambda: self._go_on(lane, taken))
        else:
            self._settle(group, None)
            self._go_on(lane, taken)

    def _go_on(self, lane: str, settled: Counter[str]) -> None:
        with self._lock:
            self._settling -= settled.total()
            for project, number in settled.items():
                self._end((lane, project), number)
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
