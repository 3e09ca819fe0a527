# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Builds the peers: a virtual environment from each lock file, nova's empty databases, and Debian's programs unpacked.

A part is done when its stamp holds the hash of what went into it; the stamp is
written last, so a build that was killed is begun anew. A file lock lets two
callers share one directory. Nothing is installed into the machine and no
service is started: Debian's packages are only unpacked.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import LOCKS, Peers

# Raised when the way of building changes, so that every part is built anew.
RECIPE = "1"

PROGRAMS = ("haproxy", "serf", "cloud-init")

# Taken from Debian too where the machine has none: program -> package.
USUALLY_THERE = {"ip": "iproute2", "curl": "curl"}


class BuildFailed(Exception):
    """A command of the build failed; the message carries its output."""


def build(peers: Peers, names: Sequence[str]) -> list[str]:
    """Build those of *names* that are missing or out of date; return them."""
    peers.root.mkdir(parents=True, exist_ok=True)
    with (peers.root / ".lock").open("w") as lock:
        # The commands inherit the lock, so those that outlive a killed build hold it until they end (see `_run`).
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        stale = [name for name in names if _stamp(peers, name).read_text() != _wanted(name)]
        # As many at once as there are parts: unpacking waits for the disk, and downloads for the network.
        with ThreadPoolExecutor(max_workers=max(1, len(stale))) as pool:
            for outcome in [pool.submit(_build_one, peers, name) for name in stale]:
                outcome.result()
    return stale


def _build_one(peers: Peers, name: str) -> None:
    stamp = _stamp(peers, name)
    stamp.unlink()
    shutil.rmtree(peers.root / name, ignore_errors=True)
    _builder(name)(peers, name)
    stamp.write_text(_wanted(name))


def _builder(name: str) -> Callable[[Peers, str], None]:
    return {"nova": _build_nova, "debian": _build_debian}.get(name, _build_environment)


def _stamp(peers: Peers, name: str) -> Path:
    stamp = peers.root / f"{name}.stamp"
    stamp.touch()
    return stamp


def _wanted(name: str) -> str:
    lock = LOCKS / f"{name}.txt"
    ingredients = lock.read_bytes() if lock.exists() else repr((PROGRAMS, USUALLY_THERE)).encode()
    return hashlib.sha256(b"\0".join([RECIPE.encode(), sys.version.encode(), ingredients])).hexdigest()


def _build_environment(peers: Peers, name: str) -> None:
    """A virtual environment with exactly the packages of the lock file."""
    place = peers.root / name
    # The interpreter below a virtual environment: one made from the other's copy would depend on it.
    base = getattr(sys, "_base_executable", sys.executable)
    try:
        _run([base, "-m", "venv", str(place)])
        pip = [str(peers.python(name)), "-m", "pip"]
    except BuildFailed:
        # Debian's Python without python3-venv cannot install pip; the builder's own pip can install from outside.
        _run([base, "-m", "venv", "--clear", "--without-pip", str(place)])
        pip = [sys.executable, "-m", "pip", "--python", str(peers.python(name))]
    # --no-deps: the lock file is whole, so pip has nothing to resolve. Byte code is compiled on both cores below.
    _run([*pip, "install", "--quiet", "--no-deps", "--no-compile", "-r", str(LOCKS / f"{name}.txt")])
    _run([str(peers.python(name)), "-m", "compileall", "-q", "-j", "0", str(place / "lib")], check=False)


def _build_nova(peers: Peers, name: str) -> None:
    """Nova's environment, and its two databases made by its own nova-manage."""
    _build_environment(peers, name)
    place = peers.nova_databases
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    settings = place / "nova.conf"
    settings.write_text(
        f"[api_database]\nconnection = sqlite:///{place}/api.sqlite\n"
        f"[database]\nconnection = sqlite:///{place}/cell1.sqlite\n"
    )
    manage = [str(peers.root / name / "bin" / "nova-manage"), "--config-file", str(settings)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda what: _run([*manage, *what]), (["api_db", "sync"], ["db", "sync", "--local_cell"])))
    # nova fills the template from [database] connection, so a copy of the file elsewhere is the cell there.
    template = ["--database_connection", "{scheme}:////{path}", "--transport-url", "fake:/"]
    _run([*manage, "cell_v2", "create_cell", "--name", "cell1", *template])


def _build_debian(peers: Peers, name: str) -> None:
    """Debian's programs and the libraries this machine lacks, unpacked side by side."""
    place = peers.root / name
    packages = [*PROGRAMS, *(package for tool, package in USUALLY_THERE.items() if not shutil.which(tool))]
    archives = peers.root / "debian-archives"
    shutil.rmtree(archives, ignore_errors=True)
    (archives / "partial").mkdir(parents=True)
    fetch = ["apt-get", "--yes", "--download-only", "--reinstall", "--no-install-recommends"]
    fetch += ["-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root", "install", *packages]
    try:
        _run(fetch)
    except BuildFailed:
        # No package lists yet, or lists older than the archive.
        _run(["apt-get", "update"])
        _run(fetch)
    place.mkdir()
    for archive in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(archive), str(place)])
    shutil.rmtree(archives)
    for tool in (*PROGRAMS, *USUALLY_THERE):
        if not peers.tool(tool):
            raise BuildFailed(f"{tool} is neither on this machine nor in Debian's packages {packages}")


def _run(command: Sequence[str], *, check: bool = True) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            command,
            env=environment,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except FileNotFoundError as exc:
        raise BuildFailed(f"{command[0]} is needed to build the peers and is not on this machine") from exc
    if check and done.returncode:
        raise BuildFailed(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout[-4000:]}")
