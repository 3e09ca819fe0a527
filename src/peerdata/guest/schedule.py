# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The time of a guest's calls: the deadline of each, one that all share, and the pause between two polls.
"""

from __future__ import annotations

from collections.abc import Callable


class Schedule:
    """
    Deadlines and pauses by one clock.

    Args:
        clock: Seconds; only differences count.
        sleep: Waits for that many seconds.
        min_poll_s: The shortest pause between two polls, in seconds.
    """

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None], min_poll_s: float) -> None:
        self._clock = clock
        self._sleep = sleep
        self._min_poll_s = min_poll_s
        self._last_deadline: float | None = None

    def end_within(self, timeout_s: float) -> None:
        """Set the deadline that no further call exceeds, to *timeout_s* seconds from now."""
        self._last_deadline = self._clock() + timeout_s

    def deadline(self, timeout_s: float | None) -> float | None:
        """The deadline of a call that starts now and may take *timeout_s* (None: has no timeout of its own)."""
        own = [] if timeout_s is None else [self._clock() + timeout_s]
        return min(own + ([] if self._last_deadline is None else [self._last_deadline]), default=None)

    def remaining_s(self, deadline: float) -> float:
        """Seconds until *deadline*; 0 if it has passed."""
        return max(0.0, deadline - self._clock())

    def rest(self, pause_s: float, deadline: float | None) -> bool:
        """Sleep until the next poll, or until the deadline for a last one; False if the deadline has passed."""
        pause_s = max(pause_s, self._min_poll_s)
        if deadline is not None:
            remaining_s = self.remaining_s(deadline)
            if remaining_s <= 0:
                return False
            pause_s = min(pause_s, remaining_s)
        self._sleep(pause_s)
        return True
