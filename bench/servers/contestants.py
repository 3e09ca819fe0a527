# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The contestants: what each is, how it is started, and the environment in which those live that the project does not use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.environment import environment

PROJECT = Path(__file__).parents[2]
LOCK = PROJECT / "bench" / "servers.txt"


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


OWN = Contestant("peerdata's own (httpd/server.py)", "own", _ours("own"))

OTHERS = (
    Contestant("httptools and uvloop, nothing else", "protocol", _ours("protocol")),
    Contestant("granian, bare RSGI", "granian-rsgi", _granian("rsgi", "rsgi", "--task-impl", "rust")),
    Contestant("granian, bare ASGI", "granian-asgi", _granian("asginl", "asgi")),
    Contestant("uvicorn, bare ASGI", "uvicorn", _uvicorn("asgi")),
    Contestant("uvicorn, Starlette", "starlette", _uvicorn("starlette")),
    Contestant("uvicorn, Falcon", "falcon", _uvicorn("falcon")),
)


def place() -> Path:
    """
    The environment of those that the project does not use, made where it is missing.

    Raises:
        EnvironmentMissing.
    """
    return environment("bench", LOCK)


def versions() -> dict[str, str]:
    """Of what bench/servers.txt names and a reader cares for."""
    locked = dict(line.split("==") for line in LOCK.read_text().splitlines() if "==" in line)
    return {name: locked[name] for name in ("granian", "uvicorn", "starlette", "falcon")}
