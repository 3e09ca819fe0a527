# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Goals: what was promised of each kind of work, what was found, and so whether it was met. None is left out when missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.markdown import table


@dataclass(frozen=True)
class Verdict:
    """One goal, looked at after the measurement."""

    work: str
    goal: str
    found: str
    """In the words and the unit of the goal."""
    met: bool
    doubt: str = ""
    """Why this may be otherwise on a quiet machine, or under a faster load."""


def at_least(
    work: str, goal: float, found: float | None, unit: str = "", *, dream: float = 0.0, doubt: str = ""
) -> Verdict:
    """
    A goal for something of which more is better.

    Args:
        found: None where it could not be measured.
        unit: What follows the numbers.
        dream: What would be wonderful, and is only told.
    """
    wish = f" ({dream:g} is the dream)" if dream else ""
    return Verdict(
        work,
        f"at least {goal:g}{unit}{wish}",
        _said(found, unit),
        # As it is printed: nobody should read 0.25 beside "at least 0.25" and "missed".
        found is not None and round(found, 2) >= goal,
        doubt,
    )


def at_most(
    work: str, goal: float, found: float | None, unit: str = "", *, dream: float = 0.0, doubt: str = ""
) -> Verdict:
    """A goal for something of which less is better; source: `at_least`."""
    wish = f" ({dream:g} is the dream)" if dream else ""
    met = found is not None and round(found, 2) <= goal
    return Verdict(work, f"at most {goal:g}{unit}{wish}", _said(found, unit), met, doubt)


def _said(found: float | None, unit: str) -> str:
    if found is None:
        return "not measured"
    return f"{found:.2f}{unit}" if found < 10 else f"{found:,.0f}{unit}".replace(",", " ")


def section(verdicts: Sequence[Verdict]) -> str:
    """All of them, as a table."""
    met = sum(one.met for one in verdicts)
    doubtful = sum(bool(one.doubt) for one in verdicts)
    lines = ((one.work, one.goal, one.found, _end(one)) for one in verdicts)
    return f"## Goals\n\n{met} of {len(verdicts)} met; {doubtful} in doubt.\n\n" + table(
        ("work", "goal", "found", ""), lines, "llll"
    )


def _end(verdict: Verdict) -> str:
    word = "met" if verdict.met else "**missed**"
    return f"{word}; in doubt: {verdict.doubt}" if verdict.doubt else word
