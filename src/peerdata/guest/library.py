# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The library: the calls of docs/protocol.md as methods, each asked until it is answered. Synchronous, as a start script.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from peerdata.guest import client, memory, wire, words
from peerdata.guest.errors import Misused, NotYet, Unusable
from peerdata.guest.words import KEY_CHARACTERS, MOST_KEY_CHARS, Me, PeerList, Verdict

if TYPE_CHECKING:
    from peerdata.guest.addresses import AddressesOf

T = TypeVar("T")

HOLD_S = 20.0
"""How long a poll may be held by the service, where its operator lets it: well within haproxy's 32 s."""
LEAST_POLL_S = 1.0
"""Between two polls, whatever the service asks for; its own least is the same (docs/protocol.md, "Follow changes")."""
LEAST_POLL_OF_STAND_IN_S = 0.01
MOST_SIZE = 1000
"""Of a cluster (docs/protocol.md, "Form a cluster")."""


class Guest:
    """
    This instance, speaking to the metadata service.

    Every call may be repeated: what is set is set once, and the same again changes nothing.

    Args:
        url: Instead of the metadata addresses; default ``PEERDATA_URL`` of the environment. ``PEERDATA_SOURCE`` is the
            address to ask from, for laboratories.
        timeout_s: How long a call that is not answered is tried again, in seconds; None: for ever.
        state: Directory for the last good list; default see `memory.default_directory`, empty: none is kept.
        progress: Told what is being waited for, in words for a person.
        exchange, clock, sleep, chance, now: Seams for tests.

    Raises:
        Misused: *url* is no URL.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float | None = 120.0,
        state: str | None = None,
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
        self.memory = memory.Memory(
            memory.default_directory(dict(os.environ)) if state is None else state, f"{url} {source}".strip()
        )
        self._progress = progress
        self._last_deadline: float | None = None
        self._clock = clock
        self._sleep = sleep
        self._now = now

    def end_within(self, timeout_s: float) -> None:
        """No call is tried longer than so many seconds from now, whatever its own time: several share one timeout."""
        self._last_deadline = self._clock() + timeout_s

    def publish(self, meta: Mapping[str, str], *, private: bool = False) -> Me:
        """
        Set every key of *meta*, once and for good, or none of them.

        Args:
            meta: 1 to 243 of ``a-z A-Z 0-9 - _ : .`` and space for a key, at most 255 characters for a value.
            private: Seen by this instance alone, instead of the whole project.

        Returns:
            This instance, with all that it has published by now.

        Raises:
            Refused: a key holds another value (``peerdata.key.taken``), or too many.
            NotReached: no answer came; the keys may be set or not, and the same call again makes sure.
            NoService, Misused.
        """
        query = [] if private else [("shared", "project")]
        return self._ask("POST", "metadata", words.read_me, query + _parameters(meta))

    def peers(self, prefix: str = "") -> PeerList:
        """
        Everybody who shares a key, this instance included, in the order that all readers see.

        Args:
            prefix: Only keys that begin so, and who has such.

        Raises:
            NotReached: there is no answer; `last_good` may have an older list. Never an empty one instead.
            Refused, NoService, Misused.
        """
        peers = self._ask("GET", "peer_data.json", partial(words.apply, None), _following(prefix))
        self.memory.keep_list(prefix, peers, self._now())
        return peers

    def last_good(self, prefix: str = "") -> PeerList | None:
        """The last list that this machine read with that *prefix*; its ``read_at`` says when."""
        return self.memory.last_list(prefix)

    def follow(self, prefix: str = "", *, timeout_s: float | None = None) -> Iterator[PeerList]:
        """
        The list now, and again each time that it has changed.

        The service says how often it is asked. While it is away, it is asked on; what was yielded last stays good. Once
        it has answered, that goes for its 401, 403 and 404 too, and for a 400 without a reason of peerdata's.

        Args:
            timeout_s: After so many seconds it ends; None: never.

        Raises:
            NotReached: only with *timeout_s*: nothing was answered when it was over.
            Refused, NoService: the first answer; a later one only with *timeout_s*, when that was over.
            Misused.
        """
        deadline = self._deadline(timeout_s)
        known: PeerList | None = None
        while True:
            query = _following(prefix)
            if known is not None:
                hold_s = HOLD_S if deadline is None else min(HOLD_S, max(0.0, deadline - self._clock()))
                query += [("since", str(known.revision)), ("wait", f"{hold_s:.1f}")]
            before = known
            known = self.client.ask(
                "GET",
                "peer_data.json",
                query,
                deadline=deadline,
                read=partial(words.apply, before),
                was_answered=before is not None,
            )
            if before is None or known.peers != before.peers:
                self.memory.keep_list(prefix, known, self._now())
                yield known
            if not self._rest(known.poll_after_s, deadline):
                return

    def wait(self, count: int, prefix: str = "", *, timeout_s: float | None = 600.0) -> PeerList:
        """
        The list, once so many are on it, this instance included if it shares.

        Raises:
            NotYet: the time was over before.
            NotReached, Refused, NoService.
        """
        there = 0
        for peers in self.follow(prefix, timeout_s=timeout_s):
            there = len(peers.peers)
            if there >= count:
                return peers
            self._progress(f"{there} of {count} peers")
        raise NotYet(f"only {there} of {count} peers after {timeout_s:.0f} s")

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
        Put this instance on the roll of *cluster*, and learn what it is to do.

        Args:
            cluster: 1 to 64 of ``a-z A-Z 0-9 - _ .``.
            size: How many the cluster is planned for; with *founders* and *closed* the same for all members.
            founders: ``one`` starts it and the others join, or ``all`` start it together.
            closed: Only the first *size* are let in.
            meta: Keys to publish in the same call, shared with the project.
            until_ready: Ask on while the verdict is ``wait``.

        Returns:
            The verdict. With ``bootstrap``, confirm by `formed` once the cluster stands.

        Raises:
            NotYet: the verdict was still ``wait`` when the time was over.
            Refused: another size or mode (``peerdata.cluster.taken``), or what `publish` refuses.
            NotReached, NoService, Misused.
        """
        if not 1 <= size <= MOST_SIZE:
            raise Misused(f"a cluster is planned for 1 to {MOST_SIZE}, not {size}")
        if founders not in ("one", "all"):
            raise Misused(f"founders are 'one' or 'all', not '{founders}'")
        path = f"cluster/{_cluster(cluster)}.json"
        query = [("size", str(size)), ("founders", founders)]
        query += [("closed", "true")] if closed else []
        query += _parameters(meta) if meta else []
        deadline = self._deadline(timeout_s)
        was_answered = False
        while True:
            verdict = self.client.ask(
                "POST",
                path,
                query,
                deadline=deadline,
                read=lambda it: words.read_verdict(it, cluster),
                was_answered=was_answered,
            )
            was_answered = True
            if verdict.verdict == "bootstrap":
                self.memory.keep_term(cluster, verdict.term)
            if verdict.verdict != "wait" or not until_ready:
                return verdict
            self._progress(f"{cluster}: {verdict.why}")
            if not self._rest(verdict.poll_after_s, deadline):
                raise NotYet(f"{cluster}: still to wait after {timeout_s:.0f} s: {verdict.why}")

    def formed(self, cluster: str, term: int | None = None) -> Verdict:
        """
        Confirm that the cluster stands, which this instance was told to found.

        Args:
            term: Of the verdict; default that of the last ``bootstrap`` that this machine was told.

        Raises:
            Refused: this instance is no founder of that term (``peerdata.cluster.not_founder``): what it started is to
                be thrown away.
            Misused: no term is known.
            NotReached, NoService.
        """
        if term is None:
            term = self.memory.last_term(cluster)
        if term is None:
            raise Misused(f"this machine remembers no verdict to found {cluster}: give the term of the verdict")
        path = f"cluster/{_cluster(cluster)}/formed"
        return self._ask("POST", path, lambda it: words.read_verdict(it, cluster), [("term", str(term))])

    def state(self, cluster: str) -> Verdict:
        """How *cluster* stands, without joining it."""
        path = f"cluster/{_cluster(cluster)}.json"
        return self._ask("GET", path, lambda it: words.read_verdict(it, cluster))

    def whoami(self) -> Me:
        """This instance, as nova knows it, with what it has published."""
        return self._ask("GET", "meta_data.json", words.read_me)

    def addresses(self, addresses_of: AddressesOf | None = None) -> list[str]:
        """
        This instance's fixed addresses, see `addresses.fixed_addresses`.

        Stand-alone there is no network_data.json; then it is the address from which the service is reached.

        Args:
            addresses_of: Default: what this machine's interfaces have.

        Raises:
            Unusable: there is none.
            NotReached, Refused, NoService.
        """
        target = f"{client.ROOT}network_data.json"
        answer = self.client.fetch("GET", target, deadline=self._deadline(self.timeout_s), accept=client.json_of)
        if answer.status == 404:
            own = self.client.local_address.partition("%")[0]
            if own.lower().startswith("fe80:"):
                raise Unusable("there is no network_data.json, and the service is reached from a link-local address")
            return [own]
        if answer.status != 200:
            raise Unusable(f"network_data.json is refused with status {answer.status}")
        from peerdata.guest.addresses import addresses_of_interface, fixed_addresses  # only here: a start is short

        try:
            found = fixed_addresses(client.json_of(answer.body), addresses_of or addresses_of_interface)
        except (ValueError, TypeError, AttributeError) as error:
            raise Unusable(f"network_data.json cannot be understood: {error}") from error
        if not found:
            raise Unusable("network_data.json names no address, and no interface that has one")
        return found

    def _ask(self, method: str, path: str, read: Callable[[Any], T], query: list[tuple[str, str]] | None = None) -> T:
        return self.client.ask(method, path, query or [], deadline=self._deadline(self.timeout_s), read=read)

    def _deadline(self, timeout_s: float | None) -> float | None:
        told = [] if timeout_s is None else [self._clock() + timeout_s]
        return min(told + ([] if self._last_deadline is None else [self._last_deadline]), default=None)

    def _rest(self, pause_s: float, deadline: float | None) -> bool:
        """Sleep as long as the service asks to, or to the deadline for a last look; False where that is over."""
        pause_s = max(pause_s, LEAST_POLL_OF_STAND_IN_S if self.client.places[0].is_stand_in else LEAST_POLL_S)
        remaining = pause_s if deadline is None else deadline - self._clock()
        if remaining <= 0 and deadline is not None:
            return False
        self._sleep(min(pause_s, remaining))
        return True


def _following(prefix: str) -> list[tuple[str, str]]:
    if len(prefix) > MOST_KEY_CHARS or not KEY_CHARACTERS.issuperset(prefix):
        raise Misused(f"{prefix!r} is the beginning of no key: of the characters a-z A-Z 0-9 - _ : . and space")
    return [("prefix", prefix)] if prefix else []


def _parameters(meta: Mapping[str, str]) -> list[tuple[str, str]]:
    for key, value in meta.items():
        if not 1 <= len(key) <= MOST_KEY_CHARS or not KEY_CHARACTERS.issuperset(key):
            raise Misused(f"{key!r} is not a key: 1 to 243 of the characters a-z A-Z 0-9 - _ : . and space")
        if "\0" in value:
            raise Misused(f"the value of {key!r} holds a NUL")
    if not meta:
        raise Misused("there is no key to set")
    return [(f"meta.{key}", value) for key, value in meta.items()]


def _cluster(name: str) -> str:
    if not 1 <= len(name) <= 64 or not (KEY_CHARACTERS - set(": ")).issuperset(name) or not name.strip("."):
        raise Misused(f"{name!r} is not a cluster's name: 1 to 64 of the characters a-z A-Z 0-9 - _ .")
    return name
