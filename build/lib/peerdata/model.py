# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The words: what a project, an instance, a key and an entry are, as values. No I/O, no rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Quota:
    """How many keys there may be, shared and unshared together."""

    keys_per_instance: int
    keys_per_project: int


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
