# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Log lines of faults that come by the thousand: the first at once, its repeats as one line a period with their number.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

MAX_KINDS: Final = 100
"""Faults that are told apart; one more is logged without being counted."""


@dataclass(slots=True)
class _Kind:
    until: float
    repeats: int = 0
    last: str = ""


class Repeats:
    """
    Logs WARNINGs, each kind of them at most twice a period.

    Args:
        log: Where they go.
        clock: Seconds; only differences count.
        period_s: For so long the repeats of a line are held back.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float], *, period_s: float = 1.0) -> None:
        self._log = log
        self._clock = clock
        self._period_s = period_s
        self._kinds: dict[Hashable, _Kind] = {}

    def __bool__(self) -> bool:
        """Whether anything is held back or counted, so that `flush` is due."""
        return bool(self._kinds)

    def warn(self, kind: Hashable, line: str) -> None:
        """Log *line*, or count it where one of its *kind* was logged within the period."""
        now = self._clock()
        known = self._kinds.get(kind)
        if known is not None and now < known.until:
            known.repeats += 1
            known.last = line
            return
        self.flush(now)
        if kind not in self._kinds and len(self._kinds) < MAX_KINDS:
            self._kinds[kind] = _Kind(now + self._period_s)
        self._log.warning("%s", line)

    def flush(self, now: float) -> None:
        """Log how often what was logged has repeated, where the period is over. To be called about once a period."""
        for kind, known in list(self._kinds.items()):
            if now < known.until:
                continue
            if known.repeats:
                self._log.warning("%d more like it, the last: %s", known.repeats, known.last)
                known.repeats = 0
                known.until = now + self._period_s
            else:
                del self._kinds[kind]
