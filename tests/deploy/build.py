# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Where systemd's tools and logrotate are: this machine's, else Debian's packages, unpacked and not installed.

Standard library only, so that any Python 3.11 can build.
"""

import os
import shutil
from pathlib import Path

from tests.build import locked, renew, unpack

PROJECT = Path(__file__).parents[2]

# Each program, and the package of Debian that has it.
PROGRAMS = {
    "systemd-analyze": "systemd",
    "systemd-sysusers": "systemd",
    "systemd-tmpfiles": "systemd",
    "logrotate": "logrotate",
}

_BUILDER = 1
"""To be counted on when what is unpacked changes otherwise than by `PROGRAMS`."""


def root() -> Path:
    """In the directory named by PEERDATA_PEERS_DIR, else in `.peers` in the project."""
    peers = Path(os.environ.get("PEERDATA_PEERS_DIR") or PROJECT / ".peers")
    return peers.resolve() / "debian-deploy"


def missing() -> list[str]:
    """The packages whose programs this machine does not have."""
    return sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})


def build() -> str:
    """Unpack what this machine lacks; returns what that was."""
    place, packages = root(), missing()
    if not packages:
        return "all of it is on this machine"
    with locked(place.with_name(f"{place.name}.lock")):
        made: dict[str, str] = {}
        ingredients = repr((_BUILDER, packages)).encode()
        if not renew(place, ingredients, lambda: made.update(unpack(packages, place))):
            return ""
        return ", ".join(f"{package} {made[package]}" for package in packages if package in made)


def program(name: str) -> str:
    """The full path of one of `PROGRAMS`; empty where it is neither on this machine nor unpacked."""
    unpacked = os.pathsep.join(str(root() / part) for part in ("usr/bin", "bin", "usr/sbin", "sbin"))
    return shutil.which(name) or shutil.which(name, path=unpacked) or ""


def environment() -> dict[str, str]:
    """In which the unpacked ones find their libraries, and say the same everywhere."""
    libraries = [
        str(path)
        for part in ("usr/lib", "lib")
        for pattern in ("*-linux-gnu*", "*-linux-gnu*/systemd", "systemd")
        for path in sorted((root() / part).glob(pattern))
    ]
    return os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(libraries), "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
