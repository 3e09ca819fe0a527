# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A rack comes back: hundreds of instances boot at one moment, and nova can work on eight requests at a time.

The same storm runs straight to such a nova and through the service to another one, at the same time, so that what
disturbs the machine meets both alike. Nearly all of it is waiting.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import uvloop

from bench.bed import SECRET
from bench.crowd import META_DATA, VENDOR_DATA, Crowd, Instance
from bench.exchange import request
from bench.goals import Verdict, at_most
from bench.markdown import table, whole
from bench.part import Part, Setting
from bench.peers.slots import SLOTS, Slots
from bench.service import Service

FILES = (META_DATA, "/openstack/latest/user_data", VENDOR_DATA)
"""What each instance reads, one after the other."""

GIVES_UP_S = 32.0
"""For one answer: haproxy in front of a metadata agent gives up then (neutron, common/metadata.py, timeout server)."""

REPEATS_AFTER_S = 1.0

LATE = 1.5
"""In times of what the storm took straight to nova: who has not booted through the service by then, counts as lost."""

TIME_GOAL, ASKED_GOAL, MEMORY_GOAL_MIB = 1.15, 1.1, 150


@dataclass(frozen=True)
class Size:
    """One kind of storm."""

    instances: int
    work_s: float
    """Of the upstream for each request."""

    @property
    def name(self) -> str:
        """As `--only` selects it."""
        return f"boot_storm_{self.instances}"

    @property
    def ideal_s(self) -> float:
        """What it takes where no slot is ever empty."""
        return self.instances * len(FILES) * self.work_s / SLOTS


SIZES = (Size(400, 0.25), Size(2_000, 0.02))

NAMES = tuple(size.name for size in SIZES)


@dataclass
class Storm:
    """One of the two, over."""

    who: str
    instances: int
    booted_s: list[float] = field(default_factory=list)
    """Of each instance that has all its files, from the start of the storm."""
    refused: Counter[int] = field(default_factory=Counter)
    """Answers other than 200, by their status; 0: none came in time, or the connection broke."""
    asked: int = 0
    """Requests on which the upstream has worked."""
    took_s: float = 0.0

    @property
    def lost(self) -> int:
        """Instances that do not have all their files."""
        return self.instances - len(self.booted_s)


@dataclass(frozen=True)
class Storms:
    """Both."""

    size: Size
    straight: Storm
    through: Storm
    peak_bytes: int
    """Of the service, resident."""
    cpu_s: float
    """Of the service."""


def measured(setting: Setting, names: Collection[str]) -> Iterator[Part]:
    """Those of `NAMES`."""
    for size in SIZES:
        if size.name in names:
            storms = _run(setting, size)
            yield Part("A rack comes back", _text(storms), _verdicts(storms))


def _run(setting: Setting, size: Size) -> Storms:
    stage = setting.stage
    print(f"{size.instances} instances boot, {size.ideal_s:.0f} s at best", file=sys.stderr, flush=True)
    instances = Crowd().add("rack", size=size.instances)[0].instances
    alone, behind = (Slots(stage, f"slots-{word}-{size.instances}", size.work_s) for word in ("alone", "behind"))
    alone.start()
    behind.start()
    service = Service.before_nova(stage, behind.url, SECRET, name=f"peerdata-{size.instances}-boot")
    service.start()
    straight, through = Storm("straight to nova", size.instances), Storm("through peerdata", size.instances)
    cpu_before = stage.cpu_s(service.name)
    uvloop.run(_both(instances, (straight, alone.port), (through, service.port), late_s=size.ideal_s * LATE))
    straight.asked, through.asked = alone.asked, behind.asked
    storms = Storms(size, straight, through, stage.peak_bytes(service.name), stage.cpu_s(service.name) - cpu_before)
    for name in (service.name, alone.name, behind.name):
        stage.stop(name, within_s=1)
    return storms


async def _both(
    instances: Sequence[Instance], straight: tuple[Storm, int], through: tuple[Storm, int], *, late_s: float
) -> None:
    """Until everybody has booted straight, and through the service or it is too late for that."""
    began = time.perf_counter()
    first, second = (asyncio.create_task(_storm(instances, storm, port)) for storm, port in (straight, through))
    await asyncio.wait([first], timeout=2 * late_s)
    await asyncio.wait([second], timeout=max(0.1, (time.perf_counter() - began) * (LATE - 1)))
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


async def _storm(instances: Sequence[Instance], storm: Storm, port: int) -> None:
    began = time.perf_counter()

    async def boot(one: Instance) -> None:
        for target in FILES:
            asked = request("GET", target, [*one.signed(SECRET), ("Connection", "close")])
            while (status := await _status(port, asked)) != 200:
                storm.refused[status] += 1
                await asyncio.sleep(REPEATS_AFTER_S)
        storm.booted_s.append(time.perf_counter() - began)

    try:
        async with asyncio.TaskGroup() as booting:
            for one in instances:
                booting.create_task(boot(one))
    finally:
        storm.took_s = time.perf_counter() - began


async def _status(port: int, asked: bytes) -> int:
    """Of the whole answer to *asked*, on a connection of its own as from a metadata agent; 0 where none came."""
    writer = None
    try:
        async with asyncio.timeout(GIVES_UP_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or b"0")
            await reader.readexactly(length)
            return int(head.split(b" ", 2)[1])
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        return 0
    finally:
        if writer:
            writer.close()


def _verdicts(storms: Storms) -> list[Verdict]:
    straight, through = storms.straight, storms.through
    work = f"boot storm of {storms.size.instances} through the service"
    if straight.lost or through.lost:
        done = len(through.booted_s)
        said = f"{done} of {through.instances} done after {through.took_s:.0f} s; straight {straight.took_s:.0f} s"
        took = Verdict(f"{work}, all done", f"at most {TIME_GOAL:g} x straight to nova", said, False)
    else:
        took = at_most(f"{work}, all done", TIME_GOAL, through.took_s / straight.took_s, " x straight to nova")
    more = at_most(f"{work}, requests to nova", ASKED_GOAL, through.asked / straight.asked, " x straight to nova")
    if through.lost:  # who asks for less than all has promised nothing
        more = replace(more, found=f"{more.found}, and not all done", met=False)
    return [
        took,
        at_most(f"{work}, answers 504", 0, through.refused[504]),
        more,
        at_most(f"{work}, peak memory of the service", MEMORY_GOAL_MIB, storms.peak_bytes / 2**20, " MiB"),
    ]


def _text(storms: Storms) -> str:
    size = storms.size
    titles = (
        "",
        "booted",
        "until the last, s",
        "p50 s",
        "503",
        "504",
        "other 4xx, 5xx",
        "given up",
        "requests to nova",
    )
    rows = [_line(storm) for storm in (storms.straight, storms.through)]
    return (
        f"### {size.instances} instances, {size.work_s:g} s of work for each request\n\n"
        f"All boot at one moment. Each reads {len(FILES)} files, one after the other, each on a connection of its own; "
        f"it gives up after {GIVES_UP_S:g} s, and repeats {REPEATS_AFTER_S:g} s after it gave up or was answered "
        f"anything but 200. The upstream works on {SLOTS} requests at a time, which is {size.ideal_s:.1f} s for all, "
        "takes the others in their order, and closes after each answer. Both storms ran at the same time, each with an "
        f"upstream of its own; the one through the service was ended after {LATE:g} x the other. The service used "
        f"{storms.cpu_s:.1f} s of CPU and at most {storms.peak_bytes / 2**20:.0f} MiB.\n\n"
        + table(titles, rows, "lrrrrrrrr")
    )


def _line(storm: Storm) -> list[str]:
    other = sum(count for status, count in storm.refused.items() if status not in (0, 503, 504))
    return [
        storm.who,
        f"**{len(storm.booted_s)} of {storm.instances}**" if storm.lost else str(storm.instances),
        f"{storm.took_s:.1f}",
        f"{statistics.median(storm.booted_s):.1f}" if storm.booted_s else "",
        *(whole(count) for count in (storm.refused[503], storm.refused[504], other, storm.refused[0], storm.asked)),
    ]
