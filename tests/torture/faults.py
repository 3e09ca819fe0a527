# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What breaks things, and mends them: faults as a bed offers them, struck one after the other in a seeded order.

Two lanes go side by side, one for the servers and one for the store, so that faults of both kinds meet. Within a lane
a fault has ended, and what it struck is whole again, before the next begins: above all a
Galera node is not killed while the others are still agreeing on the last one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

FEW = 4
"""Kinds of faults with which a lane never stands still for long."""


@dataclass(frozen=True)
class Fault:
    """
    Something to be done to a bed, and undone.

    Attributes:
        kind: What a reader of the report calls it.
        begin: Does it, to whatever it chooses.
        end: Undoes it, and returns once all is whole.
        lasts_s: At least and at most.
    """

    kind: str
    begin: Callable[[Random], None]
    end: Callable[[], None]
    lasts_s: tuple[float, float]


@dataclass(frozen=True)
class Struck:
    """A fault that was."""

    kind: str
    began: float
    ended: float
    """When all was whole again; seconds, monotonic."""


class Nemesis(threading.Thread):
    """
    One lane of faults: each kind once, in a random order, then again, until it is told to stop.

    Args:
        name: Of the lane.
        faults: What it may do.
        seed: Of its choices.
        stop: Set when it is enough; the first round is finished all the same.
        calm_s: Between two faults, on average; longer in a lane that knows few.
    """

    def __init__(self, name: str, faults: Sequence[Fault], *, seed: str, stop: threading.Event, calm_s: float) -> None:
        super().__init__(name=f"nemesis-{name}", daemon=True)
        self._faults = faults
        self._random = Random(f"{seed} {name}")
        self._stopped = stop
        # A lane with little to do would else do that all the time.
        self._calm_s = calm_s * max(1.0, FEW / max(1, len(faults)))
        self.struck: list[Struck] = []
        self.failed: BaseException | None = None

    @property
    def counted(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(one.kind for one in self.struck)

    def run(self) -> None:
        """Strike until stopped."""
        try:
            while self._faults and not (self.struck and self._stopped.is_set()):
                for fault in self._random.sample(self._faults, len(self._faults)):
                    if self._stopped.is_set() and len(self.struck) >= len(self._faults):
                        return
                    self._strike(fault)
        except BaseException as error:
            self.failed = error
            raise

    def _strike(self, fault: Fault) -> None:
        time.sleep(self._random.expovariate(1 / self._calm_s))
        began = time.monotonic()
        fault.begin(self._random)
        try:
            time.sleep(self._random.uniform(*fault.lasts_s))
        finally:
            fault.end()
        self.struck.append(Struck(fault.kind, began, time.monotonic()))
