# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What the pages of long runs are made of: a head that says how to repeat them, and tables with a column for each store.

`tests/boots/report.py` and `tests/torture/report.py` say what is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from bench.markdown import table

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB", "galera": "Galera"}

T = TypeVar("T")
"""What came of a run on one store."""


def page(title: str, parts: Iterable[str], *, command: str, again: str, facts: Mapping[str, str]) -> str:
    """
    A page: its head, then *parts*.

    Args:
        command: What does the same again.
        again: Its short form.
        facts: About the machine, its versions and the run.
    """
    head = (
        f"# {title}\n",
        f"Written by `{command}`\non {datetime.now(UTC):%Y-%m-%d}. Do not edit: run it again (`{again}`).\n",
        table(("", ""), facts.items(), "ll"),
    )
    return "\n".join([*head, *parts]).rstrip() + "\n"


def columns(results: Sequence[tuple[str, T]], rows: Mapping[str, Callable[[T], str]]) -> str:
    """A table of *results*, each with its store: a column for each, and *rows*."""
    lines = [[name, *(row(result) for _, result in results)] for name, row in rows.items()]
    return table(["", *(NAMES[store] for store, _ in results)], lines, "l" + "r" * len(results))


def notes(results: Sequence[tuple[str, T]], told: Callable[[T], Iterable[str]]) -> list[str]:
    """What is *told* of each of *results*, a paragraph each that begins with the store."""
    return [f"{NAMES[store]}: {text}\n" for store, result in results for text in told(result)]
