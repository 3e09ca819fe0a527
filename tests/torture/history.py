# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What the clients of a run did and were told, as values, and as a file that can be checked again.

All clients live on one machine, so one monotonic clock times all of them. A file is JSON lines, compressed: first
what the run was, then each operation in the order in which they began; a state of a peer is
written before the first operation that was shown it, and meant by its number afterwards.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any


class Kind(Enum):
    """What was asked."""

    PUBLISH = "publish"
    SHARED = "shared.json"
    PEER_DATA = "peer_data.json"
    FOLLOW = "peer_data.json?since"
    OWN = "meta_data.json"


class Outcome(Enum):
    """What the client knows afterwards."""

    OK = "ok"
    """A 200."""
    REFUSED = "refused"
    """Another status, and nothing was done."""
    UNKNOWN = "unknown"
    """No answer, or one that says that it is not known."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An instance as one answer showed it. ``meta`` is without the prefix and in alphabetical order."""

    uuid: str
    meta: tuple[tuple[str, str], ...]
    joined: int | None = None
    """None where the answer does not tell: in shared.json and in the instance's own document."""
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer showed: peers in its order; of the instance's own document, the instance alone."""

    peers: tuple[Peer, ...]
    revision: int | None = None
    full: bool = True
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One request, and what became of it.

    Attributes:
        number: Its place in the history.
        client: Which of the clients asked, and ``server`` which of the servers, counted from 0.
        invoked: Before the first byte was sent; seconds, monotonic.
        completed: After the last byte was read, or when the client gave up.
        status: None where no whole answer arrived; ``code`` is then the client's own word for it.
        meta: The keys of a publish, in alphabetical order.
        since: Of `Kind.FOLLOW`.
        shown: Of a 200.
    """

    number: int
    client: int
    server: int
    project: str
    instance: str
    kind: Kind
    invoked: float
    completed: float
    outcome: Outcome
    status: int | None = None
    code: str = ""
    meta: tuple[tuple[str, str], ...] = ()
    shared: bool = True
    since: int | None = None
    shown: Shown | None = None

    def __str__(self) -> str:
        what = self.kind.value
        if self.kind is Kind.PUBLISH:
            what += f" {'' if self.shared else 'unshared '}{dict(self.meta)}"
        elif self.kind is Kind.FOLLOW:
            what += f"={self.since}"
        told = str(self.status) if self.status else self.code
        if self.shown and self.shown.revision is not None:
            told += f", revision {self.shown.revision}"
        return (
            f"#{self.number} ({what} by {self.instance} through server {self.server}, "
            f"{self.invoked:.4f} to {self.completed:.4f}: {told})"
        )


@dataclass(frozen=True)
class History:
    """Operations in the order in which they began, and what the run was."""

    about: Mapping[str, Any]
    operations: Sequence[Operation]

    def write(self, path: Path) -> None:
        """Keep it in *path*."""
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=3) as file:
            file.write(json.dumps({"about": dict(self.about)}) + "\n")
            for line in _lines(self.operations):
                file.write(json.dumps(line, separators=(",", ":")) + "\n")

    @classmethod
    def read(cls, path: Path) -> History:
        """The history that *path* keeps."""
        about: dict[str, Any] = {}
        peers: list[Peer] = []
        operations: list[Operation] = []
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in map(json.loads, file):
                if "about" in line:
                    about = line["about"]
                elif "peer" in line:
                    uuid, meta, joined, revision = line["peer"]
                    peers.append(Peer(uuid, _pairs(meta), joined, revision))
                else:
                    operations.append(_operation(line, peers))
        return cls(about, operations)


def _lines(operations: Iterable[Operation]) -> Iterator[dict[str, Any]]:
    numbers: dict[Peer, int] = {}
    for one in operations:
        for peer in one.shown.peers if one.shown else ():
            if peer not in numbers:
                numbers[peer] = len(numbers)
                yield {"peer": [peer.uuid, dict(peer.meta), peer.joined, peer.revision]}
        line = {name: getattr(one, name) for name in _PLAIN}
        line |= {"kind": one.kind.value, "outcome": one.outcome.value, "meta": dict(one.meta)}
        if one.shown:
            shown = one.shown
            listed = [numbers[peer] for peer in shown.peers]
            line["shown"] = [listed, shown.revision, shown.full, list(shown.removed)]
        yield line


_PLAIN = (
    "number",
    "client",
    "server",
    "project",
    "instance",
    "invoked",
    "completed",
    "status",
    "code",
    "shared",
    "since",
)


def _operation(line: dict[str, Any], peers: Sequence[Peer]) -> Operation:
    shown = None
    if "shown" in line:
        listed, revision, full, removed = line["shown"]
        shown = Shown(tuple(peers[number] for number in listed), revision, full, tuple(removed))
    return Operation(
        **{name: line[name] for name in _PLAIN},
        kind=Kind(line["kind"]),
        outcome=Outcome(line["outcome"]),
        meta=_pairs(line["meta"]),
        shown=shown,
    )


def _pairs(meta: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(meta.items()))
