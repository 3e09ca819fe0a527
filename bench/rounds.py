# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Turn by turn: each round asks everybody of a row once, so that what disturbs the machine disturbs all of them alike.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.exchange import AnswerWrong
from bench.load import Load
from bench.machine import Meter, Used
from bench.stage import Stage


@dataclass(frozen=True)
class Sample:
    """One round of one load."""

    rate: float
    """Right answers a second."""
    p50_us: float
    p99_us: float
    cpu_us: float
    """CPU microseconds of the server for one answer. Barely moves when others use the core, as the rate does."""
    used: Used


@dataclass
class Line:
    """What was seen of one load of a row: a sample for each round, or why there is none."""

    who: str
    server: str
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    def median(self, of: Callable[[Sample], float]) -> float:
        """Of all rounds."""
        return statistics.median(of(sample) for sample in self.samples)

    @property
    def rate(self) -> float:
        """Answers a second, median."""
        return self.median(lambda sample: sample.rate)

    @property
    def spread(self) -> float:
        """How far the rounds lie apart: (most - least) / median."""
        rates = [sample.rate for sample in self.samples]
        return (max(rates) - min(rates)) / statistics.median(rates)


@dataclass(frozen=True)
class Row:
    """One kind of work: ours, and beside it those that do the same, or something that a reader knows."""

    title: str
    ours: Load
    beside: Sequence[Load] = ()
    goal: float = 0.0
    """What ours should at least be of the first beside it; 0: none is set."""


@dataclass(frozen=True)
class Measured:
    """A row, measured."""

    title: str
    ours: Line
    beside: list[Line]
    goal: float

    @property
    def lines(self) -> list[Line]:
        """All, ours last."""
        return [*self.beside, self.ours]

    def ratio(self, other: Line) -> float:
        """Ours to the other's, by the medians of the rates."""
        return self.ours.rate / other.rate

    def cpu_ratio(self, other: Line) -> float:
        """The same by CPU time: what it were if either had its core for itself."""
        return other.median(lambda sample: sample.cpu_us) / self.ours.median(lambda sample: sample.cpu_us)


def measure(row: Row, stage: Stage, *, rounds: int) -> Measured:
    """All rounds of *row*. A load whose answers are wrong is left out from there on, and says so."""
    loads = [*row.beside, row.ours]
    lines = [Line(load.who, load.server) for load in loads]
    print(f"{row.title}: ", end="", file=sys.stderr, flush=True)
    for load, line in zip(loads, lines, strict=True):
        try:
            load.check()
        except (AnswerWrong, OSError) as error:
            line.failure = f"wrong before the load: {error}"
    for _ in range(rounds):
        for load, line in zip(loads, lines, strict=True):
            if not line.failure:
                _run(load, line, stage)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Measured(row.title, lines[-1], lines[:-1], row.goal)


def _run(load: Load, line: Line, stage: Stage) -> None:
    meter = Meter(stage.cores, stage.servers_s)
    cpu_before = stage.cpu_s(load.server)
    try:
        outcome = load.run()
    except (AnswerWrong, OSError) as error:
        line.failure = f"wrong under load: {error}"
        return
    cpu_s = stage.cpu_s(load.server) - cpu_before
    if outcome.failed or not outcome.requests:
        line.failure = f"{outcome.failed} of {outcome.requests} answers were no 200, or did not come"
        return
    line.samples.append(
        Sample(
            outcome.requests / outcome.seconds,
            outcome.p50_us,
            outcome.p99_us,
            cpu_s / outcome.requests * 1e6,
            meter.read(),
        )
    )
