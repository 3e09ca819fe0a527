# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The pages: what was measured, as tables that say how to read them and whether the machine was quiet enough.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench import databases, goals, growth, memory
from bench.goals import Verdict, at_most
from bench.growth import Growth
from bench.markdown import table, whole
from bench.memory import Memory
from bench.rounds import Line, Measured
from bench.storm import storm
from bench.storm.storm import Storms

MINUTES_MOST = 10
"""What `make bench` may take."""

HOW_TO_READ = """\
## How to read it

All servers ran side by side on one pinned core, the load on the other, with 64 connections that each had one request
under way. Everybody of a row was asked in turn, round by round, so that a disturbance met all of them alike. Every
number is the median of the rounds. One worker.

- **peerdata is**: the rate of peerdata divided by that of this line. It holds better than the rates do from machine to
  machine.
- **by CPU**: the same from the CPU time of the server for one answer. Where it is much better than the ratio of the
  rates, the core was not peerdata's alone: nova needs most of it for the rows in front of nova.
- **spread**: how far the rounds lie apart, (most - least) / median.
- **core**: how much of the servers' core the servers used. Below 90 % something else was the limit: the load, the
  disk, or others.
- **in doubt** is a goal where others used the cores meanwhile, or where the load was at its limit before the server
  was.

Before a row was measured its answers were compared: the same bytes from nginx and from peerdata, the right peers, keys
and values from all others, status 200 (of a create of etcd: 201). A row in which one answer was anything else than that
says so instead of a number.
"""


@dataclass(frozen=True)
class Results:
    """Everything that was measured."""

    side_by_side: Sequence[Measured]
    behind_nova: Sequence[Measured]
    storms: Storms
    growth: Growth
    memory: Memory
    databases: Sequence[Measured]
    minutes: float
    """That all of it took, without what had to be built first."""

    @property
    def rows(self) -> list[Measured]:
        """All rows of all kinds."""
        return [*self.side_by_side, *self.behind_nova, *self.databases]

    @property
    def lines(self) -> list[Line]:
        """Of all rows, and of the growth."""
        return [*(line for row in self.rows for line in row.lines), *self.growth.lines]

    def verdicts(self) -> list[Verdict]:
        """On all goals."""
        return [
            *(verdict for row in self.side_by_side for verdict in row.verdicts()),
            *storm.verdicts(self.storms),
            *growth.verdicts(self.growth),
            *memory.verdicts(self.memory),
            at_most("make bench, all of it", MINUTES_MOST, self.minutes, " minutes"),
        ]


def page(results: Results, *, command: str, facts: Mapping[str, str], warning: str, plot: str) -> str:
    """
    The page of `python -m bench`.

    Args:
        plot: The file with the picture of the growth.
    """
    parts = [
        head("Benchmarks", command, facts, warning),
        goals.section(results.verdicts()),
        HOW_TO_READ,
        "## Side by side\n",
        *map(_row, results.side_by_side),
        storm.section(results.storms),
        growth.section(results.growth, plot),
        memory.section(results.memory),
        databases.section(results.databases),
        "## In front of nova\n\nFor these calls nova is asked too, on the same core, with nova's own cache.\n",
        *map(_row, results.behind_nova),
    ]
    return "\n".join(parts).rstrip() + "\n"


def head(title: str, command: str, facts: Mapping[str, str], warning: str) -> str:
    """Title, machine, versions, and whether the machine was quiet enough."""
    parts = [
        f"# {title}\n",
        f"Written by `{command}` on {datetime.now(UTC):%Y-%m-%d}. Do not edit: run it again.\n",
    ]
    if warning:
        parts.append(
            f"**The machine was too busy to trust these numbers: {warning}.** Rates and latencies are worse than they "
            "would be; the ratios by CPU time suffer least.\n"
        )
    parts.append(table(("", ""), facts.items(), "ll"))
    return "\n".join(parts)


def _row(row: Measured) -> str:
    titles = ("", "requests/s", "spread", "p50 ms", "p99 ms", "CPU µs each", "core", "peerdata is", "by CPU")
    lines = [_line(row, line) for line in row.lines]
    note = f"{row.row.note}\n\n" if row.row.note else ""
    return f"### {row.row.title}\n\n{note}{table(titles, lines, 'lrrrrrrrr')}"


def _line(row: Measured, line: Line) -> list[str]:
    if line.failure:
        return [line.who, f"**failed**: {line.failure}", *[""] * 7]
    numbers = [
        line.who,
        whole(line.rate),
        f"{line.spread:.0%}",
        f"{line.p50_ms:.2f}",
        f"{line.p99_ms:.2f}",
        f"{line.cpu_us:.1f}",
        f"{line.core:.0%}",
    ]
    if line is row.ours or row.ours.failure:
        return [*numbers, "", ""]
    return [*numbers, f"{row.ratio(line):.2f} x", f"{row.cpu_ratio(line):.2f} x"]


def versions(*names: str) -> dict[str, str]:
    """Of Python, and of the installed packages *names*."""
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
