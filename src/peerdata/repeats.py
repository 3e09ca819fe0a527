# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Log lines of faults that come by the thousand: the first few at once, their repeats as one line a period with a count.
"""

from __future__ import annotations

import logging
import math
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

MAX_KINDS: Final = 1000
"""Faults that are told apart at a time; the one not seen for longest is forgotten, with its count."""


@dataclass(slots=True)
class _Period:
    until: float
    lines_left: int
    level: int
    held: int = 0
    """Faults that have no line yet."""
    last: str = ""
    """The line of the last of them."""


_all: weakref.WeakSet[Repeats] = weakref.WeakSet()


def flush_all(*, at_end: bool = False) -> None:
    """
    Log what was held back by any `Repeats` and is due, so that the last of a flood are counted too.

    Args:
        at_end: All of it, because nobody will do so later; what comes then is new.
    """
    for repeats in list(_all):
        repeats.flush(math.inf if at_end else repeats.now())


class Repeats:
    """
    Logs at most *burst* lines of a kind in a period that follows a quiet one, and then one line a period.

    May be used by several threads.

    Args:
        log: Where they go.
        clock: Seconds; only differences count, and it never goes back.
        burst: Lines of one kind in its first period, 1 or more.
        period_s: For how long further lines of a kind are held back, in seconds.
    """

    def __init__(
        self, log: logging.Logger, clock: Callable[[], float], *, burst: int = 1, period_s: float = 1.0
    ) -> None:
        self._log = log
        self.now = clock
        self._lock = threading.RLock()
        self._burst = burst
        self._period_s = period_s
        self._periods: OrderedDict[Hashable, _Period] = OrderedDict()
        _all.add(self)

    def __bool__(self) -> bool:
        """Whether anything is held back or counted, so that `flush` is due."""
        return bool(self._periods)

    def warn(self, kind: Hashable, line: str) -> None:
        """`tell` at level WARNING."""
        self.tell(kind, line, logging.WARNING)

    def tell(self, kind: Hashable, line: str, level: int) -> None:
        """Log *line*, or count it where enough of its *kind* were logged within the period."""
        with self._lock:
            now = self.now()
            period = self._periods.get(kind)
            if period is None or now >= period.until:
                self.flush(now)
                period = self._periods.get(kind)  # still there where it was summed up just now
            if period is None:
                period = self._periods[kind] = _Period(now + self._period_s, self._burst, level)
                if len(self._periods) > MAX_KINDS:
                    self._periods.popitem(last=False)
            else:
                self._periods.move_to_end(kind)
            if period.lines_left:
                period.lines_left -= 1
                self._log.log(level, "%s", line)
            else:
                period.held += 1
                period.last = line

    def flush(self, now: float) -> None:
        """Log how many repeats had no line, where their period is over. Without a call the next `tell` does it."""
        with self._lock:
            for kind, period in list(self._periods.items()):
                if now < period.until:
                    continue
                held = period.held
                if held:
                    self._log.log(period.level, "%d more like it, the last: %s", held, period.last)
                    period.held, period.lines_left = 0, 0
                    period.until = now + self._period_s
                if not held or now == math.inf:
                    del self._periods[kind]
