# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Floods: what one project's writes cost another one, on SQLite and PostgreSQL.

A quiet project publishes one call after the other over one connection, first alone, then while 64 connections of
another project flood the same server. A flood takes time on the server's core even where it is kept away from the
store; how much is measured with a flood of as many requests a second that the server answers without the store. That
much is allowed on top of the goal.
"""

from __future__ import annotations

import http.client
import itertools
import statistics
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from bench.crowd import Crowd, Instance, Project
from bench.databases import started
from bench.exchange import AnswerWrong, request
from bench.goals import Verdict
from bench.load import CONNECTIONS
from bench.load.flood import TURN, Flooded, flood
from bench.load.straight import Connection
from bench.markdown import table, whole
from bench.part import Part, Setting
from bench.rows.publishes import check_published
from bench.service import Service, Settings

NAMES = ("flood_sqlite", "flood_postgresql")

SERVERS = {"flood_sqlite": "SQLite", "flood_postgresql": "PostgreSQL"}

ROUNDS = 2
"""Of each flood; the calls of all rounds are taken together."""

QUIET_S = 1.5
"""Of one measurement of the quiet project."""

FLOOD_S = 2
"""Of one flood, which begins a little earlier."""

FLOODING, QUIET = 1_000, 2_000
"""Instances of each project: so many that none has many keys, which would make its answers long."""

P50_GOAL, P99_GOAL = 3, 5
"""In times of what the quiet project's writes take alone."""

# The floods of new keys would soon be over the quotas, and so no writes.
QUOTAS: Settings = {"limits": {"max_keys_per_instance": 10_000}}

NOTHING = "answered without the store"


@dataclass
class Seen:
    """What the quiet project's writes took beside one kind of flood, or alone."""

    what: str
    took_s: list[float] = field(default_factory=list)
    refused: int = 0
    """Writes of the quiet project that were not answered 200."""
    floods: list[Flooded] = field(default_factory=list)

    def cut_ms(self, percent: int) -> float:
        """Milliseconds within which that many of 100 were answered."""
        if len(self.took_s) < 2:
            return max(self.took_s, default=float("nan")) * 1000
        return statistics.quantiles(self.took_s, n=100)[percent - 1] * 1000


def measured(setting: Setting, names: Collection[str]) -> Iterator[Part]:
    """Those of `NAMES`."""
    crowd = Crowd()
    loud, quiet = crowd.add("loud", size=FLOODING)[0], crowd.add("quiet", size=QUIET)[0]
    inventory = setting.stage.directory / "inventory-floods.yaml"
    crowd.write_inventory(inventory)
    wanted = [server for name, server in SERVERS.items() if name in names]
    with started(setting.stage, inventory, wanted, prefix="peerdata-flooded", settings=QUOTAS) as services:
        for server, service in services.items():
            print(f"floods on {server}: ", end="", file=sys.stderr, flush=True)
            seen = _measure(setting, service, loud, quiet)
            yield Part("Floods", _text(server, seen), _verdicts(server, seen))


def _measure(setting: Setting, service: Service, loud: Project, quiet: Project) -> list[Seen]:
    """Alone first, then beside each flood, last beside the one that needs no store; all of that in each round."""
    floods = {
        "repeats": [one.publishes(one.forwarded(), suffix="_first") for one in loud.instances],
        "conflicts": [_other(one.publishes(one.forwarded(), suffix="_first")) for one in loud.instances],
        NOTHING: [request("GET", "/openstack", one.forwarded()) for one in loud.instances],
    }
    alone, *others = (Seen(what) for what in ("alone", "new keys", "repeats", "conflicts", NOTHING))
    writer = _Writer(service, quiet.instances)
    tools, directory = setting.tools, setting.stage.directory
    with flood(tools, directory, service.port, floods["repeats"], seconds=FLOOD_S):
        pass  # so that there is something to be repeated, and to be in conflict with
    for turn in range(ROUNDS):
        floods["new keys"] = [one.publishes(one.forwarded(), suffix=f"_{turn}_{TURN}") for one in loud.instances]
        writer.write(alone)
        for seen in others:
            pause_ms = _pause_ms(others[:-1]) if seen.what == NOTHING else 0.0
            requests = floods[seen.what]
            with flood(tools, directory, service.port, requests, seconds=FLOOD_S, pause_ms=pause_ms) as flooded:
                time.sleep(0.2)
                writer.write(seen)
            seen.floods.append(flooded)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [alone, *others]


def _pause_ms(floods: Sequence[Seen]) -> float:
    """Of each connection between two requests, so that they come as often as in *floods* on average."""
    rate = statistics.mean(flooded.rate for seen in floods for flooded in seen.floods)
    return CONNECTIONS / rate * 1000 if rate else 0.0


class _Writer:
    """The quiet project: publishes two new keys of one instance after the other."""

    def __init__(self, service: Service, instances: Sequence[Instance]) -> None:
        self._service = service
        self._calls = (
            one.publishes(one.forwarded(), suffix=f"_{turn}") for turn in itertools.count() for one in instances
        )

    def write(self, seen: Seen) -> None:
        """For `QUIET_S`, over one connection."""
        until = time.monotonic() + QUIET_S
        with Connection(self._service.port) as connection:
            while time.monotonic() < until:
                began = time.perf_counter()
                try:
                    check_published(connection.ask(next(self._calls)))
                except AnswerWrong:
                    seen.refused += 1
                except (OSError, http.client.HTTPException):  # no answer: the connection is of no use any more
                    seen.refused += 1
                    return
                finally:
                    seen.took_s.append(time.perf_counter() - began)


def _other(publish: bytes) -> bytes:
    """The same keys with other values."""
    return publish.replace(b":2380", b":2381").replace(b"=member", b"=leader")


def _verdicts(server: str, found: Sequence[Seen]) -> list[Verdict]:
    alone, *floods, nothing = found
    verdicts = []
    for seen in floods:
        for percent, goal in ((50, P50_GOAL), (99, P99_GOAL)):
            share_ms = max(0.0, nothing.cut_ms(percent) - alone.cut_ms(percent))
            times = max(0.0, seen.cut_ms(percent) - share_ms) / alone.cut_ms(percent)
            verdicts.append(
                Verdict(
                    f"{server}, p{percent} of a write beside a flood of {seen.what}",
                    f"at most {goal} x alone, and the flood's CPU share",
                    f"{times:.1f} x, and {share_ms:.1f} ms" + (f"; {seen.refused} refused" if seen.refused else ""),
                    round(times, 2) <= goal and not seen.refused,
                )
            )
    return verdicts


def _text(server: str, found: Sequence[Seen]) -> str:
    titles = ("the flood", "p50 ms", "p99 ms", "p50", "p99", "writes", "refused", "flood, answers/s", "not 2xx")
    return (
        f"### Another project's writes on {server}\n\n"
        f"Two new keys, durable, one call after the other over one connection, stand-alone; {ROUNDS} rounds of "
        f"{QUIET_S:g} s, taken together. A flood is 64 connections of one other project, each with one call under way. "
        "*repeats* publish again what is there, *conflicts* other values for it. "
        f"*{NOTHING}*: `GET /openstack`, which is parsed, proven and answered as every call but asks nothing of the "
        "store, about as often a second as the other floods on average. What that adds to the line *alone* is the "
        "flood's CPU share, which the goals allow on top.\n\n"
        + table(titles, [_line(seen, found[0]) for seen in found], "lrrrrrrrr")
    )


def _line(seen: Seen, alone: Seen) -> list[str]:
    times = ["", ""] if seen is alone else [f"{seen.cut_ms(cut) / alone.cut_ms(cut):.1f} x" for cut in (50, 99)]
    floods = ["", ""]
    if seen.floods:
        rate, not_2xx = (statistics.mean(getattr(one, of) for one in seen.floods) for of in ("rate", "not_2xx"))
        floods = [whole(rate), f"{not_2xx:.0%}"]
    cuts = [f"{seen.cut_ms(50):.2f}", f"{seen.cut_ms(99):.2f}"]
    return [seen.what, *cuts, *times, whole(len(seen.took_s)), str(seen.refused), *floods]
