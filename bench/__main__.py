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
from pathlib import Path

from tests.chain.peers.build import BuildFailed

from bench import machine, report
from bench.bed import made
from bench.growth import grow
from bench.rounds import Measured, measure
from bench.rows import FILE, Rows
from bench.servers import contestants
from bench.servers.compare import compare
from bench.servers.compare import page as page_of_servers
from bench.stage import opened
from bench.tools import ToolMissing, Tools, nova_version

DOCS = Path(__file__).parents[1] / "docs"


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
        name, page, good = measure_all(cores, Tools.ready(), arguments.rounds, arguments.seconds)
    except (ToolMissing, BuildFailed, contestants.EnvironmentMissing) as error:
        print(error, file=sys.stderr)
        return 2
    (arguments.into / name).write_text(page)
    print(page)
    print(f"written to {name} in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0 if good else 1


def _service(cores: machine.Cores, tools: Tools, rounds: int, seconds: int) -> tuple[str, str, bool]:
    with opened(cores) as stage:
        disk_us = machine.fsync_us(stage.directory)
        with made(stage, tools, rounds=rounds) as bed:
            measured = [measure(row, stage, rounds=rounds) for row in Rows(bed, seconds=seconds).make()]
            after_rows = stage.resident_bytes(bed.service.name)
            growth = grow(bed)
            memory = {
                "just started": bed.idle_bytes,
                "after the rows above": after_rows,
                "after the projects of 10 000 peers": stage.resident_bytes(bed.service.name),
            }
        disk = f"{machine.filesystem(stage.directory)}, {disk_us:.0f} µs for 4 KiB to be on it (fdatasync, median)"
    facts = {
        **machine.describe(),
        "disk": disk,
        "versions": _join(
            report.versions("uvloop", "httptools", "SQLAlchemy", "peerdata")
            | {"SQLite": sqlite3.sqlite_version, "nova": nova_version()}
            | tools.versions()
        ),
        "rounds": f"{rounds}, of {seconds} s each for reads",
    }
    page = report.page(
        command="make bench",
        facts=facts,
        warning=_warning(measured, cores),
        rows=measured,
        growth=growth,
        memory=memory,
    )
    lines = [line for row in measured for line in row.lines]
    lines += [line for step in growth for line in (step.read, step.poll, step.publish, step.pair)]
    return "benchmarks.md", page, not any(line.failure for line in lines)


def _servers(cores: machine.Cores, tools: Tools, rounds: int, seconds: int) -> tuple[str, str, bool]:
    measured = compare(cores, tools, rounds=rounds, seconds=seconds)
    facts = {
        **machine.describe(),
        "versions": _join(report.versions("uvloop", "httptools") | contestants.versions() | tools.versions()),
        "rounds": f"{rounds}, of {seconds} s each",
    }
    page = page_of_servers(measured, facts=facts, warning=_warning(measured, cores))
    return "benchmarks-servers.md", page, not any(line.failure for row in measured for line in row.lines)


def _warning(measured: list[Measured], cores: machine.Cores) -> str:
    lines = [line for row in measured for line in row.lines if line.samples]
    steady = [line.spread for line in lines if line.who == FILE]
    return machine.warning([sample.used for line in lines for sample in line.samples], steady, cores)


def _join(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


if __name__ == "__main__":
    sys.exit(main())
