# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The comparison: all contestants on the servers' core, asked in turn for 13 kB and for 130 kB.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.chain.ports import free_port
from tests.chain.run import until

from bench.exchange import Check, ask, equals, refused, request
from bench.load import Load
from bench.load.wrk import Wrk
from bench.machine import Cores
from bench.markdown import table
from bench.peers.nginx import Nginx
from bench.report import head
from bench.rounds import Beside, Line, Measured, Row, measure
from bench.rows.loads import FILE
from bench.servers.contestants import OTHERS, OWN, PROJECT, Contestant, place
from bench.servers.signed import BODIES, headers
from bench.stage import Stage, opened
from bench.tools import Tools


def compare(cores: Cores, tools: Tools, *, rounds: int, seconds: int) -> list[Measured]:
    """A row for each body."""
    with opened(cores) as stage, _started(stage) as ports:
        nginx = Nginx(stage, tools)
        nginx.start()

        def load(who: str, server: str, port: int, path: str, check: Check) -> Load:
            return Wrk(
                tools,
                stage.directory,
                who=who,
                server=server,
                port=port,
                requests=[request("GET", path, headers())],
                check=check,
                seconds=seconds,
            )

        measured = []
        for path, body in BODIES.items():
            file = load(FILE, nginx.name, nginx.port, nginx.serve(f"{len(body)}.json", body), equals(body))
            own, *others = (load(one.name, one.process, ports[one], path, equals(body)) for one in (OWN, *OTHERS))
            title = f"{len(body) / 1000:.1f} kB"
            measured.append(measure(Row(title, own, [Beside(load) for load in (file, *others)]), stage, rounds=rounds))
        return measured


@contextmanager
def _started(stage: Stage) -> Iterator[dict[Contestant, int]]:
    """Every contestant, by its port; each has shown that it does look at the signature."""
    environment = place()
    forged = [(name, "0" * 64 if name.endswith("Signature") else value) for name, value in headers()]
    ports = {}
    for one in (OWN, *OTHERS):
        port = ports[one] = free_port()
        process = stage.start(one.process, one.command(environment, port), environment={"PYTHONPATH": str(PROJECT)})
        until(f"{one.name} listens", partial(_ended_or_listens, process, port))
        if process.poll() is not None:
            raise RuntimeError(f"{one.name} ended: {stage.log(one.process).read_text()[-2000:]}")
        refused(403)(ask(port, request("GET", "/openstack/100/shared.json", forged)))
    yield ports


def _ended_or_listens(process: subprocess.Popen[str], port: int) -> bool:
    if process.poll() is not None:
        return True
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def page(measured: list[Measured], *, facts: dict[str, str], warning: str) -> str:
    """The page of `python -m bench servers`."""
    titles = ("", "requests/s", "of nginx", "by CPU", "spread", "p99 ms", "CPU µs each")
    parts = [
        head("HTTP servers compared", "python -m bench servers", facts, warning),
        "Each serves ready-made JSON after one HMAC-SHA256 over the instance id, which is what a read of `shared.json` "
        "comes down to. All of them run side by side on one pinned core, the load on the other, with 64 connections of "
        "one request each; everybody is asked in turn, round by round, and the medians count. **by CPU** is the share "
        "of nginx by the server's CPU time for one answer, **spread** how far the rounds lie apart. `httptools and "
        "uvloop, nothing else` has no limits, no deadlines and no errors: it is the ceiling, and not a choice.\n",
    ]
    for row in measured:
        nginx = row.beside[0]
        parts.append(f"## {row.row.title}\n")
        fastest_first = sorted(row.lines, key=lambda line: line.rate if line.samples else 0.0, reverse=True)
        parts.append(table(titles, (_line(line, nginx) for line in fastest_first), "lrrrrrr"))
    return "\n".join(parts).rstrip() + "\n"


def _line(line: Line, nginx: Line) -> list[str]:
    if line.failure:
        return [line.who, f"**failed**: {line.failure}", *[""] * 5]
    cpu_us = line.median(lambda sample: sample.cpu_us)
    return [
        line.who,
        f"{line.rate:,.0f}".replace(",", " "),
        f"{line.rate / nginx.rate:.2f}" if nginx.samples else "",
        f"{nginx.median(lambda sample: sample.cpu_us) / cpu_us:.2f}" if nginx.samples else "",
        f"{line.spread:.0%}",
        f"{line.median(lambda sample: sample.p99_us) / 1000:.2f}",
        f"{cpu_us:.1f}",
    ]
