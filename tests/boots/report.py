# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
docs/boots.md: what a long run did, and what came of it, one column for each store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.markdown import table, whole

from peerdata.model import Founders
from tests import report
from tests.report import NAMES

from .boots import AT_ONCE, HANGS_AFTER_S, Tally

SIZES = range(1, 10)

WHAT_IT_IS = f"""\
Clusters of 1 to 9 form themselves, {AT_ONCE} of them at a time, several in each project. Each guest is a process with
an address of its own, and asks two servers, `peerdata serve`, which share the store. Some clusters are closed, and some
have more guests than they were planned for. Meanwhile processes are killed with SIGKILL:

- the servers, one at a time or both, and started again;
- guests, those above all that were told to bootstrap and have not yet confirmed; they start again;
- guests whose instance is deleted, and another one takes its place. Of some the process goes on for up to 2 s after its
  instance is gone, and does not know it.

Some founders need seconds before they confirm. An instance is gone once the inventory does not list it any more, and
each server reads that again when it comes to it.

A guest writes down each answer before it obeys. Afterwards `tests/boots/checker.py` reads what they all were told, the
killed ones too, and looks for anything that breaks promise G7 of {{doc}}`protocol`: two sets of founders in a term;
somebody who is to bootstrap what was confirmed before; a term that goes back, or ends although its founders exist; a
late confirmation that counts; a guest that is not in its cluster after {HANGS_AFTER_S:.0f} s; servers that tell
different rolls in the end.

A short version is part of `make test`. That the check notices is tested too: by hand-made histories that break one rule
each, and with servers on which whoever asks takes the founder's place. `python -m tests.simulation` boots 100 000 on
drawn schedules, without processes.
"""


def page(*, command: str, facts: Mapping[str, str], tallies: Mapping[str, Tally]) -> str:
    """
    The page of `python -m tests.boots`.

    Args:
        tallies: By engine.
    """
    results = list(tallies.items())
    parts = [
        WHAT_IT_IS,
        "## What came of it\n",
        report.columns(results, ROWS),
        *report.notes(results, lambda tally: tally.violations[:20]),
        "## Boots by size\n",
        _sizes(tallies),
    ]
    return report.page("Boots", parts, command=command, again="make boots", facts=facts)


Row = Callable[[Tally], str]


def _count(name: str) -> Row:
    return lambda tally: whole(tally.counts[name])


ROWS: Mapping[str, Row] = {
    "**violations**": lambda tally: f"**{len(tally.violations)}**",
    "**clusters that hung**": lambda tally: f"**{tally.counts['hung']}**",
    "boots of clusters": lambda tally: whole(tally.number),
    "of closed ones": _count("closed"),
    "starts of guests": _count("lives"),
    "guests killed": _count("killed"),
    "instances deleted": _count("deleted"),
    "of them with a process that went on": _count("lost instances"),
    "founders killed or deleted between the verdict and its confirmation": _count("at work"),
    "servers killed": lambda tally: whole(tally.servers_killed),
    "terms founded": _count("founded"),
    "of them because a founder was gone": _count("replaced"),
    "late confirmations refused": _count("refused"),
    "answers": _count("answers"),
    "of them 404, the instance is not there": _count("unknown"),
    "of them 503, the store is busy": _count("busy"),
    "requests without an answer": _count("lost"),
    "minutes": lambda tally: f"{tally.seconds / 60:.1f}",
}


def _sizes(tallies: Mapping[str, Tally]) -> str:
    columns = [(engine, mode.value) for engine in tallies for mode in Founders]
    lines = [[str(size), *(str(tallies[engine].boots[mode, size]) for engine, mode in columns)] for size in SIZES]
    titles = ["size", *(f"{NAMES[engine]}, founders={mode}" for engine, mode in columns)]
    return table(titles, lines, "r" * len(titles))
