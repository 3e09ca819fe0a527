# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m bench`: measure everything, and write docs/benchmarks.md. With `--only`: measure some, and print them.

Exit status: 0 measured, 1 a row failed, 2 something that is needed is missing.
"""

from __future__ import annotations

import argparse
import os
import resource
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
from bench.databases import versions as database_versions
from bench.part import Part, Setting, chosen
from bench.peers.haproxy import version as haproxy_version
from bench.plan import GROUPS, ROUNDS_BEHIND_NOVA
from bench.rows.loads import FILE
from bench.stage import opened
from bench.tools import ToolMissing, Tools, nova_version

DOCS = Path(__file__).parents[1] / "docs"

PAGE = "benchmarks.md"


def main() -> int:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only",
        metavar="NAMES",
        type=lambda text: text.split(","),
        default=[],
        help="measure the parts with these names, comma-separated, or that begin so; print them and write no page",
    )
    parser.add_argument("--list", action="store_true", help="print the names of all parts")
    parser.add_argument("--rounds", type=int, default=5, help="of each row (%(default)s)")
    parser.add_argument("--seconds", type=int, default=1, help="of a round of reads (%(default)s)")
    parser.add_argument("--into", type=Path, default=DOCS, help="directory for the page (docs)")
    arguments = parser.parse_args()
    try:
        names = chosen(GROUPS, arguments.only)
    except ValueError as error:
        parser.error(str(error))
    if arguments.list:
        print("\n".join(names))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    cores = machine.Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a storm of 2000 needs some thousands, and so do servers
    try:
        tools = Tools.ready()
        _build()
        files, good = _measure(cores, tools, names, arguments)
    except (ToolMissing, BuildFailed) as error:
        print(error, file=sys.stderr)
        return 2
    print(files[PAGE])
    if not arguments.only:
        for name, text in files.items():
            (arguments.into / name).write_text(text)
        print(f"written to {' and '.join(files)}", file=sys.stderr)
    return 0 if good else 1


def _measure(
    cores: machine.Cores, tools: Tools, names: Sequence[str], arguments: argparse.Namespace
) -> tuple[dict[str, str], bool]:
    """The page and the files beside it, and whether every row could be measured."""
    began = time.monotonic()
    with opened(cores) as stage:
        disk_us = machine.fsync_us(stage.directory)
        setting = Setting(stage, tools, arguments.rounds, arguments.seconds)
        parts = list(_parts(setting, names))
        disk = f"{machine.filesystem(stage.directory)}, {disk_us:.0f} µs for 4 KiB to be on it (fdatasync, median)"
    minutes = (time.monotonic() - began) / 60
    facts = {
        **machine.describe(),
        "disk": disk,
        "versions": _join(
            report.versions("uvloop", "httptools", "SQLAlchemy", "peerdata")
            | {"SQLite": sqlite3.sqlite_version, "nova": nova_version(), "haproxy": haproxy_version()}
            | tools.versions()
            | database_versions()
        ),
        "rounds": f"{arguments.rounds}, of {arguments.seconds} s each for reads; {ROUNDS_BEHIND_NOVA} in front of "
        "nova and of the fast upstream, on databases, for prefixes and for growth; boots, storms and floods say theirs",
        "took": f"{minutes:.1f} minutes",
    }
    command = f"python -m bench --only {','.join(arguments.only)}" if arguments.only else "make bench"
    page = report.page(
        parts,
        command=command,
        facts=facts,
        warning=_warning(parts, cores),
        minutes=None if arguments.only else minutes,
    )
    files = {PAGE: page}
    for part in parts:
        files.update(part.files)
    return files, not any(line.failure for part in parts for line in part.lines)


def _parts(setting: Setting, names: Sequence[str]) -> Iterator[Part]:
    for group in GROUPS:
        wanted = [name for name in group.names if name in names]
        if wanted:
            began = time.monotonic()
            yield from group.measure(setting, wanted)
            print(f"{', '.join(wanted)}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def _build() -> None:
    """What takes minutes the first time, and is no part of a measurement."""
    chain.build(Peers.default(), ["nova", "debian"])
    bases.build(Programs.default())


def _warning(parts: Sequence[Part], cores: machine.Cores) -> str:
    measured = [line for part in parts for line in part.lines if line.samples]
    steady = [line.spread for line in measured if line.who == FILE]
    return machine.warning([sample.used for line in measured for sample in line.samples], steady, cores)


def _join(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


if __name__ == "__main__":
    sys.exit(main())
