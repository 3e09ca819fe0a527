# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.boots`: boot clusters of real processes while they and the servers are killed; writes docs/boots.md.

Exit status: 0 nothing was violated, 1 something was, 2 something that is needed is missing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from bench import machine

from tests.build import BuildFailed
from tests.databases import PROJECT, Programs
from tests.databases.build import build
from tests.databases.postgresql import Postgresql
from tests.databases.run import Run
from tests.report import NAMES

from . import beds, report
from .boots import Plan, Tally


def main() -> int:
    """Parse, boot, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.boots", description=__doc__)
    parser.add_argument("--boots", type=int, default=1000, help="on PostgreSQL (%(default)s)")
    parser.add_argument("--sqlite-boots", type=int, default=200, help="on SQLite (%(default)s)")
    parser.add_argument("--seed", type=int, default=time.time_ns() // 10**9, help="of all plans (default: the time)")
    parser.add_argument("--into", type=Path, default=PROJECT / "docs", help="directory for the page (docs)")
    arguments = parser.parse_args()
    # So that what was started is ended; asyncio does so at SIGINT.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        build(Programs.default())
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 2
    numbers = {"postgresql": arguments.boots, "sqlite": arguments.sqlite_boots}
    tallies: dict[str, Tally] = {}
    for engine, number in numbers.items():
        if not number:
            continue
        print(f"{number} boots on {NAMES[engine]}, seed {arguments.seed} ...", file=sys.stderr, flush=True)
        tallies[engine] = tally = _boot(engine, number, arguments.seed)
        # After each engine, so that what took so long is not lost.
        page = report.page(command=_command(arguments), facts=_facts(), tallies=tallies)
        (arguments.into / "boots.md").write_text(page)
        print(*tally.violations, sep="\n")
        print(f"{NAMES[engine]}: {tally.told()}", flush=True)
    return 1 if any(tally.violations for tally in tallies.values()) else 0


def _boot(engine: str, number: int, seed: int) -> Tally:
    plans = [Plan.draw(seed, one) for one in range(number)]
    place = Path(tempfile.mkdtemp(prefix="peerdata-boots-"))
    kept = False
    try:
        with Run.begin() as run:
            postgresql = _start_postgresql(run) if engine == "postgresql" else None
            tally = beds.boot(engine, place, plans, seed=seed, postgresql=postgresql)
        kept = bool(tally.violations)
    finally:
        if not kept:
            shutil.rmtree(place, ignore_errors=True)
    if kept:
        print(f"what the guests were told: {place}/boot-*", file=sys.stderr)
    return tally


def _start_postgresql(run: Run) -> Postgresql:
    server = Postgresql(run)
    server.create()
    server.start()
    return server


def _command(arguments: argparse.Namespace) -> str:
    numbers = f"--boots {arguments.boots} --sqlite-boots {arguments.sqlite_boots}"
    return f"python -m tests.boots {numbers} --seed {arguments.seed}"


def _facts() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in ("peerdata", "SQLAlchemy", "psycopg")}
    found |= {"PostgreSQL": Programs.default().version("postgresql-15"), "SQLite": sqlite3.sqlite_version}
    return {
        **machine.describe(),
        "versions": ", ".join(f"{name} {version}" for name, version in found.items()),
    }


if __name__ == "__main__":
    sys.exit(main())
