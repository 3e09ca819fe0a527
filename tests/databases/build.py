# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Unpacks Debian's database servers, with the libraries that this machine lacks, side by side below one directory.

The stamp is written last, so a build that was killed is begun anew; a file lock
lets two callers share the directory. Debian's packages are unpacked and not
installed: their scripts, which would start a service, never run.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from . import PACKAGES, Programs

# Raised when the way of building changes, so that all is unpacked anew.
RECIPE = "1"

# Depended on by tools that no test uses. The C library must be the one that the machine's loader belongs to.
_LEFT_OUT = ("perl", "libperl", "libc6", "libc-bin", "gawk")

# How long another apt-get may hold the package lists.
_APT_WAITS_S = 120.0


class BuildFailed(Exception):
    """A command of the build failed; the message carries its output."""


def build(programs: Programs) -> bool:
    """Unpack what is missing or out of date; return whether there was anything to do."""
    programs.root.parent.mkdir(parents=True, exist_ok=True)
    with programs.stamp.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = hashlib.sha256(repr((RECIPE, PACKAGES, _LEFT_OUT)).encode()).hexdigest()
        if programs.stamp.exists() and programs.stamp.read_text() == wanted:
            return False
        programs.stamp.unlink(missing_ok=True)
        shutil.rmtree(programs.root, ignore_errors=True)
        _unpack(programs)
        programs.stamp.write_text(wanted)
    return True


def _unpack(programs: Programs) -> None:
    archives = programs.root.with_name(f"{programs.root.name}-archives")
    shutil.rmtree(archives, ignore_errors=True)
    (archives / "partial").mkdir(parents=True)
    fetch = ["apt-get", "--yes", "--download-only", "--reinstall", "--no-install-recommends"]
    fetch += ["-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root", "install", *PACKAGES]
    try:
        _run(fetch)
    except BuildFailed:
        # No package lists yet, or lists older than the archive.
        _update()
        _run(fetch)
    chosen = [path for path in sorted(archives.glob("*.deb")) if not path.name.startswith(_LEFT_OUT)]
    programs.root.mkdir()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(lambda path: _run(["dpkg-deb", "-x", str(path), str(programs.root)]), chosen))
    shutil.rmtree(archives)
    needed_files = (
        programs.postgresql / "initdb",
        programs.mariadb / "sbin/mariadbd",
        programs.wsrep_provider,
        programs.faketime,
    )
    for needed in needed_files:
        if not needed.exists():
            raise BuildFailed(f"Debian's packages {', '.join(PACKAGES)} have no {needed.relative_to(programs.root)}")
    _check_libraries(programs)


def _check_libraries(programs: Programs) -> None:
    """An unpacked program that lacks a library would fail in a test; it fails here instead, by name."""
    for program in (programs.postgresql / "postgres", programs.mariadb / "sbin/mariadbd", programs.wsrep_provider):
        needed = _run(["ldd", str(program)], more=programs.environment())
        lacking = [line.split()[0] for line in needed.splitlines() if "not found" in line]
        if lacking:
            raise BuildFailed(f"{program}: without {', '.join(lacking)}")


def _update() -> None:
    deadline = time.monotonic() + _APT_WAITS_S
    while True:
        try:
            _run(["apt-get", "update"])
            return
        except BuildFailed as exc:
            if "Could not get lock" not in str(exc) or time.monotonic() > deadline:
                raise
        time.sleep(1)


def _run(command: Sequence[str], *, more: dict[str, str] | None = None) -> str:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"} | (more or {})
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except FileNotFoundError as exc:
        raise BuildFailed(f"{command[0]} is needed to unpack the database servers and is not on this machine") from exc
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout
