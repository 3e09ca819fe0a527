# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
docs/torture.md: what a long run did, and what came of it, one column for each engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.markdown import whole

from tests import report

from .checker import REFUSAL_MOST_S, longest_refusal_s
from .history import Kind, Operation, Outcome
from .storm import CLIENTS, PROJECTS, Result

WHAT_IT_IS = f"""\
{CLIENTS} clients, two of each instance and {PROJECTS} projects at a time, publish, read and follow without pause
through three servers, while two things at a time are broken: a server and the store. One request in seven is in a
hurry, and given up early. On SQLite the servers share the file, on PostgreSQL and MariaDB one database server, and on
Galera each has a node of its own, in a network namespace.

In the end everything is mended, everything is read through every server, and the history is checked: promises G1 to G6
of {{doc}}`protocol`, G9 and G10; that nothing is lost that was answered 200 (G8, of the service: a machine cannot be
crashed here); and that every refusal is a 409 with a reason or a clear 503 within {REFUSAL_MOST_S:.0f} s.
`tests/torture/checker.py` says how, and why that decides it.

A short version is part of `make test`. That the check notices is tested too: with a server that skips asking the store,
and with Galera's nodes not told to wait for each other, it reports what is wrong.
"""

FAULTS = """\
Servers are killed with SIGKILL, restarted with SIGTERM, or stand still (SIGSTOP) for up to 3 s. *Clock moved*: the wall
clock of all servers jumps by hours, days or half a year, forth or back (libfaketime); the monotonic clock, which nobody
can move on Linux, stays. *Disk filled*: not a byte is left where the database is. *Database silent*: it stands still.
*Node cut off*: from the other nodes, but not from its server. *Node silent*: its answers are lost, what it is asked is
done. *Node held up*: it cannot apply what the others commit. A killed database, or node, is started again by the test.
"""


def page(*, command: str, facts: Mapping[str, str], results: Sequence[Result]) -> str:
    """The page of `python -m tests.torture run`."""
    by_store = [(result.engine, result) for result in results]
    parts = [
        WHAT_IT_IS,
        "## What came of it\n",
        report.columns(by_store, _findings()),
        *report.notes(by_store, _wrong),
        "A change is *placed* when readers saw at which revision it came; the others are bounded by what was read "
        "before and after them, and the unshared ones by time alone.\n",
        "## What was broken\n",
        FAULTS,
        report.columns(by_store, _faults(results)),
        *(
            f"{report.NAMES[result.engine]} without *{kind}*: {why}.\n"
            for result in results
            for kind, why in result.missing.items()
        ),
        "## What was asked\n",
        report.columns(by_store, {kind.value: _count_kind(kind) for kind in Kind}),
        "## What was answered\n",
        report.columns(by_store, {name: _count(test) for name, test in _OUTCOMES.items()}),
    ]
    return report.page("Torture", parts, command=command, again="make torture", facts=facts)


Row = Callable[[Result], str]


def _count(test: Callable[[Operation], bool]) -> Row:
    return lambda result: whole(sum(map(test, result.history.operations)))


def _count_kind(kind: Kind) -> Row:
    return _count(lambda one: one.kind is kind)


def _findings() -> dict[str, Row]:
    return {
        "**violations**": lambda result: f"**{len(result.verdict.violations)}**",
        "servers that ended by themselves, refusals when all was whole": lambda result: str(len(result.wrong)),
        "longest wait for a refusal, s": lambda result: f"{longest_refusal_s(result.history.operations):.1f}",
        "longest end after SIGTERM, s": lambda result: f"{result.longest_stop_s:.1f}",
        "operations": lambda result: whole(len(result.history.operations)),
        "changes": lambda result: whole(result.verdict.changes),
        "of them placed": lambda result: f"{result.verdict.placed / max(1, result.verdict.changes):.0%}",
        "minutes": lambda result: f"{result.seconds / 60:.1f}",
    }


def _faults(results: Sequence[Result]) -> dict[str, Row]:
    kinds = dict.fromkeys(kind for result in results for kind in sorted(result.faults))
    return {kind: _count_faults(kind) for kind in kinds}


def _count_faults(kind: str) -> Row:
    return lambda result: str(result.faults[kind] or "")


def _wrong(result: Result) -> list[str]:
    return [*map(str, result.verdict.violations[:20]), *result.wrong]


_OUTCOMES: dict[str, Callable[[Operation], bool]] = {
    "200": lambda one: one.status == 200,
    "409": lambda one: one.status == 409,
    "503, nothing was stored": lambda one: one.status == 503 and one.outcome is Outcome.REFUSED,
    "503, not known": lambda one: one.status == 503 and one.outcome is Outcome.UNKNOWN,
    "another status": lambda one: one.status not in (None, 200, 409, 503),
    "given up by the client": lambda one: one.status is None and one.code == "given up",
    "connection lost": lambda one: one.status is None and one.code == "connection lost",
    "no connection: the server was down": lambda one: one.status is None and one.code == "not connected",
}
