"""
How hypothesis looks for examples: without a clock, and in CI the same ones each run; and settings files to read.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from peerdata.settings import load
from tests.unit.settings.texts import Load

settings.register_profile("peerdata", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("peerdata")


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have some of an OpenStack client there."""
    for name in list(os.environ):
        if name.startswith("OS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    """Writes a settings file; ``{there}`` is a file that can be read."""
    (tmp_path / "there").write_text("x")

    def write(text: str) -> str:
        path = tmp_path / "peerdata.conf"
        path.write_text(text.replace("{there}", str(tmp_path / "there")))
        return str(path)

    return write


@pytest.fixture
def load_text(config: Callable[[str], str]) -> Load:
    """The settings of a file with this text."""
    return lambda text: load([config(text)])[0]
