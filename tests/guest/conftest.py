"""A cloud to ask, and the command as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from peerdata import testing

settings.register_profile("peerdata", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("peerdata")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def cloud() -> Iterator[testing.Cloud]:
    with testing.Cloud() as cloud:
        yield cloud


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What the command finds; without the machine's own proxies and state."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "PEERDATA_STATE": str(tmp_path / "state")}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run the command as an instance, given by its URL or itself."""

    def run(instance: testing.Instance | str, *words: str, python: str = sys.executable) -> object:
        url = instance if isinstance(instance, str) else instance.url
        return subprocess.run(
            [python, "-m", "peerdata", *words],
            env={**environment, "PEERDATA_URL": url},
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run  # type: ignore[return-value]
