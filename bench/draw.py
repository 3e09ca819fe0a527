# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The picture of a growth: run in the environment of bench/plot.txt, JSON on standard input, SVG on standard output.

The input is a list of panels: {"x": "peers", "at": [10, 100], "lines": {"a read": [39.1, 52.0]}}, in microseconds.
"""

import json
import sys

import matplotlib  # type: ignore[import-not-found]

matplotlib.use("svg")
# Text stays text, and the same numbers give the same file.
matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "peerdata", "font.size": 9, "font.family": "sans-serif"}

from matplotlib import pyplot  # noqa: E402  # after the choice of what draws


def main() -> None:
    """Draw."""
    panels = json.load(sys.stdin)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(9, 3.4), sharey=True, layout="constrained")
    for axis, panel in zip(axes, panels, strict=True):
        for marker, (name, costs) in zip("osD", panel["lines"].items(), strict=False):
            axis.plot(panel["at"], costs, marker=marker, label=name)
        axis.set(xscale="log", yscale="log", xlabel=panel["x"], xticks=panel["at"])
        axis.set_xticklabels([f"{at:,}".replace(",", " ") for at in panel["at"]])
        axis.set(ylim=(20, 2_000), yticks=[20, 50, 100, 200, 500, 1_000, 2_000])
        axis.yaxis.set_major_formatter("{x:.0f}")
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("CPU µs for one call")
    axes[0].legend(frameon=False)
    figure.savefig(sys.stdout, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
