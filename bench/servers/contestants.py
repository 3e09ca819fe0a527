# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The contestants: what each is, how it is started, and the environment in which those live that the project does not use.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chain.peers import Peers

PROJECT = Path(__file__).parents[2]
LOCK = PROJECT / "bench" / "servers.txt"


class EnvironmentMissing(Exception):
    """The contestants could not be installed; the message says why."""


@dataclass(frozen=True)
class Contestant:
    """One server with the application written for it."""

    name: str
    process: str
    """Its process on the stage."""
    command: Callable[[Path, int], list[str]]
    """From the environment's directory and the port."""


def _ours(module: str) -> Callable[[Path, int], list[str]]:
    return lambda _place, port: [sys.executable, "-m", f"bench.servers.apps.{module}", str(port)]


def _granian(interface: str, application: str, *options: str) -> Callable[[Path, int], list[str]]:
    def command(place: Path, port: int) -> list[str]:
        base = [str(place / "bin" / "granian"), "--port", str(port), "--interface", interface, "--http", "1", "--no-ws"]
        return [*base, "--loop", "uvloop", "--no-log", *options, f"bench.servers.apps.{application}:app"]

    return command


def _uvicorn(application: str) -> Callable[[Path, int], list[str]]:
    def command(place: Path, port: int) -> list[str]:
        base = [str(place / "bin" / "uvicorn"), "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
        quiet = ["--no-access-log", "--log-level", "error", "--lifespan", "off"]
        return [*base, *quiet, f"bench.servers.apps.{application}:app"]

    return command


OWN = Contestant("peerdata's own (api/http.py)", "own", _ours("own"))

OTHERS = (
    Contestant("httptools and uvloop, nothing else", "protocol", _ours("protocol")),
    Contestant("granian, bare RSGI", "granian-rsgi", _granian("rsgi", "rsgi", "--task-impl", "rust")),
    Contestant("granian, bare ASGI", "granian-asgi", _granian("asginl", "asgi")),
    Contestant("uvicorn, bare ASGI", "uvicorn", _uvicorn("asgi")),
    Contestant("uvicorn, Starlette", "starlette", _uvicorn("starlette")),
    Contestant("uvicorn, Falcon", "falcon", _uvicorn("falcon")),
)


def environment() -> Path:
    """
    The environment with exactly what bench/servers.txt names, made where it is missing or out of date.

    Raises:
        EnvironmentMissing.
    """
    place = Peers.default().root / "bench"
    stamp = place / "made-from"
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return place
    shutil.rmtree(place, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(place)])
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "--disable-pip-version-check"]
    _run([*pip, "install", "--quiet", "--no-deps", "-r", str(LOCK)])
    stamp.write_text(wanted)
    return place


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EnvironmentMissing(f"{' '.join(command)}: {(done.stderr or done.stdout)[-2000:]}")


def versions() -> dict[str, str]:
    """Of what bench/servers.txt names and a reader cares for."""
    locked = dict(line.split("==") for line in LOCK.read_text().splitlines() if "==" in line)
    return {name: locked[name] for name in ("granian", "uvicorn", "starlette", "falcon")}
