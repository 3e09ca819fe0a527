# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Environments in `.peers` for Python packages that only the benchmark uses; none is a dependency of the project.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.chain.peers import Peers


class EnvironmentMissing(Exception):
    """The packages could not be installed; the message says why."""


def environment(name: str, lock: Path) -> Path:
    """
    The environment *name* with exactly what *lock* pins, made where it is missing or out of date.

    Raises:
        EnvironmentMissing.
    """
    place = Peers.default().root / name
    stamp = place / "made-from"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return place
    shutil.rmtree(place, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(place)])
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "--disable-pip-version-check"]
    _run([*pip, "install", "--quiet", "--no-deps", "-r", str(lock)])
    stamp.write_text(wanted)
    return place


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EnvironmentMissing(f"{' '.join(command)}: {(done.stderr or done.stdout)[-2000:]}")
