# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What `make` does first: finds a Python, and makes or keeps the virtual environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Stands for an interpreter: reports VERSION, and makes virtual environments whose Python and pip do nothing.
INTERPRETER = """#!/bin/sh
case $* in
*version_info*) echo "{version}" ;;
'-m venv '*) mkdir -p "$3/bin" && printf '#!/bin/sh\\n' >"$3/bin/python" && chmod +x "$3/bin/python" ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files that setting up reads."""
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    return tmp_path


def interpreter(place: Path, name: str, version: str) -> Path:
    """A file that behaves like that Python as far as setting up asks."""
    place.mkdir(exist_ok=True)
    file = place / name
    file.write_text(INTERPRETER.format(version=version))
    file.chmod(0o755)
    return file


def set_up(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tools/setup.sh with the programs of a bare machine, and what *environment* adds."""
    path = {"PATH": os.pathsep.join((str(project / "path"), "/usr/bin", "/bin"))}
    return subprocess.run(
        ["sh", "tools/setup.sh", "server"], cwd=project, env=path | environment, capture_output=True, text=True
    )


def test_the_newest_python_on_the_path_is_taken(project: Path) -> None:
    interpreter(project / "path", "python3.11", "3.11.2")
    interpreter(project / "path", "python3.13", "3.13.5")
    done = set_up(project)
    assert done.returncode == 0, done.stderr
    assert "Setting up .venv (server) with Python 3.13.5..." in done.stdout


def test_a_python_that_is_too_old_is_refused_by_name(project: Path) -> None:
    old = interpreter(project / "path", "python3.9", "")
    done = set_up(project, PYTHON=str(old))
    assert done.returncode == 1
    assert f"PYTHON={old} is not a Python 3.11 to 3.14" in done.stderr
    assert not (project / ".venv").exists()


def test_without_any_python_the_message_says_what_to_install(project: Path) -> None:
    for name in ("python3.14", "python3.13", "python3.12", "python3.11", "python3", "python"):
        interpreter(project / "path", name, "")  # hides the machine's own
    done = set_up(project)
    assert done.returncode == 1
    assert "apt install python3 python3-venv" in done.stderr


def test_a_second_run_changes_nothing_and_says_nothing(project: Path) -> None:
    interpreter(project / "path", "python3.14", "3.14.0")
    assert set_up(project).returncode == 0
    again = set_up(project)
    assert (again.returncode, again.stdout) == (0, "")


def test_the_environment_is_made_anew_when_the_python_changes(project: Path) -> None:
    interpreter(project / "path", "python3.14", "3.14.0")
    assert set_up(project).returncode == 0
    (project / ".venv" / "of-the-old-python").touch()
    interpreter(project / "path", "python3.14", "3.14.1")
    done = set_up(project)
    assert "with Python 3.14.1..." in done.stdout
    assert not (project / ".venv" / "of-the-old-python").exists()


def test_the_environment_is_brought_up_to_date_when_its_requirements_change(project: Path) -> None:
    interpreter(project / "path", "python3.14", "3.14.0")
    assert set_up(project).returncode == 0
    with (project / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    assert "Setting up" in set_up(project).stdout
