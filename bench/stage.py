# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The stage: a directory and the processes in it. Servers run on their core, helpers on the other.

It is a run of the chain tests (`tests.chain.run`), so the real nova of those tests starts on it unchanged.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chain.run import Run, kill

from bench.machine import Cores, pinned

HELPERS = ("nova-desk", "anybody", "documents", "slots")
"""Processes that take no part in what is measured, and run on the core of the load."""

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _helps(name: str) -> bool:
    """One of `HELPERS`, or one of several of its kind, such as `slots-400`."""
    return name in HELPERS or name.rpartition("-")[0] in HELPERS


@dataclass(frozen=True)
class Stage(Run):
    """Starts processes and knows what they cost."""

    cores: Cores
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    adopted: dict[str, list[int]] = field(default_factory=dict)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        conversation: bool = False,
    ) -> subprocess.Popen[str]:
        """Start *command*, a server unless it is one of `HELPERS`, with its output in `logs/NAME.log`."""
        with pinned(self.cores.load if _helps(name) else self.cores.server):
            process = super().start(name, command, environment=environment, conversation=conversation)
        self.processes[name] = process
        return process

    def adopt(self, name: str, pids: Iterable[int]) -> None:
        """From now on what the processes *pids*, started elsewhere, cost is counted with *name*: a database's, say."""
        self.adopted.setdefault(name, []).extend(pids)

    def stop(self, name: str, *, within_s: float = 15.0) -> None:
        """Let the process end, and everything that it started; after *within_s* seconds by force."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            kill(process)

    def cpu_s(self, name: str) -> float:
        """CPU seconds that the living threads of process *name*, and of those that it started, have used."""
        # man 5 proc counts CPU time in ticks of 10 ms; schedstat has nanoseconds, but for each thread by itself
        # (Documentation/scheduler/sched-stats.rst).
        used_ns = 0
        for process in self._processes_of(name):
            for thread in process.glob("task/*/schedstat"):
                try:
                    used_ns += int(thread.read_text().split()[0])
                except OSError:  # it has just ended
                    pass
        return used_ns / 1e9

    def servers_s(self) -> float:
        """CPU seconds that all servers have used."""
        return sum(self.cpu_s(name) for name in self.processes if not _helps(name))

    def helpers_s(self) -> float:
        """CPU seconds that all helpers have used."""
        return sum(self.cpu_s(name) for name in self.processes if _helps(name))

    def resident_bytes(self, name: str) -> int:
        """Memory of process *name* and those that it started, shared pages counted in each."""
        return sum(int((place / "statm").read_text().split()[1]) for place in self._processes_of(name)) * PAGE_BYTES

    def peak_bytes(self, name: str) -> int:
        """The most memory that process *name*, without those that it started, ever had resident (proc(5), VmHWM)."""
        status = Path(f"/proc/{self.processes[name].pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def _processes_of(self, name: str) -> list[Path]:
        """
        The place in /proc of each process of *name*.

        Those of the session that it leads; and, because PostgreSQL's children each lead one of their own, all
        descendants of it and of those that were adopted.
        """
        leaders = {self.processes[name].pid, *self.adopted.get(name, ())}
        children: dict[int, list[int]] = {}
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                _state, parent, _group, session, *_ = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            pid = int(place.name)
            children.setdefault(int(parent), []).append(pid)
            if pid in leaders or int(session) in leaders:
                found.append(pid)
        seen = set(found)
        for pid in found:  # grows while it is read: children of children
            more = [child for child in children.get(pid, ()) if child not in seen]
            seen.update(more)
            found += more
        return [Path(f"/proc/{pid}") for pid in found]


@contextmanager
def opened(cores: Cores) -> Iterator[Stage]:
    """A stage, gone with everything on it at the end."""
    # /var/tmp, because /tmp is often memory, where an fsync costs nothing.
    directory = Path(tempfile.mkdtemp(prefix="peerdata-bench-", dir="/var/tmp"))
    stage = Stage(directory, cores)
    stage.logs.mkdir()
    try:
        yield stage
    finally:
        for process in stage.processes.values():
            kill(process)
        shutil.rmtree(directory, ignore_errors=True)
