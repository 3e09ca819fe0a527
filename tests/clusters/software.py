# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What the cases have to know of one software, and nothing more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .machine import Machine


class Stands(Protocol):
    """Whether these machines, and no others, are one cluster that works: by what each of them says of itself."""

    def __call__(self, machines: Sequence[Machine]) -> bool: ...


Has = Callable[[Machine], bool]
"""Whether a machine has what was committed."""


@dataclass(frozen=True)
class Software:
    """
    One clustered software with its start script.

    Args:
        name: Of its directory in `examples/`, and of its cluster.
        package: Debian's, for its version.
        owner: The user that Debian's unit runs it as.
        founders: As in ``--founders``; "" where the peers need no founder.
        stands: See there.
        size: How many the script's SIZE says.
        environment: More of it for the start script.
        within_s: How long anything may take before it has failed.
        commit: Commits something in a cluster that stands, while the last of the machines lags behind.
    """

    name: str
    package: str
    owner: str
    founders: str
    stands: Stands
    size: int = 3
    environment: Mapping[str, str] = field(default_factory=dict)
    within_s: float = 90.0
    commit: Callable[[Sequence[Machine]], Has] | None = None


def same(answers: Sequence[object]) -> bool:
    """Whether there are answers, none of them is empty, and all of them are equal."""
    return bool(answers) and all(answers) and all(answer == answers[0] for answer in answers)
