# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
When to ask again. Pure: no clock, no sleep, no chance of its own.

Source: docs/protocol.md, "Statuses and errors". neutron's rate limit, where it is on, is 10 requests in 10 s for an
address, and what is turned away counts too.
"""

from __future__ import annotations

from collections.abc import Sequence

WINDOW_S = 10.0
MOST_IN_WINDOW = 8
"""Two fewer than neutron lets through: cloud-init or a curl beside us has some too."""

LONGEST_PAUSE_S = 20.0
TOO_MANY = 429


def is_final(status: int) -> bool:
    """Whether asking the same again would bring the same: 4xx, but for those that mean "not now"."""
    return 400 <= status < 500 and status not in (408, TOO_MANY)


def pause_s(failures: int, chance: float, *, too_many: bool = False) -> float:
    """
    How long to pause after a failure: 1, 2, 4, 8, 16, 20, 20... s, spread by half to both sides.

    Args:
        failures: So many in a row, this one included.
        chance: 0 to 1, at random: instances that failed together do not come back together.
        too_many: The rate limit was hit: its window has to pass.
    """
    steady = WINDOW_S if too_many else min(LONGEST_PAUSE_S, 2.0 ** min(failures - 1, 10))
    return steady * (0.5 + chance)


def pace_s(asked_at: Sequence[float], now: float) -> float:
    """How long to hold the next request back so that no 10 s see more than `MOST_IN_WINDOW`, after those *asked_at*."""
    if len(asked_at) < MOST_IN_WINDOW:
        return 0.0
    return max(0.0, asked_at[-MOST_IN_WINDOW] + WINDOW_S - now)
