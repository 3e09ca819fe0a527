# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The pages: what was measured, as tables that say how to read them and whether the machine was quiet enough.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bench import goals
from bench.goals import at_most
from bench.markdown import table
from bench.part import Part

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

For the rows in front of nova a real nova is asked too, on the same core, with nova's own cache.

Before a row was measured its answers were compared: the same bytes from nginx and from peerdata, the right peers, keys
and values from all others, status 200 (of a create of etcd: 201). A row in which one answer was anything else than that
says so instead of a number.
"""


def page(
    parts: Sequence[Part], *, command: str, facts: Mapping[str, str], warning: str, minutes: float | None = None
) -> str:
    """
    The page of `python -m bench`.

    Args:
        minutes: That all of it took, without what had to be built first; None where only some parts were measured.
    """
    verdicts = [verdict for part in parts for verdict in part.verdicts]
    if minutes is not None:
        verdicts.append(at_most("make bench, all of it", MINUTES_MOST, minutes, " minutes"))
    sections = [head("Benchmarks", command, facts, warning), goals.section(verdicts), HOW_TO_READ]
    heading = ""
    for part in parts:
        if part.heading != heading:
            heading = part.heading
            sections.append(f"## {heading}\n")
        sections.append(part.text)
    return "\n".join(sections).rstrip() + "\n"


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


def versions(*names: str) -> dict[str, str]:
    """Of Python, and of the installed packages *names*."""
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
