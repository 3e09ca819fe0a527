# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What the guests of one cluster were told, and what befell them: words, and their form on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from peerdata.model import ClusterPlan, Verdict


class Call(Enum):
    """What was asked."""

    ENTER = "enter"
    CONFIRM = "confirm"


@dataclass(frozen=True)
class Listed:
    """A member, as an answer lists it."""

    uuid: str
    ordinal: int
    founder: bool


@dataclass(frozen=True)
class Answer:
    """One request, and what came back. Times are of the machine's monotonic clock, in seconds."""

    uuid: str
    """Of the instance that asked."""
    call: Call
    port: int
    """Of the server that was asked."""
    asked: float
    answered: float
    status: int
    """0: nothing came back, and it is not known whether it was done."""
    code: str = ""
    """Of an error."""
    confirms: int | None = None
    """The term that is confirmed."""
    term: int | None = None
    verdict: Verdict | None = None
    formed: bool = False
    members: tuple[Listed, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.status == 200

    @property
    def founders(self) -> tuple[str, ...]:
        """Those listed as founders, in the order of the list."""
        return tuple(member.uuid for member in self.members if member.founder)


@dataclass(frozen=True)
class History:
    """One cluster's boot."""

    plan: ClusterPlan
    answers: Sequence[Answer]
    deleted: Mapping[str, float] = field(default_factory=dict)
    """By instance, from when on it may have been known not to exist any more."""
    final: Sequence[Answer] = ()
    """What the servers told all that live when they asked again, once all had ended: each was told by each server."""
    living: frozenset[str] = frozenset()
    hung: str = ""
    """Who had not ended in time, and how far it was; "": everybody ended."""


def parse(told: Mapping[str, Any]) -> Answer:
    """A line of a guest's log."""
    return Answer(
        uuid=told["uuid"],
        call=Call(told["call"]),
        port=told["port"],
        asked=told["asked"],
        answered=told["answered"],
        status=told["status"],
        code=told.get("code", ""),
        confirms=told.get("confirms"),
        term=told.get("term"),
        verdict=Verdict(told["verdict"]) if "verdict" in told else None,
        formed=told.get("formed", False),
        members=tuple(Listed(*member) for member in told.get("members", ())),
    )


def read(logs: Iterable[Path]) -> list[Answer]:
    """
    All answers of some logs, in the order in which they came.

    A last line that is cut off is left out: its guest was killed while it wrote, and did not act on it.
    """
    answers = []
    for log in logs:
        *lines, _cut = log.read_bytes().split(b"\n")
        answers += [parse(json.loads(line)) for line in lines]
    return sorted(answers, key=lambda one: one.answered)
