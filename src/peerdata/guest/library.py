# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The library: the calls of docs/protocol.md as methods, each repeated until it is answered. Synchronous.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from peerdata.guest import answers, client, model, wire
from peerdata.guest.errors import Misused, NotYet
from peerdata.guest.model import Me, PeerList, Verdict
from peerdata.guest.schedule import Schedule
from peerdata.guest.state import StateDirectory, default_directory

if TYPE_CHECKING:
    from peerdata.guest.addresses import AddressesOf

T = TypeVar("T")

HOLD_S = 20.0
"""How long the service may hold a poll, where its operator allows that: well within haproxy's 32 s."""
MIN_POLL_S = 1.0
"""The same as the service's own minimum (docs/protocol.md, "Follow changes")."""


class Guest:
    """
    This instance, as a client of the metadata service.

    Every call may be repeated: keys are set once, and publishing the same again changes nothing.

    Args:
        url: Used instead of the metadata addresses; default ``PEERDATA_URL`` of the environment. ``PEERDATA_SOURCE`` is
            the address to connect from, for test setups.
        timeout_s: How long a call that is not answered is repeated, in seconds; None: without end.
        state: Directory for the last good list; default see `state.default_directory`, empty: none is kept.
        min_poll_s: The shortest time between two polls, in seconds, whatever the service asks for. Less than the
            default is for tests against `peerdata.testing`.
        progress: Called with what is being waited for, as a message for a person.
        exchange, clock, sleep, chance, now: Seams for tests.

    Raises:
        Misused: *url* is invalid.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float | None = 120.0,
        state: str | None = None,
        min_poll_s: float = MIN_POLL_S,
        progress: Callable[[str], None] = lambda _: None,
        exchange: client.Exchange = wire.exchange,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = client.chance,
        now: Callable[[], float] = time.time,
    ) -> None:
        url = url or os.environ.get("PEERDATA_URL") or ""
        source = os.environ.get("PEERDATA_SOURCE") or ""
        self.timeout_s = timeout_s
        self.client = client.Client(
            url, source=source, exchange=exchange, clock=clock, sleep=sleep, chance=chance, now=now, notice=progress
        )
        self.state_directory = StateDirectory(
            default_directory(dict(os.environ)) if state is None else state, f"{url} {source}".strip()
        )
        self._schedule = Schedule(clock, sleep, min_poll_s)
        self._progress = progress
        self._now = now

    def end_within(self, timeout_s: float) -> None:
        """End every further call within *timeout_s* seconds from now, so that several calls share one timeout."""
        self._schedule.end_within(timeout_s)

    def publish(self, meta: Mapping[str, str], *, private: bool = False) -> Me:
        """
        Set all keys of *meta*, once and for good, or none of them.

        Args:
            meta: Keys of 1 to 243 characters ``a-z A-Z 0-9 - _ : .`` and space; values of at most 255 characters.
            private: Visible to this instance only, instead of the whole project.

        Returns:
            This instance, with everything that it has published so far.

        Raises:
            Refused: a key holds another value (``peerdata.key.taken``), or a quota is full.
            NotReached: no answer came. Whether the keys are set is unknown; repeating the call makes sure.
            NoService, Misused.
        """
        query = [] if private else [("shared", "project")]
        return self._ask("POST", "metadata", answers.read_me, query + _parameters(meta))

    def peers(self, prefix: str = "") -> PeerList:
        """
        List all instances that share a key, including this one, in the order that is the same for all readers.

        Args:
            prefix: Only keys that begin with it, and only instances that share such a key.

        Raises:
            NotReached: no answer came; it is never an empty list instead. `last_good` may have an older one.
            Refused, NoService, Misused.
        """
        peers = self._ask("GET", "peer_data.json", partial(answers.apply, None), _prefix_parameter(prefix))
        self.state_directory.keep_list(prefix, peers, self._now())
        return peers

    def last_good(self, prefix: str = "") -> PeerList | None:
        """The last list that this machine received for *prefix*; ``read_at`` is the time of receipt."""
        return self.state_directory.last_list(prefix)

    def follow(self, prefix: str = "", *, timeout_s: float | None = None) -> Iterator[PeerList]:
        """
        Yield the current list, and the new list after each change.

        The service decides how often it is polled. While it is unavailable, polling continues, and the list yielded
        last stays valid. After the first answer the same goes for 401, 403 and 404, and for a 400 without a reason of
        peerdata's.

        Args:
            timeout_s: Ends the iteration after this many seconds; None: never.

        Raises:
            NotReached: only with *timeout_s*: no answer came until its end.
            Refused, NoService: as the first answer; as a later one only at the end of *timeout_s*.
            Misused.
        """
        deadline = self._schedule.deadline(timeout_s)
        known: PeerList | None = None
        while True:
            query = _prefix_parameter(prefix)
            if known is not None:
                hold_s = HOLD_S if deadline is None else min(HOLD_S, self._schedule.remaining_s(deadline))
                query += [("since", str(known.revision)), ("wait", f"{hold_s:.1f}")]
            before = known
            known = self.client.ask(
                "GET",
                "peer_data.json",
                query,
                deadline=deadline,
                read=partial(answers.apply, before),
                was_answered=before is not None,
            )
            if before is None or known.peers != before.peers:
                self.state_directory.keep_list(prefix, known, self._now())
                yield known
            if not self._schedule.rest(known.poll_after_s, deadline):
                return

    def wait(self, count: int, prefix: str = "", *, timeout_s: float | None = 600.0) -> PeerList:
        """
        Return the list once it has *count* peers, including this instance if it shares a key.

        Raises:
            NotYet: there were fewer at the end of *timeout_s*.
            NotReached, Refused, NoService.
        """
        found = 0
        for peers in self.follow(prefix, timeout_s=timeout_s):
            found = len(peers.peers)
            if found >= count:
                return peers
            self._progress(f"{found} of {count} peers")
        raise NotYet(f"only {found} of {count} peers after {timeout_s:.0f} s")

    def join(
        self,
        cluster: str,
        size: int,
        *,
        founders: str = "one",
        closed: bool = False,
        meta: Mapping[str, str] | None = None,
        until_ready: bool = True,
        timeout_s: float | None = 600.0,
    ) -> Verdict:
        """
        Make this instance a member of *cluster*, and return what it is to do.

        Args:
            cluster: A name of 1 to 64 characters ``a-z A-Z 0-9 - _ .``.
            size: How many members are planned. *size*, *founders* and *closed* must be the same on all members.
            founders: ``one`` starts the cluster and the others join it, or ``all`` start it together.
            closed: Accept only the first *size* members.
            meta: Keys to publish in the same call, shared with the project.
            until_ready: Keep asking while the verdict is ``wait``.

        Returns:
            The verdict. After ``bootstrap``, call `formed` once the cluster runs.

        Raises:
            NotYet: the verdict was still ``wait`` at the end of *timeout_s*.
            Refused: the cluster has another size or mode (``peerdata.cluster.taken``), or as for `publish`.
            NotReached, NoService, Misused.
        """
        if not 1 <= size <= model.MAX_CLUSTER_SIZE:
            raise Misused(f"the size of a cluster is 1 to {model.MAX_CLUSTER_SIZE}, not {size}")
        if founders not in model.FOUNDERS:
            raise Misused(f"founders is {' or '.join(map(repr, model.FOUNDERS))}, not '{founders}'")
        query = [("size", str(size)), ("founders", founders)]
        query += [("closed", "true")] if closed else []
        query += _parameters(meta) if meta else []
        deadline = self._schedule.deadline(timeout_s)
        was_answered = False
        while True:
            verdict = self.client.ask(
                "POST",
                f"cluster/{_cluster_name(cluster)}.json",
                query,
                deadline=deadline,
                read=lambda document: answers.read_verdict(document, cluster),
                was_answered=was_answered,
            )
            was_answered = True
            if verdict.verdict == "bootstrap":
                self.state_directory.keep_term(cluster, verdict.term)
            if verdict.verdict != "wait" or not until_ready:
                return verdict
            self._progress(f"{cluster}: {verdict.why}")
            if not self._schedule.rest(verdict.poll_after_s, deadline):
                raise NotYet(f"{cluster}: the verdict is still wait after {timeout_s:.0f} s: {verdict.why}")

    def formed(self, cluster: str, term: int | None = None) -> Verdict:
        """
        Confirm that the cluster runs which this instance was asked to bootstrap.

        Args:
            term: The term of the verdict; default that of the last ``bootstrap`` that this machine received.

        Raises:
            Refused: this instance is not a founder in that term (``peerdata.cluster.not_founder``): it must discard
                what it started.
            Misused: the term is not given and not known.
            NotReached, NoService.
        """
        if term is None:
            term = self.state_directory.last_term(cluster)
        if term is None:
            raise Misused(f"no bootstrap verdict for {cluster} was kept on this machine: give the term of the verdict")
        return self._ask_cluster("POST", cluster, "/formed", [("term", str(term))])

    def state(self, cluster: str) -> Verdict:
        """Return the state of *cluster* without joining it."""
        return self._ask_cluster("GET", cluster, ".json")

    def whoami(self) -> Me:
        """Return this instance as nova knows it, with everything that it has published."""
        return self._ask("GET", "meta_data.json", answers.read_me)

    def addresses(self, addresses_of: AddressesOf | None = None) -> list[str]:
        """
        List this instance's fixed addresses, see `addresses.own_addresses`.

        Args:
            addresses_of: Default: the addresses of this machine's interfaces.

        Raises:
            Unusable: there is no address.
            NotReached, Refused, NoService.
        """
        from peerdata.guest.addresses import own_addresses  # here for a short start time

        return own_addresses(self.client, self._schedule.deadline(self.timeout_s), addresses_of)

    def _ask(self, method: str, path: str, read: Callable[[Any], T], query: list[tuple[str, str]] | None = None) -> T:
        return self.client.ask(method, path, query or [], deadline=self._schedule.deadline(self.timeout_s), read=read)

    def _ask_cluster(
        self, method: str, cluster: str, suffix: str, query: list[tuple[str, str]] | None = None
    ) -> Verdict:
        path = f"cluster/{_cluster_name(cluster)}{suffix}"
        return self._ask(method, path, lambda document: answers.read_verdict(document, cluster), query)


def _prefix_parameter(prefix: str) -> list[tuple[str, str]]:
    if len(prefix) > model.MAX_KEY_CHARS or not model.KEY_CHARACTERS.issuperset(prefix):
        raise Misused(f"no key can begin with {prefix!r}: use the characters a-z A-Z 0-9 - _ : . and space")
    return [("prefix", prefix)] if prefix else []


def _parameters(meta: Mapping[str, str]) -> list[tuple[str, str]]:
    for key, value in meta.items():
        if not 1 <= len(key) <= model.MAX_KEY_CHARS or not model.KEY_CHARACTERS.issuperset(key):
            raise Misused(f"{key!r} is not a key: use 1 to 243 characters a-z A-Z 0-9 - _ : . and space")
        if "\0" in value:
            raise Misused(f"the value of {key!r} contains a NUL")
    if not meta:
        raise Misused("there is no key to set")
    return [(f"meta.{key}", value) for key, value in meta.items()]


def _cluster_name(name: str) -> str:
    characters = model.KEY_CHARACTERS - set(": ")
    if not 1 <= len(name) <= 64 or not characters.issuperset(name) or not name.strip("."):
        raise Misused(f"{name!r} is not a valid cluster name: use 1 to 64 characters a-z A-Z 0-9 - _ .")
    return name
