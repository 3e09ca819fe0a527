# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
wrk, nginx, etcd and Redis: found on this machine, or fetched from Debian and unpacked. Nothing is installed, so no
service starts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.build import BuildFailed, unpack
from tests.chain.peers import Peers

PACKAGES = {"wrk": "wrk", "nginx": "nginx", "etcd": "etcd-server", "redis-server": "redis-server"}
"""Each program with the Debian package that has it."""

# wrk says its version only beside a complaint; nginx says it on standard error.
_ASK_VERSION = {"wrk": "-v", "nginx": "-v", "etcd": "--version", "Redis": "--version"}


class ToolMissing(Exception):
    """A program is not there, and could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class Tools:
    """The programs, and the environment in which those that were unpacked find their libraries."""

    wrk: str
    nginx: str
    etcd: str
    redis_server: str
    environment: dict[str, str]

    @classmethod
    def ready(cls) -> Tools:
        """
        Find them, or fetch what is missing into `.peers`.

        Raises:
            ToolMissing: nor can they be fetched.
        """
        unpacked = Peers(Peers.default().root / "bench-tools")
        if missing := _missing(unpacked):
            _fetch(unpacked, [PACKAGES[name] for name in missing])
        if missing := _missing(unpacked):
            raise ToolMissing(f"Debian's packages did not bring {' and '.join(missing)}; install them by hand")
        environment = unpacked.environment() if unpacked.debian.exists() else {}
        wrk, nginx, etcd, redis_server = (unpacked.tool(name) for name in PACKAGES)
        return cls(wrk, nginx, etcd, redis_server, environment)

    def versions(self) -> dict[str, str]:
        """As each program says it of itself."""
        programs = {"wrk": self.wrk, "nginx": self.nginx, "etcd": self.etcd, "Redis": self.redis_server}
        return {name: self._version(path, _ASK_VERSION[name]) for name, path in programs.items()}

    def _version(self, path: str, option: str) -> str:
        environment = os.environ | self.environment
        said = subprocess.run([path, option], capture_output=True, text=True, env=environment)
        found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
        return found[0] if found else "?"


def _missing(unpacked: Peers) -> list[str]:
    return [name for name in PACKAGES if not unpacked.tool(name)]


def _fetch(unpacked: Peers, packages: Sequence[str]) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        wanted = " ".join(packages)
        raise ToolMissing(
            f"this needs {wanted}. On Debian or Ubuntu run it once as root, it then fetches them by itself; or install "
            f"them: apt-get install {wanted}"
        )
    try:
        unpack(packages, unpacked.debian)
    except BuildFailed as error:
        raise ToolMissing(f"could not fetch {' '.join(packages)}; try it by hand: {error}") from error


def nova_version() -> str:
    """Of the nova that the chain tests build."""
    lock = (Path(__file__).parents[1] / "tests" / "chain" / "peers" / "nova.txt").read_text()
    match = re.search(r"^nova==(\S+)", lock, re.MULTILINE)
    return match[1] if match else "?"
