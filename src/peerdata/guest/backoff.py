# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
When a request is sent again: pauses after failures, and neutron's rate limit. Pure: clock and chance are arguments.

Source: docs/protocol.md, "Statuses and errors". neutron's rate limit, where it is enabled, is 10 requests in 10 s for
each address, and rejected requests count as well.
"""

from __future__ import annotations

from collections.abc import Sequence

WINDOW_S = 10.0
MAX_IN_WINDOW = 8
"""Two fewer than neutron accepts: cloud-init or curl on the same machine may send some too."""

MAX_PAUSE_S = 20.0
TOO_MANY = 429


def is_final(status: int) -> bool:
    """Whether a repeat would get the same answer: 4xx, except for 408 and 429, which mean "not now"."""
    return 400 <= status < 500 and status not in (408, TOO_MANY)


def pause_s(failures: int, chance: float, *, too_many: bool = False) -> float:
    """
    Seconds to pause after a failure: 1, 2, 4, 8, 16, 20, 20..., each multiplied by 0.5 to 1.5.

    Args:
        failures: Number of failures in a row, including this one.
        chance: 0 to 1, at random, so that instances that failed together do not return together.
        too_many: The rate limit was exceeded, so its whole window has to pass.
    """
    steady = WINDOW_S if too_many else min(MAX_PAUSE_S, 2.0 ** min(failures - 1, 10))
    return steady * (0.5 + chance)


def rate_limit_s(asked_at: Sequence[float], now: float) -> float:
    """Seconds to hold back the next request, so that no 10 s contain more than `MAX_IN_WINDOW`, after *asked_at*."""
    if len(asked_at) < MAX_IN_WINDOW:
        return 0.0
    return max(0.0, asked_at[-MAX_IN_WINDOW] + WINDOW_S - now)
