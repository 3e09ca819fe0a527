# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The load: wrk for HTTP that can be asked again and again, guests of our own for what can be asked only once, and
readers for Redis.

All keep `CONNECTIONS` connections busy, each with one request at a time, and run on the core that the servers leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

CONNECTIONS = 64


@dataclass(frozen=True)
class Outcome:
    """What one round of load saw."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    failed: int
    """Answers that were not a 200, or wrong, or not there."""


class Load(Protocol):
    """One thing to be asked of one server."""

    @property
    def who(self) -> str:
        """As the tables say it."""

    @property
    def server(self) -> str:
        """The process, on the stage, whose CPU time is counted."""

    def check(self) -> None:
        """Ask once, and raise `AnswerWrong` where the answer is not what is to be measured."""

    def run(self) -> Outcome:
        """One round."""
