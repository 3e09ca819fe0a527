# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A part of the benchmark: what one measurement adds to the page, and how `--only` selects it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.goals import Verdict
from bench.markdown import table, whole
from bench.rounds import Line, Measured
from bench.stage import Stage
from bench.tools import Tools


@dataclass(frozen=True)
class Setting:
    """What every measurement is given."""

    stage: Stage
    tools: Tools
    rounds: int
    """Of each row that has no number of its own."""
    seconds: int
    """Of a round of reads."""


@dataclass(frozen=True)
class Part:
    """One measurement, done."""

    heading: str
    """The section of the page; parts with the same heading that follow each other share it."""
    text: str
    verdicts: Sequence[Verdict] = ()
    lines: Sequence[Line] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Files beside the page, by their name."""


Measure = Callable[[Setting, Collection[str]], Iterator[Part]]
"""Measures those of the names that are in the collection; each part is yielded as soon as it is done."""


@dataclass(frozen=True)
class Group:
    """Parts that share the processes which they measure."""

    names: tuple[str, ...]
    """As `--only` selects them, in the order of the page."""
    measure: Measure


def chosen(groups: Sequence[Group], wanted: Sequence[str]) -> list[str]:
    """
    The names in *wanted*, and those that begin with one of it that is no name; all where nothing is wanted.

    Raises:
        ValueError: no name begins like that; the message lists the names.
    """
    names = [name for group in groups for name in group.names]
    found = set() if wanted else set(names)
    for start in wanted:
        meant = {start} if start in names else {name for name in names if name.startswith(start)}
        if not meant:
            raise ValueError(f"there is no '{start}'; choose from {', '.join(names)}")
        found |= meant
    return [name for name in names if name in found]


def of_row(heading: str, row: Measured) -> Part:
    """A row as a table, with everything that it promised."""
    titles = ("", "requests/s", "spread", "p50 ms", "p99 ms", "CPU µs each", "core", "peerdata is", "by CPU")
    note = f"{row.row.note}\n\n" if row.row.note else ""
    lines = [_cells(row, line) for line in row.lines]
    text = f"### {row.row.title}\n\n{note}{table(titles, lines, 'lrrrrrrrr')}"
    return Part(heading, text, row.verdicts(), row.lines)


def _cells(row: Measured, line: Line) -> list[str]:
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
