# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One project: its keys, revisions and clusters. The rules of docs/protocol.md, written a second time and simply. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

PREFIX = "from_server_"
KEY = re.compile(r"[a-zA-Z0-9\-_:. ]{1,243}")
CLUSTER_NAME = re.compile(r"[a-zA-Z0-9\-_.]{1,64}")
MAX_VALUE_CHARS = 255
MAX_KEYS = 128
MAX_SHOWN_CHARS = 60
"""How much of a key an error message repeats."""
MAX_SIZE = 1000
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
        """The revision at which it first shared a key; 0: it has not shared any."""
        self.revision = 0

    @property
    def meta(self) -> dict[str, str]:
        """Its shared keys, as peers see them."""
        return {PREFIX + key: entry.value for key, entry in sorted(self.entries.items()) if entry.shared}


class Cluster:
    """One cluster: its plan, its members and the founders of this term."""

    def __init__(self, term: int) -> None:
        self.plan: dict[str, Any] = dict(NO_PLAN)
        self.term = term
        self.formed = False
        self.ordinals: dict[str, int] = {}
        """The ordinal of each member by uuid, in the order in which they joined."""
        self.founders: set[str] = set()
        self.next_ordinal = 0

    @property
    def facts(self) -> tuple[object, ...]:
        """Everything that counts as a change of the cluster."""
        return self.term, self.formed, tuple(self.ordinals), frozenset(self.founders)

    @property
    def full(self) -> bool:
        """Whether the cluster is closed and has as many members as planned."""
        return bool(self.plan["closed"]) and len(self.ordinals) >= self.plan["size"]

    def choose(self, asking: str | None) -> None:
        """Choose founders if there are none yet and enough members; *asking* is the member that asks."""
        if self.formed or self.founders:
            return
        if self.plan["founders"] == "one":
            self.founders = {asking} if asking else set()
        elif len(self.ordinals) >= self.plan["size"]:
            self.founders = set(list(self.ordinals)[: self.plan["size"]])

    def leave(self, uuid: str) -> None:
        """Remove a member that no longer exists; a founder of a cluster that is not formed is replaced."""
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
        """What the instance *uuid* is to do."""
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
        self.clusters: dict[str, Cluster] = {}

    # Keys

    def check(self, uuid: str, meta: Mapping[str, str], *, shared: bool) -> None:
        """
        Check that *meta* may be published.

        Raises:
            Refusal: the first problem, in the order of the keys.
        """
        for key, value in sorted(meta.items()):
            if not KEY.fullmatch(key):
                shown = key if len(key) <= MAX_SHOWN_CHARS else key[:MAX_SHOWN_CHARS] + "…"
                raise Refusal(400, "key.invalid", f"'{shown}' is not a key", key=shown)
            if len(value) > MAX_VALUE_CHARS:
                raise Refusal(400, "value.too_long", f"{key}: too long", key=key, limit=MAX_VALUE_CHARS)
            if "\0" in value:
                raise Refusal(400, "value.invalid", f"{key}: a NUL", key=key)
        entries = self.sharers[uuid].entries if uuid in self.sharers else {}
        for key, value in sorted(meta.items()):
            there = entries.get(key)
            if there is not None and there.value != value:
                raise Refusal(409, "key.taken", f"key '{key}' already holds another value", key=key)
            if there is not None and there.shared != shared:
                project = "project" if there.shared else None
                raise Refusal(409, "key.taken", f"key '{key}' already has another sharing", key=key, shared=project)
        if len(entries.keys() | meta.keys()) > MAX_KEYS:
            raise Refusal(413, "quota.reached", "too many keys", limit=MAX_KEYS, scope="instance")

    def publish(self, uuid: str, meta: Mapping[str, str], *, shared: bool) -> None:
        """Set every key of *meta*, or none of them."""
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
        """All keys of an instance, as its own meta_data.json shows them."""
        sharer = self.sharers.get(uuid)
        return {PREFIX + key: entry.value for key, entry in sharer.entries.items()} if sharer else {}

    def peers(self) -> list[tuple[str, Sharer]]:
        """Uuid and keys of every peer, in the order in which each first shared."""
        there = [(uuid, sharer) for uuid, sharer in self.sharers.items() if sharer.joined]
        return sorted(there, key=lambda one: one[1].joined)

    def news(self, since: int | None, prefix: str) -> dict[str, Any]:
        """The content of peer_data.json, without the members that depend on the caller."""
        full = since is None or since > self.revision
        after = -1 if since is None or full else since
        peers = []
        for uuid, sharer in self.peers():
            meta = {key: value for key, value in sharer.meta.items() if key.startswith(PREFIX + prefix)}
            if meta and sharer.revision > after:
                peers.append({"uuid": uuid, "revision": sharer.revision, "joined": sharer.joined, "meta": meta})
        listed = {peer["uuid"] for peer in peers}
        left = [] if full else [uuid for uuid, revision in self.removed if revision > after and uuid not in listed]
        return {"revision": self.revision, "full": full, "peers": peers, "removed": list(dict.fromkeys(left))}

    def leave(self, uuid: str) -> None:
        """Remove a deleted instance: its keys, and its membership of every cluster."""
        sharer = self.sharers.pop(uuid, None)
        if sharer is not None:
            self.revision += 1
            if sharer.joined:
                self.removed.append((uuid, self.revision))
        for cluster in self.clusters.values():
            before = cluster.facts
            cluster.leave(uuid)
            self.revision += cluster.facts != before

    # Clusters

    def enter(self, uuid: str, name: str, plan: dict[str, Any], meta: Mapping[str, str]) -> Cluster:
        """Make an instance a member of a cluster and publish its keys: both, or neither."""
        cluster = self.clusters.get(name) or Cluster(1)
        if cluster.ordinals and cluster.plan != plan:
            raise Refusal(409, "cluster.taken", f"the cluster was started with {cluster.plan}", **cluster.plan)
        self.check(uuid, meta, shared=True)
        self.clusters[name] = cluster
        if not cluster.ordinals:
            cluster.plan = plan
        if meta:
            self.publish(uuid, meta, shared=True)
        before = cluster.facts
        if uuid not in cluster.ordinals:
            if cluster.full:
                return cluster
            cluster.ordinals[uuid] = cluster.next_ordinal
            cluster.next_ordinal += 1
        cluster.choose(uuid)
        self.revision += cluster.facts != before
        return cluster

    def confirm(self, uuid: str, name: str, term: int) -> Cluster:
        """Note that a founder has confirmed the cluster."""
        cluster = self.clusters.get(name)
        if cluster is None or uuid not in cluster.founders or term != cluster.term:
            present = cluster.term if cluster else 0
            raise Refusal(
                409, "cluster.not_founder", f"not a founder in term {term}; the current term is {present}", term=present
            )
        self.revision += not cluster.formed
        cluster.formed = True
        return cluster

    def state(self, uuid: str, name: str) -> dict[str, Any]:
        """The content of cluster/NAME.json for the instance *uuid*, without ``poll_after_s``."""
        cluster = self.clusters.get(name) or Cluster(0)
        verdict = cluster.verdict(uuid)
        listed = list(cluster.ordinals)
        if verdict == "bootstrap" and cluster.plan["founders"] == "all":
            listed = [member for member in listed if member in cluster.founders]
        members = [
            {
                "uuid": member,
                "ordinal": cluster.ordinals[member],
                "founder": member in cluster.founders,
                "meta": self.sharers[member].meta if member in self.sharers else {},
            }
            for member in listed
        ]
        return {
            "cluster": name,
            "verdict": verdict,
            **cluster.plan,
            "term": cluster.term,
            "ordinal": cluster.ordinals.get(uuid),
            "formed": cluster.formed,
            "members": members,
            "why": f"{len(cluster.ordinals)} of {cluster.plan['size']} members, formed: {cluster.formed}",
            "self": uuid,
            "revision": self.revision,
        }
