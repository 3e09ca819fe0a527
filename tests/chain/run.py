# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One run of the chain: its directory, its processes, and the removal of what an earlier, killed run left behind.

Every process carries the run's directory in its environment and every namespace
carries the run's number in its name, so that all of a run can be found and
removed by anyone who knows only the directory.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "PEERDATA_CHAIN_RUN"

# Short, because a UNIX socket's path has at most 107 characters.
_PLACES = Path(tempfile.gettempdir())
_NAME = "peerdata-chain-"


class Late(Exception):
    """Something did not happen before its deadline."""


def until(what: str, happened: Callable[[], object], *, within_s: float = 60.0, every_s: float = 0.05) -> None:
    """Return as soon as *happened* is true; raise `Late` when that takes longer than *within_s*."""
    deadline = time.monotonic() + within_s
    while not happened():
        if time.monotonic() > deadline:
            raise Late(f"{what}: not within {within_s:g} s")
        time.sleep(every_s)


@dataclass(frozen=True)
class Run:
    """What one test session starts, and how to be rid of it."""

    directory: Path

    @classmethod
    def begin(cls) -> "Run":
        """Clear away the runs whose owner is gone, and open one of our own."""
        for place in _PLACES.glob(f"{_NAME}*"):
            if not _owner_lives(place):
                cls(place)._clear()
                shutil.rmtree(place, ignore_errors=True)
        run = cls(_PLACES / f"{_NAME}{os.getpid()}")
        run.logs.mkdir(parents=True)
        (run.directory / "owner").write_text(_life(os.getpid()))
        return run

    @property
    def logs(self) -> Path:
        """Where each process writes a log of its own."""
        return self.directory / "logs"

    @property
    def prefix(self) -> str:
        """How every namespace of this run begins."""
        return f"pdc{self.directory.name.removeprefix(_NAME)}-"

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        conversation: bool = False,
    ) -> subprocess.Popen[str]:
        """Start *command* with its output in `logs/NAME.log`; a *conversation* goes through pipes instead."""
        log = self.log(name)
        with log.open("a") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE if conversation else subprocess.DEVNULL,
                stdout=subprocess.PIPE if conversation else output,
                stderr=output,
                text=True,
                env=self.environment(environment),
                cwd=self.logs,  # not the caller's: uWSGI looks for modules where it stands
                start_new_session=True,  # a Ctrl-C for pytest is not one for its servers
            )

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a process of this run: little of ours, so that no proxy or Python of ours steers it."""
        own = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TERM", "TZ") if name in os.environ}
        # SPT_NOENV: neutron's agents rename themselves, and setproctitle would write over the mark.
        return own | dict(more or {}) | {MARK: str(self.directory), "SPT_NOENV": "1"}

    def log(self, name: str) -> Path:
        """The log of the process that was started as *name*."""
        return self.logs / f"{name}.log"

    def end(self, *, keep_logs: bool) -> None:
        """Stop everything; the logs stay where they are wanted, until the next run begins."""
        self._clear()
        if keep_logs:
            for path in self.directory.iterdir():
                if path != self.logs:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _clear(self) -> None:
        for _ in range(10):
            if not (mine := self._processes()):
                break
            for pid in mine:
                _kill(pid)
            time.sleep(0.1)
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        for name in (line.split()[0] for line in listed.splitlines() if line.startswith(self.prefix)):
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def _processes(self) -> list[int]:
        mark = f"{MARK}={self.directory}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if int(place.name) != os.getpid() and mark in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
            except OSError:
                pass
        return found


def kill(process: subprocess.Popen[str]) -> None:
    """End *process* and its children at once, as a crash would, and collect it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _owner_lives(place: Path) -> bool:
    try:
        return (place / "owner").read_text() == _life(int(place.name.removeprefix(_NAME)))
    except (OSError, ValueError):
        return False


def _life(pid: int) -> str:
    """
    The process and the moment it started: a number that is used again is another life.

    Source: proc_pid_stat(5): behind the name stand the state (field 3) and, 19 further, the start time (22).
    """
    state, *further = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return f"{pid} {further[18]}" if state not in "ZX" else ""
