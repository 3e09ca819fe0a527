# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A systemd of our own, booted in namespaces: what it writes is in memory, and is gone when it ends (`boot.sh`).

Its network is the machine's, so that what it starts can be asked. Needs root, and systemd on the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
WITHIN_S = 60.0


def why_not() -> str:
    """Why systemd cannot be booted here; empty where it can."""
    if not SYSTEMD.exists():
        return "there is no systemd on this machine"
    trial = (
        "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount -t cgroup2 cgroup2 /mnt && mkdir /run/a /run/b"
    )
    trial += " && mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/a,workdir=/run/b /etc"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--cgroup", "sh", "-c", trial], capture_output=True, text=True
    )
    return "" if tried.returncode == 0 else f"systemd cannot be booted in namespaces here: {tried.stderr.strip()}"


class Systemd:
    """
    Booted with nothing to start.

    Args:
        log: For what it says.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self._cgroup = f"peerdata-test-{os.getpid()}-{time.monotonic_ns()}"
        command = [
            "unshare",
            "--fork",
            "--kill-child",
            "--pid",
            "--mount",
            "sh",
            str(Path(__file__).parent / "boot.sh"),
        ]
        command += [self._cgroup, sys.base_prefix, str(ROOT / "src"), sysconfig.get_path("purelib")]
        with self.log.open("w") as file:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        self._first = 0
        self.until(self._is_up)

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            return False
        self._first = int(children[0])
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def run(self, *command: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command beside it, which gets *text* to read."""
        inside = ["nsenter", f"--target={self._first}", "--pid", "--mount", *command]
        done = subprocess.run(inside, input=text, capture_output=True, text=True, timeout=WITHIN_S)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.log.read_text()[-4000:]}"
        return done

    def install(self, file: Path, at: str) -> None:
        """Copy a file to where an operator would."""
        self.run("sh", "-c", f'mkdir -p "$(dirname {at})" && cat > {at}', text=file.read_text())

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def processes(self, unit: str) -> list[int]:
        """The process ids of a unit, as seen from inside; the main one first."""
        cgroup = Path("/sys/fs/cgroup") / self.show(unit, "ControlGroup").lstrip("/")
        found = [int(pid) for pid in self.run("cat", f"{cgroup}/cgroup.procs").stdout.split()]
        main = int(self.show(unit, "MainPID"))
        return [main, *sorted(pid for pid in found if pid != main)]

    def until(self, true: Callable[[], object], within_s: float = WITHIN_S) -> None:
        """Return once it is *true*."""
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, self.log.read_text()[-8000:]
            time.sleep(0.1)

    def end(self) -> None:
        """Everything in it is gone afterwards."""
        self._process.kill()
        self._process.wait()
        self.until(lambda: not Path(f"/proc/{self._first}").exists())
        remove = f"mount -t cgroup2 cgroup2 /mnt && find /mnt/{self._cgroup} -depth -type d -exec rmdir {{}} +"
        subprocess.run(["unshare", "--mount", "sh", "-c", remove], capture_output=True)
