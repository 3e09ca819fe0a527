# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m bench`: measure, and write docs/benchmarks.md. `python -m bench servers`: compare HTTP servers.

Exit status: 0 measured, 1 a row failed, 2 something that is needed is missing.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.build import BuildFailed
from tests.chain.peers import Peers
from tests.chain.peers import build as chain
from tests.databases import Programs
from tests.databases import build as bases

from bench import machine, report
from bench.bed import made
from bench.databases import compare as compare_databases
from bench.databases import versions as database_versions
from bench.environment import EnvironmentMissing
from bench.growth import grow
from bench.memory import weigh
from bench.plot import draw, plotter
from bench.report import Results
from bench.rounds import Line, Row, measure
from bench.rows import behind_nova, publishes, reads
from bench.rows.loads import FILE, Loads
from bench.servers import contestants
from bench.servers.compare import compare as compare_servers
from bench.servers.compare import page as page_of_servers
from bench.stage import opened
from bench.storm.storm import brew
from bench.tools import ToolMissing, Tools, nova_version

DOCS = Path(__file__).parents[1] / "docs"

PLOT = "benchmarks-growth.svg"

ROUNDS_BEHIND_NOVA = 3
"""Nova is slow to ask, and nothing was promised of these."""


def main() -> int:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("service", "servers"), default="service", help="default: service")
    parser.add_argument("--rounds", type=int, default=5, help="of each row (%(default)s)")
    parser.add_argument("--seconds", type=int, default=2, help="of a round of reads (%(default)s)")
    parser.add_argument("--into", type=Path, default=DOCS, help="directory for the page (docs)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    began = time.monotonic()
    cores = machine.Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    try:
        measure_all = _servers if arguments.what == "servers" else _service
        files, good = measure_all(cores, Tools.ready(), arguments.rounds, arguments.seconds)
    except (ToolMissing, BuildFailed, EnvironmentMissing) as error:
        print(error, file=sys.stderr)
        return 2
    for name, text in files.items():
        (arguments.into / name).write_text(text)
    print(next(iter(files.values())))
    print(f"written to {' and '.join(files)} in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0 if good else 1


def _service(cores: machine.Cores, tools: Tools, rounds: int, seconds: int) -> tuple[dict[str, str], bool]:
    _build()
    began = time.monotonic()
    with opened(cores) as stage:
        disk_us = machine.fsync_us(stage.directory)
        with made(stage, tools, rounds=rounds) as bed:
            loads = Loads(bed, seconds=seconds)
            side_by_side = [measure(row, stage, rounds=rounds) for row in _side_by_side(loads)]
            storms = brew(bed)
            behind_nova = [measure(row, stage, rounds=min(rounds, ROUNDS_BEHIND_NOVA)) for row in _behind_nova(loads)]
        grown = grow(stage, tools)
        memory = weigh(stage)
        databases = compare_databases(stage, tools)
        disk = f"{machine.filesystem(stage.directory)}, {disk_us:.0f} µs for 4 KiB to be on it (fdatasync, median)"
    minutes = (time.monotonic() - began) / 60
    results = Results(side_by_side, behind_nova, storms, grown, memory, databases, minutes)
    facts = {
        **machine.describe(),
        "disk": disk,
        "versions": _join(
            report.versions("uvloop", "httptools", "SQLAlchemy", "peerdata")
            | {"SQLite": sqlite3.sqlite_version, "nova": nova_version()}
            | tools.versions()
            | database_versions()
        ),
        "rounds": f"{rounds}, of {seconds} s each for reads; {ROUNDS_BEHIND_NOVA} in front of nova, on databases and "
        "for growth",
        "took": f"{minutes:.1f} minutes",
    }
    warning = _warning(results.lines, cores)
    page = report.page(results, command="make bench", facts=facts, warning=warning, plot=PLOT)
    return {"benchmarks.md": page, PLOT: draw(grown)}, not any(line.failure for line in results.lines)


def _build() -> None:
    """What takes minutes the first time, and is no part of a measurement."""
    peers = Peers.default()
    chain.build(peers, ["nova"])
    bases.build(Programs.default())
    plotter()


def _side_by_side(loads: Loads) -> Iterator[Row]:
    """One after the other; each is to be measured before the next is made."""
    yield reads.shared(loads, 10)
    yield reads.shared_100(loads)
    yield reads.shared_1000(loads)
    yield reads.poll(loads)
    yield publishes.publish(loads.bed)


def _behind_nova(loads: Loads) -> Iterator[Row]:
    """Likewise."""
    yield behind_nova.publish(loads)
    yield behind_nova.merged(loads)
    yield behind_nova.untouched(loads)
    yield behind_nova.pass_through(loads)


def _servers(cores: machine.Cores, tools: Tools, rounds: int, seconds: int) -> tuple[dict[str, str], bool]:
    measured = compare_servers(cores, tools, rounds=rounds, seconds=seconds)
    lines = [line for row in measured for line in row.lines]
    beside = {name: version for name, version in tools.versions().items() if name in ("wrk", "nginx")}
    facts = {
        **machine.describe(),
        "versions": _join(report.versions("uvloop", "httptools") | contestants.versions() | beside),
        "rounds": f"{rounds}, of {seconds} s each",
    }
    page = page_of_servers(measured, facts=facts, warning=_warning(lines, cores))
    return {"benchmarks-servers.md": page}, not any(line.failure for line in lines)


def _warning(lines: Sequence[Line], cores: machine.Cores) -> str:
    measured = [line for line in lines if line.samples]
    steady = [line.spread for line in measured if line.who == FILE]
    return machine.warning([sample.used for line in measured for sample in line.samples], steady, cores)


def _join(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


if __name__ == "__main__":
    sys.exit(main())
