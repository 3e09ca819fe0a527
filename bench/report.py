# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The pages: what was measured, as tables that say how to read them and whether the machine was quiet enough.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from bench.growth import Step
from bench.rounds import Line, Measured

HOW_TO_READ = """\
## How to read it

All servers ran side by side on one pinned core, the load on the other, with 64 connections that each had one request
under way. Everybody of a row was asked in turn, round by round, so that a disturbance met all of them alike. Every
number is the median of the rounds.

- **peerdata is**: the rate of peerdata divided by that of this line. It holds better than the rates do from machine to
  machine.
- **by CPU**: the same from the CPU time of the server for one answer. Where it is much better than the ratio of the
  rates, the core was not peerdata's alone: nova needs most of it for the rows in front of nova.
- **spread**: how far the rounds lie apart, (most - least) / median.
- **core**: how much of the servers' core the servers used. Below 90 % something else was the limit: the load, the
  disk, or others.

Before a row was measured its answers were compared: the same bytes from nginx and from peerdata, the right peers,
status 200. A row in which one answer was anything else than a 200 says so instead of a number.
"""


def page(
    *,
    command: str,
    facts: Mapping[str, str],
    warning: str,
    rows: Sequence[Measured],
    growth: Sequence[Step],
    memory: Mapping[str, int],
) -> str:
    """The page of `python -m bench`."""
    parts = [
        head("Benchmarks", command, facts, warning),
        HOW_TO_READ,
        "## Side by side\n",
        *(_row(row) for row in rows),
    ]
    if growth:
        parts.append(_growth(growth))
    if memory:
        parts.append("## Memory\n\nResident, of the service in front of nova, one process.\n")
        parts.append(table(("when", "MiB"), ((when, f"{size / 2**20:.0f}") for when, size in memory.items()), "lr"))
    return "\n".join(parts).rstrip() + "\n"


def table(titles: Sequence[str], lines: Iterable[Sequence[str]], sides: str) -> str:
    """A Markdown table; *sides* has an `l` or `r` for each column."""
    rules = ["---" if side == "l" else "---:" for side in sides]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (titles, rules, *lines))


def head(title: str, command: str, facts: Mapping[str, str], warning: str) -> str:
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
    return f"### {row.title}\n\n" + table(titles, lines, "lrrrrrrrr")


def _line(row: Measured, line: Line) -> list[str]:
    if line.failure:
        return [line.who, f"**failed**: {line.failure}", *[""] * 7]
    numbers = [
        line.who,
        f"{line.rate:,.0f}".replace(",", " "),
        f"{line.spread:.0%}",
        f"{line.median(lambda sample: sample.p50_us) / 1000:.2f}",
        f"{line.median(lambda sample: sample.p99_us) / 1000:.2f}",
        f"{line.median(lambda sample: sample.cpu_us):.1f}",
        f"{line.median(lambda sample: sample.used.server):.0%}",
    ]
    if line is row.ours or row.ours.failure:
        return [*numbers, "", ""]
    return [*numbers, f"{row.ratio(line):.2f} x", f"{row.cpu_ratio(line):.2f} x"]


def _growth(steps: Sequence[Step]) -> str:
    def cost(line: Line, times: int = 1) -> str:
        return "failed" if line.failure else f"{line.median(lambda sample: sample.cpu_us) * times:.0f}"

    lines = [
        (
            str(step.peers),
            f"{step.shared_bytes / 1000:.1f}",
            cost(step.read),
            cost(step.poll),
            cost(step.publish),
            cost(step.pair, 2),
        )
        for step in steps
    ]
    titles = ("peers", "shared.json kB", "a read", "a quiet poll", "a publish", "a publish, then a read")
    return (
        "## Growth\n\nCPU microseconds of the service for one call, by the size of the project. Reads and polls with "
        "signed headers; publishes stand-alone, 64 at a time; in the last column one after the other, each publish "
        "followed by a read of another instance.\n\n" + table(titles, lines, "rrrrrr")
    )


def versions(*names: str) -> dict[str, str]:
    """Of Python, and of the installed packages *names*."""
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
