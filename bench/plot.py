# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The picture of the growth, drawn by matplotlib in an environment of its own.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.environment import EnvironmentMissing, environment
from bench.growth import Growth, Step
from bench.rounds import Line

HERE = Path(__file__).parent


def plotter() -> Path:
    """
    The Python that can draw; made where it is missing, which takes a minute.

    Raises:
        EnvironmentMissing.
    """
    return environment("plot", HERE / "plot.txt") / "bin" / "python"


def draw(growth: Growth) -> str:
    """*growth* as SVG."""
    panels = [
        _panel("peers of the project", [step.peers for step in growth.by_peers], growth.by_peers),
        _panel("projects stored", [step.projects for step in growth.by_projects], growth.by_projects),
    ]
    command = [str(plotter()), str(HERE / "draw.py")]
    drawn = subprocess.run(command, input=json.dumps(panels), capture_output=True, text=True)
    if drawn.returncode:
        raise EnvironmentMissing(f"matplotlib could not draw: {drawn.stderr[-2000:]}")
    return drawn.stdout


def _panel(what: str, at: Sequence[int], steps: Sequence[Step]) -> dict[str, Any]:
    lines = {
        "a publish": [_cost(step.publish) for step in steps],
        "a quiet poll": [_cost(step.poll) for step in steps],
        "a read": [_cost(step.read) for step in steps],
    }
    return {"x": what, "at": at, "lines": lines}


def _cost(line: Line) -> float | None:
    return None if line.failure else line.cpu_us
