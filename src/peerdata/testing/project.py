# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What a project remembers: keys, revisions, rolls. The rules of docs/protocol.md, written a second time and simply. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

PREFIX = "from_server_"
KEY = re.compile(r"[a-zA-Z0-9\-_:. ]{1,243}")
CLUSTER_NAME = re.compile(r"[a-zA-Z0-9\-_.]{1,64}")
MOST_VALUE_CHARS = 255
MOST_KEYS = 128
MOST_SHOWN = 60
"""Characters of a key that an error repeats."""
MOST_SIZE = 1000
NO_PLAN: dict[str, Any] = {"size": None, "founders": None, "closed": None}


class Refusal(Exception):
    """An error of docs/errors.md, with its status."""

    def __init__(self, status: int, code: str, message: str, **facts: object) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"code": f"peerdata.{code}", "message": message, **facts}


class Entry(NamedTuple):
    """One key of one instance."""

    value: str
    shared: bool


class Sharer:
    """An instance that has set keys."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.joined = 0
        """Revision at which it first shared; 0: it has not."""
        self.revision = 0

    @property
    def meta(self) -> dict[str, str]:
        """Its shared keys, as peers see them."""
        return {PREFIX + key: entry.value for key, entry in sorted(self.entries.items()) if entry.shared}


class Roll:
    """One cluster."""

    def __init__(self, term: int) -> None:
        self.plan: dict[str, Any] = dict(NO_PLAN)
        self.term = term
        self.formed = False
        self.ordinals: dict[str, int] = {}
        """By uuid, in the order in which they came."""
        self.founders: set[str] = set()
        self.next_ordinal = 0

    @property
    def facts(self) -> tuple[object, ...]:
        """All of it, to see whether it changed."""
        return self.term, self.formed, tuple(self.ordinals), frozenset(self.founders)

    @property
    def full(self) -> bool:
        return bool(self.plan["closed"]) and len(self.ordinals) >= self.plan["size"]

    def choose(self, asking: str | None) -> None:
        """Choose founders, where there are none, and enough members."""
        if self.formed or self.founders:
            return
        if self.plan["founders"] == "one":
            self.founders = {asking} if asking else set()
        elif len(self.ordinals) >= self.plan["size"]:
            self.founders = set(list(self.ordinals)[: self.plan["size"]])

    def leave(self, uuid: str) -> None:
        """Take off who does not exist any more; a founder of a cluster that is not formed is replaced."""
        if self.ordinals.pop(uuid, None) is None:
            return
        was_founder = uuid in self.founders
        self.founders.discard(uuid)
        if not self.ordinals:
            self.plan, self.formed, self.founders, self.next_ordinal = dict(NO_PLAN), False, set(), 0
            self.term += 1
        elif was_founder and not self.formed:
            self.term += 1
            self.founders = set()
            self.choose(None)

    def verdict(self, uuid: str) -> str:
        if uuid not in self.ordinals:
            return "full" if self.full and self.formed else "wait"
        if self.formed:
            return "join"
        return "bootstrap" if uuid in self.founders else "wait"


class Project:
    """What the instances of one project share."""

    def __init__(self) -> None:
        self.revision = 0
        self.sharers: dict[str, Sharer] = {}
        self.removed: list[tuple[str, int]] = []
        self.rolls: dict[str, Roll] = {}

    # Keys

    def check(self, uuid: str, meta: Mapping[str, str], *, shared: bool) -> None:
        """
        Raise for what may not be published.

        Raises:
            Refusal: the first of it, in the order of the keys.
        """
        for key, value in sorted(meta.items()):
            if not KEY.fullmatch(key):
                shown = key if len(key) <= MOST_SHOWN else key[:MOST_SHOWN] + "…"
                raise Refusal(400, "key.invalid", f"'{shown}' is not a key", key=shown)
            if len(value) > MOST_VALUE_CHARS:
                raise Refusal(400, "value.too_long", f"{key}: too long", key=key, limit=MOST_VALUE_CHARS)
            if "\0" in value:
                raise Refusal(400, "value.invalid", f"{key}: a NUL", key=key)
        entries = self.sharers[uuid].entries if uuid in self.sharers else {}
        for key, value in sorted(meta.items()):
            there = entries.get(key)
            if there is not None and there.value != value:
                raise Refusal(409, "key.taken", f"key '{key}' already holds another value", key=key)
            if there is not None and there.shared != shared:
                project = "project" if there.shared else None
                raise Refusal(409, "key.taken", f"key '{key}': another sharing", key=key, shared=project)
        if len(entries.keys() | meta.keys()) > MOST_KEYS:
            raise Refusal(413, "quota.reached", "too many keys", limit=MOST_KEYS, scope="instance")

    def publish(self, uuid: str, meta: Mapping[str, str], *, shared: bool) -> None:
        """Set every key of *meta*, or none."""
        self.check(uuid, meta, shared=shared)
        sharer = self.sharers.setdefault(uuid, Sharer())
        new = {key: Entry(value, shared) for key, value in meta.items() if key not in sharer.entries}
        if not new:
            return
        self.revision += 1
        sharer.entries.update(new)
        if shared:
            sharer.revision = self.revision
            sharer.joined = sharer.joined or self.revision

    def own(self, uuid: str) -> dict[str, str]:
        """All keys of an instance, as its own document shows them."""
        sharer = self.sharers.get(uuid)
        return {PREFIX + key: entry.value for key, entry in sharer.entries.items()} if sharer else {}

    def peers(self) -> list[tuple[str, Sharer]]:
        """In the order in which each first shared."""
        there = [(uuid, sharer) for uuid, sharer in self.sharers.items() if sharer.joined]
        return sorted(there, key=lambda one: one[1].joined)

    def news(self, since: int | None, prefix: str) -> dict[str, Any]:
        """What peer_data.json says, but for whom it says it to."""
        full = since is None or since > self.revision
        after = -1 if since is None or full else since
        peers = []
        for uuid, sharer in self.peers():
            meta = {key: value for key, value in sharer.meta.items() if key.startswith(PREFIX + prefix)}
            if meta and sharer.revision > after:
                peers.append({"uuid": uuid, "revision": sharer.revision, "joined": sharer.joined, "meta": meta})
        told = {peer["uuid"] for peer in peers}
        left = [] if full else [uuid for uuid, revision in self.removed if revision > after and uuid not in told]
        return {"revision": self.revision, "full": full, "peers": peers, "removed": list(dict.fromkeys(left))}

    def leave(self, uuid: str) -> None:
        """The instance is gone, with its keys, off every roll."""
        sharer = self.sharers.pop(uuid, None)
        if sharer is not None:
            self.revision += 1
            if sharer.joined:
                self.removed.append((uuid, self.revision))
        for roll in self.rolls.values():
            before = roll.facts
            roll.leave(uuid)
            self.revision += roll.facts != before

    # Clusters

    def enter(self, uuid: str, name: str, plan: dict[str, Any], meta: Mapping[str, str]) -> Roll:
        """Put an instance on the roll, and publish its keys, both or neither."""
        roll = self.rolls.get(name) or Roll(1)
        if roll.ordinals and roll.plan != plan:
            raise Refusal(409, "cluster.taken", f"the cluster was begun with {roll.plan}", **roll.plan)
        self.check(uuid, meta, shared=True)
        self.rolls[name] = roll
        if not roll.ordinals:
            roll.plan = plan
        if meta:
            self.publish(uuid, meta, shared=True)
        before = roll.facts
        if uuid not in roll.ordinals:
            if roll.full:
                return roll
            roll.ordinals[uuid] = roll.next_ordinal
            roll.next_ordinal += 1
        roll.choose(uuid)
        self.revision += roll.facts != before
        return roll

    def confirm(self, uuid: str, name: str, term: int) -> Roll:
        """A founder says that the cluster stands."""
        roll = self.rolls.get(name)
        if roll is None or uuid not in roll.founders or term != roll.term:
            present = roll.term if roll else 0
            raise Refusal(409, "cluster.not_founder", f"no founder in term {term}, it is {present}", term=present)
        self.revision += not roll.formed
        roll.formed = True
        return roll

    def state(self, uuid: str, name: str) -> dict[str, Any]:
        """What cluster/NAME.json says."""
        roll = self.rolls.get(name) or Roll(0)
        verdict = roll.verdict(uuid)
        listed = list(roll.ordinals)
        if verdict == "bootstrap" and roll.plan["founders"] == "all":
            listed = [member for member in listed if member in roll.founders]
        members = [
            {
                "uuid": member,
                "ordinal": roll.ordinals[member],
                "founder": member in roll.founders,
                "meta": self.sharers[member].meta if member in self.sharers else {},
            }
            for member in listed
        ]
        return {
            "cluster": name,
            "verdict": verdict,
            **roll.plan,
            "term": roll.term,
            "ordinal": roll.ordinals.get(uuid),
            "formed": roll.formed,
            "members": members,
            "why": f"{len(roll.ordinals)} of {roll.plan['size']} on the roll, {'' if roll.formed else 'not '}formed",
            "self": uuid,
            "revision": self.revision,
        }
