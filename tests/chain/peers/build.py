# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Builds the peers: a virtual environment from each lock file, nova's empty databases, and Debian's programs unpacked.

Nothing is installed into the machine and no service is started.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from ...build import BuildFailed, locked, renew, run, unpack
from . import LOCKS, Peers

# Raised when the way of building changes, so that every part is built anew.
RECIPE = "1"

PROGRAMS = ("haproxy", "serf", "cloud-init")

APACHE = ("apache2-bin", "libapache2-mod-wsgi-py3")

# Taken from Debian too where the machine has none: program -> package.
USUALLY_THERE = {"ip": "iproute2", "curl": "curl"}


def build(peers: Peers, names: Sequence[str]) -> list[str]:
    """Build those of *names* that are missing or out of date; return them."""
    with (
        locked(peers.root / ".lock"),
        # As many at once as there are parts: unpacking waits for the disk, and downloads for the network.
        ThreadPoolExecutor(max_workers=len(names)) as pool,
    ):
        built = list(pool.map(partial(_build_one, peers), names))
    return [name for name, anew in zip(names, built, strict=True) if anew]


def _build_one(peers: Peers, name: str) -> bool:
    return renew(peers.root / name, _ingredients(name), partial(_builder(name), peers, name))


def _builder(name: str) -> Callable[[Peers, str], None]:
    known = {"nova": _build_nova, "debian": _build_debian, "apache": _build_apache}
    return known.get(name, _build_environment)


def _ingredients(name: str) -> bytes:
    lock = LOCKS / f"{name}.txt"
    packages = APACHE if name == "apache" else (PROGRAMS, USUALLY_THERE)
    own = lock.read_bytes() if lock.exists() else repr(packages).encode()
    return b"\0".join([RECIPE.encode(), sys.version.encode(), own])


def _build_environment(peers: Peers, name: str) -> None:
    """A virtual environment with exactly the packages of the lock file."""
    place = peers.root / name
    # The interpreter below a virtual environment: one made from the other's copy would depend on it.
    base = getattr(sys, "_base_executable", sys.executable)
    try:
        run([base, "-m", "venv", str(place)])
        pip = [str(peers.python(name)), "-m", "pip"]
    except BuildFailed:
        # Debian's Python without python3-venv cannot install pip; the builder's own pip can install from outside.
        run([base, "-m", "venv", "--clear", "--without-pip", str(place)])
        pip = [sys.executable, "-m", "pip", "--python", str(peers.python(name))]
    # --no-deps: the lock file is whole, so pip has nothing to resolve. Byte code is compiled on both cores below.
    run([*pip, "install", "--quiet", "--no-deps", "--no-compile", "-r", str(LOCKS / f"{name}.txt")])
    with suppress(BuildFailed):  # a faster first start and no more, so it may fail
        run([str(peers.python(name)), "-m", "compileall", "-q", "-j", "0", str(place / "lib")])


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
        list(pool.map(lambda what: run([*manage, *what]), (["api_db", "sync"], ["db", "sync", "--local_cell"])))
    # nova fills the template from [database] connection, so a copy of the file elsewhere is the cell there.
    template = ["--database_connection", "{scheme}:////{path}", "--transport-url", "fake:/"]
    run([*manage, "cell_v2", "create_cell", "--name", "cell1", *template])


def _build_debian(peers: Peers, name: str) -> None:
    """Debian's programs and the libraries this machine lacks, unpacked side by side."""
    packages = [*PROGRAMS, *(package for tool, package in USUALLY_THERE.items() if not shutil.which(tool))]
    unpack(packages, peers.root / name)
    for tool in (*PROGRAMS, *USUALLY_THERE):
        if not peers.tool(tool):
            raise BuildFailed(f"{tool} is neither on this machine nor in Debian's packages {packages}")


def _build_apache(peers: Peers, name: str) -> None:
    """Apache and mod_wsgi, which embeds Debian's Python; nova's packages are made for the same version of it."""
    place = peers.root / name
    place.mkdir(parents=True, exist_ok=True)
    unpack(APACHE, peers.apache.debian)
    if not peers.apache.tool("apache2"):
        raise BuildFailed(f"Debian's packages {APACHE} did not bring apache2")
