# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""`python -m tests.clusters [SOFTWARE ...]`: form each cluster many times, break it, write docs/clusters-runs.md."""

import argparse
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..databases.ip import why_not
from ..databases.run import Late, Run
from . import PROJECT, Packages
from .all import ALL
from .bed import Bed
from .build import build
from .cases import Cluster, Fault, Wrong, faults
from .software import Software

PAGE = PROJECT / "docs" / "clusters-runs.md"

_HEAD = """<!-- Written by `python -m tests.clusters`; do not edit. -->
# Clusters that were formed

Real software from Debian's packages, by the start scripts of `examples/`, in network namespaces with one address each,
two `peerdata serve` on one store behind 169.254.169.254. Each boot: all members switched on at one moment, in random
order, with empty disks. It counts when the software itself says, on every member, that all of them and nobody else are
one cluster that works; and when the service says that there was one set of founders, in the expected term.
{doc}`clusters` says what that means, and `make clusters` repeats it.

A run writes the rows of what it ran; the last column says which run, with the load of the machine when it began.

| software | Debian's version | case | done | one cluster | s, median | s, longest | run |
|---|---|---|---|---|---|---|---|
"""


@dataclass
class Outcome:
    """What came of one case of one software."""

    software: Software
    case: str
    run: str
    took_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def row(self) -> str:
        """Of the table."""
        version = Packages.default().version(self.software.package)
        done = len(self.took_s) + len(self.wrong)
        middle, longest = (
            (f"{statistics.median(self.took_s):.1f}", f"{max(self.took_s):.1f}") if self.took_s else ("", "")
        )
        facts = (version, self.case, done, len(self.took_s), middle, longest, self.run)
        return f"{_row_begin(self.software)}{' | '.join(map(str, facts))} |"


def _row_begin(software: Software) -> str:
    """How each row of that software begins; in brackets, how many members are planned."""
    return f"| {software.name} ({software.size}) | "


def _write(outcomes: Sequence[Outcome]) -> None:
    """Put the rows of one software into the page, in place of older ones."""
    before = PAGE.read_text().splitlines() if PAGE.exists() else []
    rows = {software.name: [line for line in before if line.startswith(_row_begin(software))] for software in ALL}
    rows[outcomes[0].software.name] = [outcome.row() for outcome in outcomes]
    PAGE.write_text(_HEAD + "".join(f"{row}\n" for software in ALL for row in rows[software.name]))


def main() -> int:
    """Run, and return the exit status: 1 where anything was wrong."""
    names = [software.name for software in ALL]
    parser = argparse.ArgumentParser(prog="python -m tests.clusters", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SOFTWARE", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--boots", type=int, default=20, help="parallel boots of each (default 20)")
    parser.add_argument("--faults", type=int, default=3, help="how often each fault (default 3)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of order and victims")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    build(Packages.default())
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, seed {arguments.seed}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}"
    )
    wrong = False
    run = Run.begin()
    try:
        with Bed(run) as bed:
            for software in [software for software in ALL if software.name in (arguments.names or names)]:
                chance = random.Random(f"{arguments.seed} {software.name}")
                outcomes = _pass(bed, software, chance, about, arguments.boots, arguments.faults)
                print("\n".join(outcome.row() for outcome in outcomes), flush=True)
                _write(outcomes)
                wrong = wrong or any(outcome.wrong for outcome in outcomes)
    finally:
        run.end(keep_logs=wrong)
    return int(wrong)


def _pass(bed: Bed, software: Software, chance: random.Random, about: str, boots: int, times: int) -> Sequence[Outcome]:
    """Boot it so often, and strike it with each fault so often; of what is wrong nothing is hidden."""
    boot = Outcome(software, "parallel boot", about)
    for _ in range(boots):
        _try(boot, lambda: Cluster(bed, software, chance).boot())
    outcomes = [boot]
    for fault in faults(software):
        outcome = Outcome(software, fault.name, about)
        outcomes.append(outcome)
        for _ in range(times):
            cluster = Cluster(bed, software, chance)

            def strike(fault: Fault = fault, cluster: Cluster = cluster) -> float:
                if fault.from_a_cluster:
                    cluster.boot()
                return fault.strike(cluster)

            _try(outcome, strike)
    return outcomes


def _try(outcome: Outcome, deed: Callable[[], float]) -> None:
    began = time.monotonic()
    try:
        outcome.took_s.append(deed())
    except (Wrong, Late) as error:
        outcome.wrong.append(str(error))
        print(f"{outcome.software.name}, {outcome.case}: {error}", file=sys.stderr)
    print(f"{outcome.software.name}, {outcome.case}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
