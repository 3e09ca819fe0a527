# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
wrk and nginx: found on this machine, or fetched from Debian and unpacked. Nothing is installed, so no service starts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.chain.peers import Peers

PROGRAMS = ("wrk", "nginx")


class ToolMissing(Exception):
    """A program is not there, and could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class Tools:
    """The programs, and the environment in which those that were unpacked find their libraries."""

    wrk: str
    nginx: str
    environment: dict[str, str]

    @classmethod
    def ready(cls) -> Tools:
        """
        Find them, or fetch what is missing into `.peers`.

        Raises:
            ToolMissing: nor can they be fetched.
        """
        unpacked = Peers(Peers.default().root / "bench-tools")
        if any(not unpacked.tool(name) for name in PROGRAMS):
            _fetch(unpacked)
        if missing := [name for name in PROGRAMS if not unpacked.tool(name)]:
            raise ToolMissing(f"Debian's packages did not bring {' and '.join(missing)}; install them by hand")
        environment = unpacked.environment() if unpacked.debian.exists() else {}
        return cls(unpacked.tool("wrk"), unpacked.tool("nginx"), environment)

    def versions(self) -> dict[str, str]:
        """As each program says it of itself."""
        # wrk says its version only beside a complaint; nginx says it on standard error.
        asked = {"wrk": [self.wrk, "-v"], "nginx": [self.nginx, "-v"]}
        said = {
            name: subprocess.run(command, capture_output=True, text=True, env=os.environ | self.environment)
            for name, command in asked.items()
        }
        found = {name: re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr) for name, done in said.items()}
        return {name: match[0] if match else "?" for name, match in found.items()}


def _fetch(unpacked: Peers) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ToolMissing(
            "this needs wrk and nginx. On Debian or Ubuntu run it once as root, it then fetches them by itself; or "
            "install them: apt-get install wrk nginx-light"
        )
    archives = unpacked.root / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    fetch = ["apt-get", "--yes", "--download-only", "--reinstall", "--no-install-recommends"]
    fetch += ["-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root", "install", "wrk", "nginx"]
    if not _succeeds(fetch):
        _succeeds(["apt-get", "update"])
        if not _succeeds(fetch):
            raise ToolMissing(f"apt-get could not fetch wrk and nginx; try it by hand: {' '.join(fetch)}")
    unpacked.debian.mkdir(exist_ok=True)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(archive), str(unpacked.debian)], check=True)
    shutil.rmtree(archives)


def _succeeds(command: list[str]) -> bool:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def nova_version() -> str:
    """Of the nova that the chain tests build."""
    lock = (Path(__file__).parents[1] / "tests" / "chain" / "peers" / "nova.txt").read_text()
    match = re.search(r"^nova==(\S+)", lock, re.MULTILINE)
    return match[1] if match else "?"
