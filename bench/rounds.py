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
from bench.goals import Verdict, at_least, at_most
from bench.load import Load
from bench.machine import FULL, Meter, Used
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
    def p50_ms(self) -> float:
        """Milliseconds within which half of the answers came, median."""
        return self.median(lambda sample: sample.p50_us) / 1000

    @property
    def p99_ms(self) -> float:
        """Milliseconds within which 99 of 100 answers came, median."""
        return self.median(lambda sample: sample.p99_us) / 1000

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of the server for one answer, median."""
        return self.median(lambda sample: sample.cpu_us)

    @property
    def core(self) -> float:
        """How much of their core the servers used, median."""
        return self.median(lambda sample: sample.used.server)

    @property
    def doubt(self) -> str:
        """Why its rate may not be the server's own; "" where it is."""
        if self.median(lambda sample: sample.used.disturbed) > 0:
            return "others used the cores"
        if self.core < FULL and self.median(lambda sample: sample.used.load) > FULL:
            return f"the load was the limit of {self.who}"
        return ""

    @property
    def spread(self) -> float:
        """How far the rounds lie apart: (most - least) / median."""
        rates = [sample.rate for sample in self.samples]
        return (max(rates) - min(rates)) / statistics.median(rates)


@dataclass(frozen=True)
class Beside:
    """A load beside ours, which does the same or is something that a reader knows, and what was promised about it."""

    load: Load
    goal: float = 0.0
    """What our rate should at least be of its rate; 0: nothing was promised."""
    dream: float = 0.0
    """What would be wonderful; 0: nothing was said."""
    p99: bool = False
    """Whether our p99 should be no worse than its p99."""
    cpu_goal: float = 0.0
    """What our CPU time for one answer should at most be of its CPU time; 0: nothing was promised."""
    cpu_dream: float = 0.0
    """What would be wonderful; 0: nothing was said."""


@dataclass(frozen=True)
class Row:
    """One kind of work."""

    title: str
    ours: Load
    beside: Sequence[Beside] = ()
    note: str = ""
    """What a reader needs to know before the numbers."""
    cpu_ms: float = 0.0
    """What our CPU time for one answer should at most be, in milliseconds; 0: nothing was promised."""


@dataclass(frozen=True)
class Measured:
    """A row, measured."""

    row: Row
    ours: Line
    beside: list[Line]
    """As in the row."""

    @property
    def lines(self) -> list[Line]:
        """All, ours last."""
        return [*self.beside, self.ours]

    def ratio(self, other: Line) -> float:
        """Ours to the other's, by the medians of the rates."""
        return self.ours.rate / other.rate

    def cpu_ratio(self, other: Line) -> float:
        """The same by CPU time: what it were if either had its core for itself."""
        return other.cpu_us / self.ours.cpu_us

    def verdicts(self) -> list[Verdict]:
        """On all that the row promised."""
        found = []
        for beside, line in zip(self.row.beside, self.beside, strict=True):
            measured = not (line.failure or self.ours.failure)
            doubt = (line.doubt or self.ours.doubt) if measured else ""
            if beside.goal:
                ratio, unit = self.ratio(line) if measured else None, f" x {line.who}"
                found.append(at_least(self.row.title, beside.goal, ratio, unit, dream=beside.dream, doubt=doubt))
            if beside.p99:
                said = f"{self.ours.p99_ms:.2f} ms, and {line.p99_ms:.2f} ms" if measured else "not measured"
                met = measured and self.ours.p99_ms <= line.p99_ms
                found.append(Verdict(self.row.title, f"p99 no worse than of {line.who}", said, met, doubt))
            if beside.cpu_goal:
                times, unit = 1 / self.cpu_ratio(line) if measured else None, f" x {line.who}"
                work = f"{self.row.title}, CPU of the service"
                found.append(at_most(work, beside.cpu_goal, times, unit, dream=beside.cpu_dream))
        if self.row.cpu_ms:
            cost_ms = None if self.ours.failure else self.ours.cpu_us / 1000
            found.append(at_most(f"{self.row.title}, CPU of the service", self.row.cpu_ms, cost_ms, " ms"))
        return found


def measure(row: Row, stage: Stage, *, rounds: int) -> Measured:
    """All rounds of *row*. A load whose answers are wrong is left out from there on, and says so."""
    loads = [*(beside.load for beside in row.beside), row.ours]
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
    return Measured(row, lines[-1], lines[:-1])


def _run(load: Load, line: Line, stage: Stage) -> None:
    meter = Meter(stage.cores, stage.servers_s, stage.helpers_s)
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
