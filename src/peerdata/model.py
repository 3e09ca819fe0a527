# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The words: what a project, an instance, a key and an entry are, as values. No I/O, no rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

PREFIX = "from_server_"
"""Stands before every key that an instance set, so that nobody takes it for the owner's (the blueprint's name)."""

# nova: api/validation/parameter_types.py, metadata: '^[a-zA-Z0-9-_:. ]{1,255}$'. Its `$` lets a newline through at the
# end; a full match does not. With PREFIX a key must fit nova's 255 characters.
KEY_NAME = re.compile(r"[a-zA-Z0-9\-_:. ]{1,243}")


@dataclass(frozen=True, slots=True)
class Instance:
    """A caller whose identity has been proven, or any other instance of a project."""

    uuid: str
    project_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of one instance, set once."""

    key: str
    """Without `PREFIX`."""
    value: str
    shared: bool
    """Visible to every instance of the project, or to its own alone."""

    @property
    def bytes(self) -> int:
        """Of key and value as UTF-8; what quotas count."""
        return len(self.key) + (len(self.value) if self.value.isascii() else len(self.value.encode()))


@dataclass(frozen=True, slots=True)
class Usage:
    """What a project holds, shared and unshared together."""

    keys: int
    bytes: int
    """Of keys, without `PREFIX`, and values as UTF-8."""


UNBOUNDED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Quota:
    """How many keys there may be, and bytes of keys and values, shared and unshared together."""

    keys_per_instance: int
    keys_per_project: int
    bytes_per_instance: int = UNBOUNDED
    bytes_per_project: int = UNBOUNDED


@dataclass(frozen=True, slots=True)
class Peer:
    """An instance that shares at least one key."""

    uuid: str
    joined: int
    """Revision of the project at which it first shared."""
    revision: int
    """Revision of its last change to a shared key."""
    meta: Mapping[str, str]
    """Its shared keys, without `PREFIX`, in alphabetical order."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened in a project after a revision, as one snapshot of the store."""

    revision: int
    """The project's revision at the snapshot; 0 where nothing was ever accepted."""
    full: bool
    """``peers`` is everything, and replaces what was known."""
    peers: tuple[Peer, ...]
    """The instances whose shared keys changed, whole, in the order of ``joined``."""
    removed: tuple[tuple[str, int], ...]
    """(uuid, revision) of the instances that left, oldest first. One that came back is in both."""
    forgotten: int
    """Revision up to which it is no longer known who left."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last error answered to an instance, kept so that it can be read again."""

    error: Mapping[str, object]
    """The answer's ``error`` member."""
    call: str
    """Method and path."""
    refused_at: int
    """UTC, whole seconds since 1970."""


class Founders(Enum):
    """Who starts a new cluster."""

    ONE = "one"
    """One member, alone: the first that joins, or, where a founder left before it confirmed, the next that asks."""
    ALL = "all"
    """As many as the cluster is planned for, together."""


class Verdict(Enum):
    """What an instance is to do about a cluster."""

    WAIT = "wait"
    BOOTSTRAP = "bootstrap"
    JOIN = "join"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What all members must agree on; the first to ask sets it."""

    size: int
    """How many the cluster is planned for."""
    founders: Founders
    closed: bool
    """Nobody but ``size`` members is let in."""


@dataclass(frozen=True, slots=True)
class Member:
    """An instance on the roll of a cluster."""

    uuid: str
    ordinal: int
    """Its place on the roll; no other has it in this life of the cluster."""
    founder: bool
    """Of the present term."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of a project, as all its members see it."""

    plan: ClusterPlan
    term: int
    """Grows when founders are replaced, and when it begins anew; never goes back. From 1."""
    formed: bool
    """A founder of this term has confirmed that it stands."""
    next_ordinal: int
    members: tuple[Member, ...]
    """The roll, in the order in which they came."""

    def member(self, uuid: str) -> Member | None:
        """The instance on the roll; None where it is not."""
        return next((member for member in self.members if member.uuid == uuid), None)

    @property
    def founders(self) -> tuple[Member, ...]:
        """Those of the present term, in the order of the roll."""
        return tuple(member for member in self.members if member.founder)
