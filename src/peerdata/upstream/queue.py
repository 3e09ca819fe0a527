# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Who may ask nova next. No I/O and no clock of its own: time is handed in, in seconds, of which only differences count.

- At most ``max_under_way`` questions are with nova at once.
- The others wait, each project's in a queue of its own, and the projects take turns: one that floods waits for
  itself. It has three quarters of what may be under way at most, so where its questions are slow, or hang because its
  cell does, others still find a way.
- A question whose bytes are those of one that waits or is with nova joins it: it is asked once, and answered to all.
  Guests whose call timed out repeat it, so without this a slow nova would get the more to do the slower it is. What
  may change something joins nothing, and nothing begun before it is joined after it.
- Who has waited for ``timeout_s`` is given up, each caller by its own time: the place in the queue stays for who joined
  later.
- Beyond ``max_bytes`` of what waits, the project that has the most of it is rejected.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")

QUESTION_BYTES: Final = 4096
"""What a question that waits takes besides its own bytes: objects, and its caller's connection. An estimate."""


class Waiter(NamedTuple, Generic[T]):
    """Who is to be answered, and since when it waits."""

    settle: Callable[[T], None]
    since: float


@dataclass(slots=True, eq=False)
class Question(Generic[T]):
    """One request to nova, and all who wait for its answer."""

    method: str
    wire: bytes
    """The whole request."""
    caller: bytes
    """The instance that asks, as the request names it."""
    project: bytes
    shared: bool
    """Others may join it: it changes nothing."""
    limit_s: float
    """How long it may be with nova."""
    patience_s: float
    """The same for a question that is asked the first time, and so how long each who waits is patient with nova."""
    since: float
    """When it was first asked."""
    waiters: list[Waiter[T]] = field(default_factory=list)
    sent_at: float = 0.0
    exchange: Any = None
    """By which it can be given up, while it is with nova."""

    @property
    def size(self) -> int:
        """What it counts for in the queue, in bytes."""
        return len(self.wire) + QUESTION_BYTES


class Queue(Generic[T]):
    """The questions that wait, and those that are with nova."""

    def __init__(self, *, max_under_way: int, max_bytes: int, timeout_s: float) -> None:
        self.under_way: set[Question[T]] = set()
        self._max_under_way = max_under_way
        self._max_of_project = max(1, max_under_way * 3 // 4)
        self._under_way_of: dict[bytes, int] = {}
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._projects: OrderedDict[bytes, deque[Question[T]]] = OrderedDict()
        self._bytes_of: dict[bytes, int] = {}
        self._bytes = 0
        self._waiting = 0
        self._shared: dict[bytes, dict[bytes, Question[T]]] = {}

    def __len__(self) -> int:
        """How many questions wait; those who joined them are not counted."""
        return self._waiting

    def oldest_s(self, now: float) -> float:
        """For how long the one that waits longest has."""
        return max((now - queue[0].waiters[0].since for queue in self._projects.values()), default=0.0)

    def find(self, caller: bytes, wire: bytes) -> Question[T] | None:
        """The question that the same request of *caller* can join."""
        of_caller = self._shared.get(caller)
        return of_caller.get(wire) if of_caller else None

    def begin(self, question: Question[T]) -> bool:
        """Whether *question* can be asked at once, since nothing waits; it is under way then."""
        if self._projects or len(self.under_way) >= self._max_under_way:
            return False
        of_project = self._under_way_of.get(question.project, 0)
        if of_project >= self._max_of_project:
            return False
        self._under_way_of[question.project] = of_project + 1
        self._share(question)
        self.under_way.add(question)
        return True

    def add(self, question: Question[T]) -> list[Question[T]]:
        """
        Let *question* wait.

        Returns:
            Those for which there is no room any more, *question* perhaps; they are out of the queue.
        """
        rejected = self._make_room(question)
        if question in rejected:
            return rejected
        self._share(question)
        project = question.project
        self._projects.setdefault(project, deque()).append(question)
        self._count(question, 1)
        return rejected

    def take(self) -> Question[T] | None:
        """The next that may be asked now, which is under way then; None: none waits, or enough are under way."""
        if not self._projects or len(self.under_way) >= self._max_under_way:
            return None
        for project in self._projects:  # one at most has its share
            of_project = self._under_way_of.get(project, 0)
            if of_project < self._max_of_project:
                break
        else:
            return None
        queue = self._projects[project]
        question = queue.popleft()
        if queue:
            self._projects.move_to_end(project)
        else:
            del self._projects[project]
        self._count(question, -1)
        self._under_way_of[project] = of_project + 1
        self.under_way.add(question)
        return question

    def finish(self, question: Question[T]) -> None:
        """*question* is answered, or given up, wherever it is."""
        if question.shared:
            self._unshare(question)
        else:
            self._shared.pop(question.caller, None)  # what was begun meanwhile may not have seen what it changed
        if question in self.under_way:
            self.under_way.remove(question)
            of_project = self._under_way_of[question.project] - 1
            if of_project:
                self._under_way_of[question.project] = of_project
            else:
                del self._under_way_of[question.project]
            return
        queue = self._projects.get(question.project)
        if queue and question in queue:
            queue.remove(question)
            self._count(question, -1)
            if not queue:
                del self._projects[question.project]

    def expire(self, now: float) -> list[Waiter[T]]:
        """Those who have waited too long; they wait no longer, nor do questions for which nobody does."""
        late: list[Waiter[T]] = []
        due = now - self._timeout_s
        for project, queue in list(self._projects.items()):
            if queue[0].since > due:
                continue
            self._projects[project] = left = deque[Question[T]]()
            for question in queue:
                if question.since <= due:
                    late += [waiter for waiter in question.waiters if waiter.since <= due]
                    question.waiters = [waiter for waiter in question.waiters if waiter.since > due]
                if question.waiters:
                    left.append(question)
                else:
                    self._count(question, -1)
                    self._unshare(question)
            if not left:
                del self._projects[project]
        return late

    def empty(self) -> Iterator[Question[T]]:
        """Take out all that wait."""
        while self._projects:
            _, queue = self._projects.popitem()
            for question in queue:
                self._count(question, -1)
                self._unshare(question)
                yield question

    def _make_room(self, question: Question[T]) -> list[Question[T]]:
        rejected: list[Question[T]] = []
        while self._bytes + question.size > self._max_bytes:
            of_project = self._bytes_of.get(question.project, 0) + question.size
            projects = len(self._bytes_of) + (question.project not in self._bytes_of)
            if of_project > self._max_bytes // projects:  # so it has the most, or nobody has more
                return [*rejected, question]
            largest = max(self._bytes_of, key=self._bytes_of.__getitem__)
            last = self._projects[largest][-1]
            self.finish(last)
            rejected.append(last)
        return rejected

    def _count(self, question: Question[T], sign: int) -> None:
        self._waiting += sign
        size = sign * question.size
        self._bytes += size
        of_project = self._bytes_of.get(question.project, 0) + size
        if of_project:
            self._bytes_of[question.project] = of_project
        else:
            del self._bytes_of[question.project]

    def _share(self, question: Question[T]) -> None:
        caller = question.caller
        if not question.shared:
            self._shared.pop(caller, None)  # they may not have seen what this one changes
        elif (of_caller := self._shared.get(caller)) is not None:
            of_caller[question.wire] = question
        else:
            self._shared[caller] = {question.wire: question}

    def _unshare(self, question: Question[T]) -> None:
        of_caller = self._shared.get(question.caller)
        if of_caller and of_caller.get(question.wire) is question:
            del of_caller[question.wire]
            if not of_caller:
                del self._shared[question.caller]
