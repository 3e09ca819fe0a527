# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The machine: which core serves and which one asks, what it is made of, and whether others were using it meanwhile.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

OTHERS_MOST = 0.05
"""
Of a core's time, in a round; where others took more, the round says little.

The kernel counts this in ticks of 10 ms, so 0.02 may be its error.
"""

FULL = 0.9
"""Of a core's time, in a round; who used less was waiting for something."""

BUSY_ROUNDS_MOST = 0.2
"""Of the rounds; more of them disturbed, and the run is not to be trusted."""


@dataclass(frozen=True)
class Cores:
    """One core for the servers, another for the load."""

    server: int
    load: int

    @classmethod
    def choose(cls) -> Cores:
        """The last core that this process may use serves, the first one asks."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(server=allowed[-1], load=allowed[0])

    @property
    def apart(self) -> bool:
        """Whether there are two."""
        return self.server != self.load


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Inside, this thread, and what it starts, runs on *core*."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Used:
    """What was used of the two cores in a round, as shares of its time."""

    server: float
    """Of the servers' core, by our servers."""
    others_server: float
    """Of the servers' core, by anybody else, a hypervisor's other guests included."""
    others_load: float
    """Of the core of the load."""
    load: float
    """Of the core of the load, by the load."""

    @property
    def disturbed(self) -> bool:
        """Whether others took too much."""
        return max(self.others_server, self.others_load) > OTHERS_MOST


class Meter:
    """
    Tells whose the time of the two cores was, between two looks.

    Args:
        servers_s: CPU seconds that our servers have used so far.
        helpers_s: The same of what helps the load, on its core.
    """

    def __init__(
        self, cores: Cores, servers_s: Callable[[], float], helpers_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._cores = cores
        self._servers_s = servers_s
        self._helpers_s = helpers_s
        self._last = self._look()

    def begin(self) -> None:
        """From now on."""
        self._last = self._look()

    def read(self) -> Used:
        """Since `begin`."""
        before, self._last = self._last, self._look()
        passed, server, load, servers, ours = (now - then for now, then in zip(self._last, before, strict=True))
        if not self._cores.apart:
            others = max(0.0, server - servers - ours) / passed
            return Used(servers / passed, others, others, ours / passed)
        others_server, others_load = max(0.0, server - servers) / passed, max(0.0, load - ours) / passed
        return Used(servers / passed, others_server, others_load, ours / passed)

    def _look(self) -> tuple[float, float, float, float, float]:
        mine = os.times()
        ours = mine.user + mine.system + mine.children_user + mine.children_system + self._helpers_s()
        busy = _busy_s()
        return time.monotonic(), busy[self._cores.server], busy[self._cores.load], self._servers_s(), ours


def _busy_s() -> dict[int, float]:
    """Seconds for which each core was not idle (man 5 proc: user nice system idle iowait irq softirq steal)."""
    busy = {}
    for line in Path("/proc/stat").read_text().splitlines():
        if match := re.match(r"cpu(\d+) (.*)", line):
            user, nice, system, _idle, _wait, irq, softirq, steal = (int(part) for part in match[2].split()[:8])
            busy[int(match[1])] = (user + nice + system + irq + softirq + steal) / TICKS_A_SECOND
    return busy


def warning(used: Sequence[Used], steady_spreads: Sequence[float], cores: Cores) -> str:
    """
    Why this run is not to be trusted; "" where it is.

    Args:
        used: Of each round.
        steady_spreads: How far the rounds of nginx lie apart, (most - least) / median: what serves a file always costs
            the same, so they tell of the machine and not of the server.
    """
    if not cores.apart:
        return "there is only one core, which servers and load had to share"
    reasons = []
    disturbed = [one for one in used if one.disturbed]
    if len(disturbed) > BUSY_ROUNDS_MOST * len(used):
        server = statistics.median(one.others_server for one in used)
        load = statistics.median(one.others_load for one in used)
        worst = max(max(one.others_server, one.others_load) for one in used)
        reasons.append(
            f"in {len(disturbed)} of {len(used)} rounds others used the cores too (median {server:.0%} of the servers' "
            f"core and {load:.0%} of the other; at worst {worst:.0%})"
        )
    if steady_spreads and statistics.median(steady_spreads) > SPREAD_MOST:
        reasons.append(f"the rounds of nginx lie {statistics.median(steady_spreads):.0%} apart")
    return ", and ".join(reasons)


SPREAD_MOST = 0.2
"""Of nginx's rounds around their median; on an idle machine it is below 0.1."""


def describe() -> dict[str, str]:
    """Processor, cores, kernel, memory; no names of the machine."""
    facts = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", facts)
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    hypervisor = re.search(r"^flags\s*:.*\bhypervisor\b", facts, re.MULTILINE)
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "") if Path("/etc/os-release").exists() else ""
    return {
        "processor": (model[1] if model else platform.machine()) + (", virtual machine" if hypervisor else ""),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "?",
        "system": f"{system}, {platform.system()} {re.match(r'[0-9.]+', platform.release())[0]}",  # type: ignore[index]
    }


def filesystem(directory: Path) -> str:
    """The kind of file system that *directory* is on; a memory one makes every fsync free."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if directory.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def fsync_us(directory: Path, *, times: int = 200) -> float:
    """Microseconds (median) until 4 KiB more of a file are on the disk: what no durable write can be faster than."""
    took = []
    path = directory / "fsync"
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"\0" * 4096)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(took) * 1e6
