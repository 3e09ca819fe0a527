# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What every build of real peers is made of: a lock, a stamp, commands that say what failed, and Debian's packages.

The packages are unpacked side by side below one directory and not installed:
their scripts, which would start a service, never run. What is to be unpacked,
and what else is to be built, is said by the `build.py` of each room.

Standard library only, so that any Python 3.11 can build.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Sections of Debian's archive whose packages are found where the machine has them.
_LIBRARY_SECTIONS = ("libs", "oldlibs", "perl", "python", "interpreters")

# How long another apt-get may hold the package lists.
_APT_WAITS_S = 120.0


class BuildFailed(Exception):
    """A command of the build failed, or did not bring what is needed; the message says which, and what it said."""


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Let two callers share a directory: the second waits, and finds everything built."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        # The commands inherit the lock, so those that outlive a killed build hold it until they end (see `run`).
        os.set_inheritable(file.fileno(), True)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def renew(place: Path, ingredients: bytes, make: Callable[[], object]) -> bool:
    """
    Make the directory *place* anew, unless it was made of *ingredients* to the end.

    Its stamp, `NAME.stamp` beside it, holds their hash and is written last, so a build that was killed is begun anew.

    Returns:
        Whether there was anything to do.
    """
    stamp = place.with_name(f"{place.name}.stamp")
    wanted = hashlib.sha256(ingredients).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    make()
    stamp.write_text(wanted)
    return True


def unpack(packages: Sequence[str], place: Path, *, left_out: tuple[str, ...] = ()) -> dict[str, str]:
    """
    Unpack Debian's *packages*, with the libraries that this machine lacks, side by side below *place*.

    Args:
        place: A link to a directory stays a link there, so that /bin, /sbin and /lib may be inside /usr.
        left_out: How the archives begin of packages that are depended on and not wanted.

    Returns:
        The version of each package that was unpacked.
    """
    archives = place.with_name(f"{place.name}-archives")
    shutil.rmtree(archives, ignore_errors=True)
    (archives / "partial").mkdir(parents=True)
    _fetch(packages, archives)
    place.mkdir(exist_ok=True)
    chosen = [archive for archive in sorted(archives.glob("*.deb")) if not archive.name.startswith(left_out)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(lambda archive: _extract(archive, place), chosen))
    shutil.rmtree(archives)
    named = (archive.name.split("_") for archive in chosen)
    return {name: version.replace("%3a", ":") for name, version, _ in named}


def _fetch(packages: Sequence[str], archives: Path) -> None:
    try:
        _download(packages, archives)
    except BuildFailed:
        # No package lists yet, or lists older than the archive.
        _update()
        _download(packages, archives)


def _download(packages: Sequence[str], archives: Path) -> None:
    wanted = [*packages, *_installed_programs(packages, archives)]
    command = ["apt-get", "--yes", "--download-only", "--reinstall", "--no-install-recommends"]
    # Parts are built side by side, and the machine may be installing something.
    command += ["-o", f"DPkg::Lock::Timeout={_APT_WAITS_S:.0f}"]
    command += ["-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root", "install", *wanted]
    run(command)


def _installed_programs(packages: Sequence[str], archives: Path) -> list[str]:
    """
    The dependencies of *packages* that this machine has installed and that bring programs, such as redis-tools.

    apt would not download them, and they would be missing below the directory. Libraries are left to the machine.
    """
    nothing_installed = archives / "no-status"
    nothing_installed.touch()
    command = ["apt-get", "--yes", "-qq", "--print-uris", "--no-install-recommends"]
    command += ["-o", f"Dir::State::status={nothing_installed}", "-o", "Debug::NoLocking=1"]
    command += ["-o", f"Dir::Cache::archives={archives}", "install", *packages]
    # Each line: 'URI' FILE SIZE HASH, the file as NAME_VERSION_ARCHITECTURE.deb.
    files = [line.split()[1] for line in run(command).splitlines() if line.startswith("'")]
    needed = {file.partition("_")[0] for file in files} - set(packages)
    listed = run(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status} ${Priority} ${Section}\\n"])
    rows = (line.split() for line in listed.splitlines() if len(line.split()) == 4)
    return sorted(
        name
        for name, status, priority, section in rows
        if name in needed
        and status == "installed"
        and priority in ("optional", "extra")
        and section.rpartition("/")[2] not in _LIBRARY_SECTIONS
    )


def _update() -> None:
    deadline = time.monotonic() + _APT_WAITS_S
    while True:
        try:
            run(["apt-get", "update"])
            return
        except BuildFailed as exc:
            if "Could not get lock" not in str(exc) or time.monotonic() > deadline:
                raise
        time.sleep(1)


def _extract(archive: Path, place: Path) -> None:
    # tar and not dpkg-deb -x: that would put a directory where /lib is a link.
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as files:
        run(["tar", "-x", "-p", "--keep-directory-symlink", "-C", str(place)], stdin=files.stdout)
    if files.returncode:
        raise BuildFailed(f"dpkg-deb --fsys-tarfile {archive}: exit status {files.returncode}")


def run(
    command: Sequence[str], *, more: Mapping[str, str] | None = None, stdin: IO[bytes] | int | None = subprocess.DEVNULL
) -> str:
    """Run a command of the build, with *more* in its environment, to its good end; return its output."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"} | dict(more or {})
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            command,
            env=environment,
            close_fds=False,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except FileNotFoundError as exc:
        raise BuildFailed(f"{command[0]} is needed to build the peers and is not on this machine") from exc
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def tell(place: Path, build: Callable[[], str]) -> int:
    """For a command: *build*, which says what was built, print that or what failed, and return the exit status."""
    started = time.monotonic()
    try:
        built = build()
    except BuildFailed as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"{place}: {built or 'up to date'} in {time.monotonic() - started:.1f} s")
    return 0
