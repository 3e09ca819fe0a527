# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A member: a computer of its own, as far as the software can tell.

It has a network namespace with one address, a host name, process numbers and a
disk: /etc, /usr and /var are this machine's, over them the unpacked packages,
over them what the member itself writes. Switched off, all its processes are
gone at one moment and the disk stays; `wipe` takes the disk too.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..databases.run import Process, Run, descendants, until
from . import Packages

_BOOT = """
set -e
hostname "$NAME"
for part in etc usr var; do
  mkdir -p "$DISK/$part" "$DISK/work-$part"
  layers=lowerdir=$BASE/$part:$PACKAGES/$part:/$part
  mount -t overlay overlay -o "$layers,upperdir=$DISK/$part,workdir=$DISK/work-$part" /$part
done
mount -t proc proc /proc
for part in run tmp; do mount -t tmpfs -o mode=1777 tmpfs /$part; done
install -d -o "$OWNER" -g "$OWNER" /run/peerdata /run/mysqld /run/redis
cd /
export HOME=$(getent passwd "$OWNER" | cut -d: -f6) USER=$OWNER
while :; do
  echo "= $NAME starts: $START"
  setpriv --reuid="$OWNER" --regid="$OWNER" --init-groups "$START" || echo "= $NAME: it ended with $?"
  kill -KILL -1 || :
  sleep 1
done
"""
"""What systemd does with Debian's unit and the drop-in of user-data: as its user, again when it ends."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Machine:
    """
    One member, switched off.

    Args:
        run: Whose mark, logs and names it has.
        number: From 1.
        disks: Where all disks are, on a file system of their own.
    """

    run: Run
    number: int
    disks: Path
    _process: Process | None = field(default=None, init=False)
    _inner: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """Its host name."""
        return f"m{self.number}"

    @property
    def address(self) -> str:
        """Its one address."""
        return f"10.0.0.{10 + self.number}"

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return f"{self.run.prefix}{self.name}"

    @property
    def disk(self) -> Path:
        """What it has written: etc, usr and var."""
        return self.disks / self.name

    @property
    def log(self) -> Path:
        """What its software said, since the run began."""
        return self.run.log(self.name)

    @property
    def is_on(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.running

    def switch_on(self, software: str, owner: str, environment: Mapping[str, str]) -> None:
        """Boot it: the start script of *software* runs as *owner*, and again when it ends."""
        self.disk.mkdir(exist_ok=True)
        settings = {
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            "NAME": self.name,
            "DISK": str(self.disk),
            "BASE": str(self.disks / "base"),
            "PACKAGES": str(Packages.default().root),
            "START": f"/usr/local/sbin/start-{software}",
            "OWNER": owner,
            "PEERDATA_STATE": "/run/peerdata",
            "RUNTIME_DIRECTORY": "/run/peerdata",
        }
        alone = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        command = ["ip", "netns", "exec", self.namespace, *alone, "sh", "-c", _BOOT]
        self._process = self.run.start(self.name, command, settings | dict(environment))
        self._inner = 0

    def switch_off(self) -> None:
        """As pulling its cable: nothing of it says goodbye."""
        if self._process:
            self._process.kill()
            self._process = None

    def wipe(self) -> None:
        """Empty its disk, as a rebuild does."""
        assert not self.is_on
        shutil.rmtree(self.disk, ignore_errors=True)

    def hold(self, point: str) -> None:
        """Let its `peerdata` stand still: "verdict": when it was told to found; "formed": before it confirms."""
        (self.disk / "etc").mkdir(parents=True, exist_ok=True)
        (self.disk / "etc" / f"peerdata-hold-{point}").touch()

    def release(self) -> None:
        """Undo `hold`: who stands still goes on."""
        for held in self.disk.glob("etc/peerdata-hold-*"):
            if self.is_on:  # from inside: below its feet the kernel would not notice
                self.run_inside("rm", "-f", f"/etc/{held.name}")
            else:
                held.unlink()

    def is_held(self) -> bool:
        """Whether it stands still at the point where it was to be held."""
        return (self.disk / "var/tmp/held").exists()

    def run_inside(self, *command: str, within_s: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Run *command* in it, as root; a command that hangs has failed."""
        assert self._process
        if not self._inner:
            until(f"{self.name} boots", lambda: self._process and descendants(self._process.pid), every_s=0.02)
            self._inner = descendants(self._process.pid)[0]
        enter = ["nsenter", f"--target={self._inner}", "--mount", "--uts", "--ipc", "--net", "--pid", "--wdns=/"]
        environment = self.run.environment({"PATH": _PATH, "HOME": "/root"})
        try:
            return subprocess.run(
                [*enter, *command],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=within_s,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", "it hung")

    def ask(self, *command: str) -> str:
        """What *command* says in it; "" where it is off, or the command fails."""
        if not self.is_on:
            return ""
        done = self.run_inside(*command)
        return "" if done.returncode else done.stdout

    def ask_json(self, *command: str) -> Any:
        """The same, as JSON; None where there is none."""
        try:
            return json.loads(self.ask(*command))
        except ValueError:
            return None

    def cluster(self, name: str) -> dict[str, Any]:
        """What the service says of a cluster, to this member."""
        url = f"http://169.254.169.254/openstack/latest/cluster/{name}.json"
        return dict(self.ask_json("curl", "-fsS", url) or {})


def owner_id(name: str, passwd: str) -> int:
    """The number of a user in the text of a passwd file."""
    return next((int(line.split(":")[2]) for line in passwd.splitlines() if line.startswith(f"{name}:")), 0)


def give(path: Path, owner: int) -> None:
    """Make a directory that belongs to that user and group."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, owner, owner)
