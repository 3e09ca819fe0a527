# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.torture run`: torture the engines, and write docs/torture.md. `check FILE`: check a kept history again.

Exit status: 0 nothing is wrong, 1 something is, 2 something that is needed is missing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
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
from tests.databases.run import Run

from . import beds, checker, report
from .history import History
from .storm import Result, storm


def main() -> int:
    """Parse, and do it."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="torture the engines, and write the page")
    run.set_defaults(do=_run)
    run.add_argument("--minutes", type=float, default=10, help="for each engine (%(default)s)")
    run.add_argument("--engines", nargs="+", choices=beds.ENGINES, default=list(beds.ENGINES), help="default: all")
    run.add_argument("--seed", default=str(time.time_ns() // 10**9), help="of all choices (default: the time)")
    run.add_argument("--workers", type=int, default=1, help="processes in each server (%(default)s)")
    run.add_argument("--silence", type=float, default=30, help="longest of a database, in seconds (%(default)s)")
    run.add_argument("--into", type=Path, default=PROJECT / "docs", help="directory for the page (docs)")
    check = commands.add_parser("check", help="check a history that was kept")
    check.set_defaults(do=_check)
    check.add_argument("file", type=Path)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    status: int = arguments.do(arguments)
    return status


def _run(arguments: argparse.Namespace) -> int:
    try:
        build(Programs.default())
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 2
    results: list[Result] = []
    for engine in arguments.engines:
        print(f"{engine}, seed {arguments.seed}, {arguments.minutes:g} minutes ...", file=sys.stderr, flush=True)
        with Run.begin() as run, tempfile.TemporaryDirectory() as place:
            result = storm(
                engine,
                run,
                Path(place),
                seed=arguments.seed,
                seconds=60 * arguments.minutes,
                calm_s=3.0,
                workers=arguments.workers,
                silence_s=arguments.silence,
            )
        print(result, file=sys.stderr, flush=True)
        results.append(result)
        # After each engine, so that what took so long is not lost.
        page = report.page(command=_command(arguments), facts=_facts(arguments), results=results)
        (arguments.into / "torture.md").write_text(page)
    return 0 if all(result.good for result in results) else 1


def _check(arguments: argparse.Namespace) -> int:
    history = History.read(arguments.file)
    began = time.monotonic()
    verdict = checker.check(history.operations)
    print(*verdict.violations, sep="\n")
    print(
        f"{history.about['engine']}, seed {history.about['seed']}: {len(history.operations)} operations, "
        f"{verdict.changes} changes, {verdict.placed} of them placed; {len(verdict.violations)} violations; "
        f"checked in {time.monotonic() - began:.1f} s"
    )
    return 1 if verdict.violations else 0


def _command(arguments: argparse.Namespace) -> str:
    """What does the same again; `make torture` is its short form."""
    said = f"--minutes {arguments.minutes:g} --silence {arguments.silence:g} --workers {arguments.workers}"
    return f"python -m tests.torture run {said} --seed {arguments.seed}"


def _facts(arguments: argparse.Namespace) -> dict[str, str]:
    programs = Programs.default()
    found = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    found |= {name: importlib.metadata.version(name) for name in ("peerdata", "SQLAlchemy", "psycopg", "PyMySQL")}
    found |= {name: programs.version(package) for name, package in _PACKAGES.items()}
    return {
        **machine.describe(),
        "versions": ", ".join(f"{name} {version}" for name, version in found.items()),
        "each engine": f"{arguments.minutes:g} minutes; a database silent for up to {arguments.silence:g} s",
        "processes in each server": str(arguments.workers),
    }


_PACKAGES = {
    "PostgreSQL": "postgresql-15",
    "MariaDB": "mariadb-server",
    "Galera": "galera-4",
    "libfaketime": "libfaketime",
}


if __name__ == "__main__":
    sys.exit(main())
