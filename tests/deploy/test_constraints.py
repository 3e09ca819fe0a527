# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
It installs and runs with the versions of libraries that OpenStack's releases allow: `constraints/`, those that matter.

The oldest and the newest release here; all of them with PEERDATA_CONSTRAINTS=all (`make constraints`).
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.live.service import Service

ROOT = Path(__file__).parents[2]
CONSTRAINTS = Path(__file__).parent / "constraints"
ALL = sorted(path.stem for path in CONSTRAINTS.glob("*.txt"))
CHOSEN = ALL if os.environ.get("PEERDATA_CONSTRAINTS") == "all" else [ALL[0], ALL[-1]]


def run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


def pip(*words: str | Path) -> None:
    run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is installed: built in a copy, so that two at once do no harm."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place / "dist", place)
    (built,) = (place / "dist").glob("*.whl")
    return built


class Installed(Service):
    """A service of another environment."""

    python = Path(sys.executable)

    def command(self, *words: str) -> list[str]:
        return [str(self.python.with_name("peerdata")), *words, "--config-file", str(self.config_file)]


@pytest.fixture(params=CHOSEN)
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Iterator[Installed]:
    """Two workers, installed with the libraries of one release of OpenStack."""
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    chosen = CONSTRAINTS / f"{request.param}.txt"
    pip("--python", environment, "install", "--constraint", chosen, f"peerdata[server] @ {wheel.as_uri()}")
    service = Installed(tmp_path, {"instance_api": {"workers": 2, "graceful_shutdown_timeout": 1}})
    service.python = environment / "bin" / "python"
    yield service
    service.end()
    shutil.rmtree(environment)


def test_two_workers_start_answer_reload_and_stop(installed: Installed) -> None:
    installed.start()
    installed.wait_for(r"is ready", 2)
    assert installed.publish("127.0.0.11", key="1").status == 200
    for _ in range(20):
        assert len(installed.shared()) == 1
    installed.signal(signal.SIGHUP)
    installed.wait_for(r"The inventory was read again", 2)
    installed.signal(signal.SIGTERM)
    assert installed.wait() == 0
    assert "Traceback" not in installed.log.read_text()


@pytest.mark.parametrize("release", ALL)
def test_every_library_that_a_release_constrains_is_one_of_ours_within_its_bounds(release: str) -> None:
    """What pip found when it installed; here for the releases that are not installed each time, and for stale lines."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    bounds = {canonicalize_name(one.name): one for one in map(Requirement, requires("peerdata") or [])}
    pins = re.findall(r"^(\S+)==(\S+)$", (CONSTRAINTS / f"{release}.txt").read_text(), re.MULTILINE)
    ours = {canonicalize_name(name) for name, _ in pins} & set(bounds)
    assert {"alembic", "cotyledon", "oslo-config", "oslo-log", "prometheus-client", "pyyaml", "sqlalchemy"} <= ours
    for name, version in pins:
        if one := bounds.get(canonicalize_name(name)):
            assert one.specifier.contains(version), f"{name} {version}"
