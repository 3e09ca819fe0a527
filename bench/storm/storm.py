# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
All guests of a storm at once, beside the same storm with etcd; what was seen, and how the page says it.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvloop

from bench.bed import Bed
from bench.crowd import SHARED, Instance, Project
from bench.exchange import ask, request
from bench.goals import Verdict, at_most
from bench.markdown import table, whole
from bench.part import Part
from bench.stage import Stage
from bench.storm.connection import Traffic
from bench.storm.guests import follow_etcd, follow_peerdata

WITHIN_S = 5.0
"""In which all start, each at its own moment."""

LONGEST_S = 75.0
"""For one storm; who does not know all by then never will, as far as the page is concerned."""

SEED = 2014
"""Of the moments of the starts: the same ones in every run."""

BYTES_MOST = 1.5
"""What may be sent, in times of what each must receive."""

Follow = Callable[[Instance, Project, int, Traffic, random.Random], Awaitable[None]]


@dataclass(frozen=True)
class Storm:
    """One storm, over."""

    who: str
    instances: int
    took_s: Sequence[float]
    """Of each instance that got there, from its start until it knew all; the first to know first."""
    last_s: float
    """From the first start until the last one knew all."""
    traffic: Traffic
    cpu_s: float
    """Of the server."""
    load_core: float
    """Of the time of the load's core, what the guests used; near 1 they were the limit."""

    @property
    def failed(self) -> int:
        """How many never knew all."""
        return self.instances - len(self.took_s)


@dataclass(frozen=True)
class Storms:
    """Ours and etcd's."""

    ours: Storm
    etcd: Storm
    least_bytes: int
    """Of all entries once to each instance, in the form of shared.json, which has nothing else in it."""

    @property
    def times_least(self) -> float:
        """What ours sent, heads, answers to publishes and all, in times of `least_bytes`."""
        return self.ours.traffic.all_bytes / self.least_bytes


def brew(bed: Bed) -> Part:
    """First ours, then etcd."""
    storms = _brew_both(bed)
    return Part("Boot storm", text(storms), verdicts(storms))


def _brew_both(bed: Bed) -> Storms:
    project, standalone = bed.storm, bed.standalone
    ours = _storm("peerdata, polls", follow_peerdata, project, bed.stage, standalone.name, standalone.port)
    reply = ask(standalone.port, request("GET", SHARED, project.instances[0].forwarded()))
    project.check_shared(reply)
    etcd = _storm("etcd v3, JSON watches", follow_etcd, project, bed.stage, bed.etcd.name, bed.etcd.port)
    return Storms(ours, etcd, len(reply.body) * len(project.instances))


def _storm(who: str, follow: Follow, project: Project, stage: Stage, server: str, port: int) -> Storm:
    print(f"boot storm, {who}", file=sys.stderr, flush=True)
    traffic = Traffic()
    cpu_before, ours_before, began = stage.cpu_s(server), os.times(), time.perf_counter()
    took, last_s = uvloop.run(_brew(follow, project, port, traffic))
    passed, ours = time.perf_counter() - began, os.times()
    used = ours.user + ours.system - ours_before.user - ours_before.system
    return Storm(who, len(project.instances), took, last_s, traffic, stage.cpu_s(server) - cpu_before, used / passed)


async def _brew(follow: Follow, project: Project, port: int, traffic: Traffic) -> tuple[list[float], float]:
    chance = random.Random(SEED)
    took: list[float] = []
    began = time.perf_counter()

    async def live(one: Instance, start_s: float, own: random.Random) -> None:
        await asyncio.sleep(start_s)
        started = time.perf_counter()
        await follow(one, project, port, traffic, own)
        took.append(time.perf_counter() - started)

    living = [
        asyncio.create_task(live(one, chance.uniform(0, WITHIN_S), random.Random(chance.random())))
        for one in project.instances
    ]
    done, late = await asyncio.wait(living, timeout=LONGEST_S, return_when=asyncio.FIRST_EXCEPTION)
    last_s = time.perf_counter() - began
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        if (error := task.exception()) is not None:
            print(f"an instance gave up: {type(error).__name__}: {error}", file=sys.stderr)
    return took, last_s


def verdicts(storms: Storms) -> list[Verdict]:
    """On what was promised of the storm."""
    work = f"boot storm of {storms.ours.instances}"
    found = None if storms.ours.failed else storms.times_least
    return [at_most(f"{work}, bytes sent", BYTES_MOST, found, " x the lower bound")]


def text(storms: Storms) -> str:
    """The part of the page."""
    titles = (
        "",
        "until the last knows all, s",
        "an instance, p50 s",
        "p99 s",
        "answers",
        "heads MB",
        "bodies MB",
        "CPU s of the server",
        "load's core",
    )
    return (
        f"{storms.ours.instances} instances of one project start within {WITHIN_S:g} s, each at a "
        "moment of its own (the same ones in every run), publish two keys, and follow until each knows all. With "
        "peerdata, stand-alone, they poll `peer_data.json?since=` when `poll_after_s` says; with etcd each puts one "
        "key that holds both values, ranges the prefix, and watches it from that revision on, through the JSON "
        "gateway. Connections stay. One storm each.\n\n"
        f"The lower bound is {storms.least_bytes / 1e6:.1f} MB: the bytes of `shared.json`, which is the entries and "
        "nothing else, once to each. peerdata sent "
        f"**{storms.times_least:.2f} x** that, heads and the answers to the publishes included.\n\n"
        + table(titles, [_line(storms.ours), _line(storms.etcd)], "lrrrrrrrr")
    )


def _line(storm: Storm) -> list[str]:
    last = f"**{storm.failed} never did** in {storm.last_s:.0f}" if storm.failed else f"{storm.last_s:.1f}"
    cuts = statistics.quantiles(storm.took_s, n=100) if len(storm.took_s) > 1 else [float("nan")] * 99
    return [
        storm.who,
        last,
        f"{cuts[49]:.1f}",
        f"{cuts[98]:.1f}",
        whole(storm.traffic.answers),
        f"{storm.traffic.head_bytes / 1e6:.1f}",
        f"{storm.traffic.body_bytes / 1e6:.1f}",
        f"{storm.cpu_s:.1f}",
        f"{storm.load_core:.0%}",
    ]
