# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The picture of the growth as SVG: panels side by side, both axes logarithmic, one line for each kind of call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 300
"""Of one panel, in pixels."""

LEFT, RIGHT, TOP, BOTTOM = 50, 15, 30, 45
"""What the axes and their labels take of it."""

COST_MIN, COST_MAX = 20, 2_000
COSTS = (20, 50, 100, 200, 500, 1_000, 2_000)
"""The ticks of the vertical axis, in microseconds."""

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c")


@dataclass(frozen=True)
class Panel:
    """One set of axes."""

    title: str
    """Of its horizontal axis."""
    at: Sequence[int]
    lines: Mapping[str, Sequence[float | None]]
    """CPU microseconds for one call at each place; None where it could not be measured."""


def draw(panels: Sequence[Panel]) -> str:
    """All panels in one row; the same numbers give the same file."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(panels)}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate({WIDTH * number} 0)">', *_axes(panel), *_lines(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _axes(panel: Panel) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{panel.title}</text>']
    parts.append(f'<text x="{LEFT}" y="{TOP - 12}" text-anchor="middle">CPU µs for one call</text>')
    for cost in COSTS:
        y = _y(cost)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{cost}</text>')
    for place in panel.at:
        x = _x(panel, place)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{place:,}</text>'.replace(",", " "))
    return parts


def _lines(panel: Panel) -> list[str]:
    parts = []
    for number, (name, costs) in enumerate(panel.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [(_x(panel, at), _y(cost)) for at, cost in zip(panel.at, costs, strict=True) if cost is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(f'<text x="{LEFT + 10}" y="{TOP + 12 + 14 * number}" fill="{colour}">{name}</text>')
    return parts


def _x(panel: Panel, place: int) -> float:
    first, last = math.log(panel.at[0]), math.log(panel.at[-1])
    return LEFT + 15 + (math.log(place) - first) / (last - first) * (WIDTH - LEFT - RIGHT - 30)


def _y(cost: float) -> float:
    share = math.log(min(max(cost, COST_MIN), COST_MAX) / COST_MIN) / math.log(COST_MAX / COST_MIN)
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
