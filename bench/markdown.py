# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Markdown: tables, and numbers as they stand in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(titles: Sequence[str], lines: Iterable[Sequence[str]], sides: str) -> str:
    """A Markdown table; *sides* has an `l` or `r` for each column."""
    rules = ["---" if side == "l" else "---:" for side in sides]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (titles, rules, *lines))


def whole(number: float) -> str:
    """Without a fraction, its thousands apart."""
    return f"{number:,.0f}".replace(",", " ")
