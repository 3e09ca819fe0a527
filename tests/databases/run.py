# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One run of database servers: its directory, its processes, and the removal of what an earlier, killed run left behind.

A process belongs to the run when its environment names the run's directory or
when it works in it: PostgreSQL's children write their title over their
environment, but never leave the data directory. Namespaces carry the run's
number in their name, and file systems are mounted below its directory.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..chain.run import Late, until
from . import Programs
from .ip import ip
from .user import is_open_to_all

__all__ = ["Late", "Process", "Run", "descendants", "until"]

MARK = "PEERDATA_DATABASES_RUN"

_NAME = "peerdata-databases-"


@dataclass(frozen=True)
class Run:
    """What one test session or benchmark starts, and how to be rid of it. A context: it ends with the `with` block."""

    directory: Path

    @classmethod
    def begin(cls) -> "Run":
        """Clear away the runs whose owner is gone, and open one of our own in the temporary directory (TMPDIR)."""
        places = Path(tempfile.gettempdir())
        for place in places.glob(f"{_NAME}*"):
            if not _owner_lives(place):
                cls(place).clear()
                shutil.rmtree(place, ignore_errors=True)
        run = cls(_free(places))
        run.logs.mkdir(parents=True)
        (run.directory / "owner").write_text(_life(os.getpid()))
        return run

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end(keep_logs=kind is not None)

    @property
    def logs(self) -> Path:
        """Where each process writes a log of its own."""
        return self.directory / "logs"

    def programs(self) -> Programs:
        """
        The unpacked programs, at a place that the servers' user can reach.

        In a clone below /root only root can, so they are mounted in the run's directory; read-only, because that
        directory is removed at the end.
        """
        programs = Programs.default()
        if os.geteuid() or is_open_to_all(programs.root / "usr"):
            return programs
        place = self.directory / "programs"
        if not place.exists():
            place.mkdir()
            subprocess.run(["mount", "--bind", str(programs.root), str(place)], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        return Programs(place)

    @property
    def prefix(self) -> str:
        """How every namespace of this run begins."""
        return f"pdd{self.directory.name.removeprefix(_NAME)}-"

    def log(self, name: str) -> Path:
        """The log of what was started as *name*."""
        return self.logs / f"{name}.log"

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process of this run: little of ours, so that no setting of ours steers it."""
        own = {name: os.environ[name] for name in ("HOME", "PATH", "TERM") if name in os.environ}
        return own | {"LC_ALL": "C.UTF-8", "TZ": "UTC"} | dict(more) | {MARK: str(self.directory)}

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> "Process":
        """Start *command*; its output goes to its log."""
        return Process(name, command, self.environment(environment), self.log(name))

    def finish(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> str:
        """Run *command* to its end; its output goes to its log, and is returned."""
        done = subprocess.run(
            command,
            env=self.environment(environment),
            cwd=self.logs,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with self.log(name).open("a") as log:
            log.write(done.stdout)
        if done.returncode:
            raise Late(f"{name}: {command} ended with status {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def end(self, *, keep_logs: bool) -> None:
        """Stop everything; the logs stay where they are wanted, until the next run begins."""
        self.clear()
        for path in self.directory.iterdir():
            if path != self.logs or not keep_logs:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        if not keep_logs:
            self.directory.rmdir()

    def clear(self) -> None:
        """End the processes, the namespaces and the mounts of this run."""
        until("the end of the servers of this run", self._killed, within_s=30)
        try:
            listed = ip("netns", "list").stdout
        except FileNotFoundError:
            listed = ""
        for name in (line.split()[0] for line in listed.splitlines() if line.startswith(self.prefix)):
            ip("netns", "delete", name)
        for mounted in (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()):
            if Path(mounted).is_relative_to(self.directory):
                subprocess.run(["umount", "--lazy", mounted], check=False)

    def _killed(self) -> bool:
        mine = self._processes()
        for pid in mine:
            _send(pid, signal.SIGKILL)
        return not mine

    def _processes(self) -> list[int]:
        mark = f"{MARK}={self.directory}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                ours = mark in (place / "environ").read_bytes().split(b"\0")
                ours = ours or (place / "cwd").readlink().is_relative_to(self.directory)
            except OSError:
                continue
            if ours and int(place.name) != os.getpid() and _alive(int(place.name)):
                found.append(int(place.name))
        return found


class Process:
    """A server with its children, in a session of its own, so that a Ctrl-C for pytest is not one for it."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._name = name
        self._log = log
        with log.open("a") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=log.parent,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The number of the server itself."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._popen.poll() is None

    def check(self) -> None:
        """Raise `Late` with the end of the log where the server has died."""
        if not self.running:
            tail = self._log.read_text(errors="replace")[-3000:]
            raise Late(f"{self._name} ended with status {self._popen.returncode}:\n{tail}")

    def stop(self, how: signal.Signals, *, within_s: float = 60.0) -> None:
        """Ask the server to end, and collect it; kill it when it does not."""
        self._popen.send_signal(how)
        try:
            self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Late(f"{self._name} did not stop within {within_s:g} s") from None

    def kill(self) -> None:
        """End the server and all its children at one moment, as the loss of its machine would, and collect it."""
        family = [self.pid, *descendants(self.pid)] if self.running else []
        # First all stand still: none sees another die and acts on it.
        for how in (signal.SIGSTOP, signal.SIGKILL):
            for pid in family:
                _send(pid, how)
        self._popen.wait()
        # A child that still ends holds PostgreSQL's shared memory, and the next server would refuse to start.
        until(f"the end of {self._name}", lambda: not any(map(_alive, family)), within_s=30, every_s=0.005)

    def pause(self) -> None:
        """Let the server and its children stand still: it answers nothing, and its connections stay."""
        for pid in (self.pid, *descendants(self.pid)):
            _send(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        for pid in (self.pid, *descendants(self.pid)):
            _send(pid, signal.SIGCONT)


def _free(places: Path) -> Path:
    """A run's directory by this process's number; a process may have one run after another, but also two at once."""
    place = places / f"{_NAME}{os.getpid()}"
    number = 1
    while place.exists():
        number += 1
        place = places / f"{_NAME}{os.getpid()}.{number}"
    return place


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            children.setdefault(int(_fields(int(place.name))[1]), []).append(int(place.name))
        except OSError:
            pass
    found = list(children.get(pid, ()))
    for child in found:  # grows while it is read: children of children
        found.extend(children.get(child, ()))
    return found


def _alive(pid: int) -> bool:
    try:
        return _fields(pid)[0] not in "ZX"
    except OSError:
        return False


def _send(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        pass


def _owner_lives(place: Path) -> bool:
    pid = place.name.removeprefix(_NAME).partition(".")[0]
    owner = place / "owner"
    try:
        # Without the file it is being made at this moment, if the process is there at all.
        return owner.read_text() == _life(int(pid)) if owner.exists() else Path("/proc", pid).exists()
    except (OSError, ValueError):
        return False


def _life(pid: int) -> str:
    """The process and the moment it started: a number that is used again is another life."""
    return f"{pid} {_fields(pid)[19]}"


def _fields(pid: int) -> list[str]:
    """What /proc/PID/stat says from its third field on: the state, the parent, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
