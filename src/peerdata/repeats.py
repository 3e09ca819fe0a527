# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Which of many like events are worth a line in the log: the first few, then one line an interval with their number.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

MAX_KEYS = 1000
"""Kinds of events that are told apart at a time; the one not seen for longest is forgotten, with its number."""


@dataclass(slots=True)
class _Window:
    began: float
    lines_left: int
    held: int = 0
    """Events without a line."""


class Repeats:
    """
    Counts events of each kind in windows of time.

    A kind's first *burst* events of a window have a line each. After a window in which there were more, the next has
    one line, at its first event, which also stands for all that had none.

    Args:
        clock: Seconds; never goes back.
        burst: Lines of one kind in a window that follows a calm one, 1 or more.
        interval_s: Length of a window.
    """

    def __init__(self, clock: Callable[[], float], *, burst: int, interval_s: float) -> None:
        self._clock = clock
        self._burst = burst
        self._interval_s = interval_s
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()

    def count(self, key: Hashable) -> int:
        """
        Count an event of the kind *key*.

        Returns:
            Of how many events a line is to tell now, this one included; 0: no line, a later one will tell of it.
        """
        now = self._clock()
        window = self._windows.get(key)
        if window is None or now - window.began >= self._interval_s:
            held = window.held if window else 0
            window = self._windows[key] = _Window(now, 0 if held else self._burst - 1)
            self._windows.move_to_end(key)
            if len(self._windows) > MAX_KEYS:
                self._windows.popitem(last=False)
            return 1 + held
        self._windows.move_to_end(key)
        if window.lines_left:
            window.lines_left -= 1
            return 1
        window.held += 1
        return 0


def more(count: int) -> str:
    """The end of a line that tells of *count* events: nothing for one."""
    return f" (and {count - 1} more since the last such line)" if count > 1 else ""
