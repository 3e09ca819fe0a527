# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Guests that publish, read and follow at the same time, through any of the servers, and note what they are told.

Two clients are one instance: they repeat each other's calls and fight for the same keys. Who gives up early, or loses
the connection, does not know what was done, and most often asks again, as a guest would.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from .checker import SILENT
from .history import Kind, Operation, Outcome, Peer, Shown

PREFIX = "from_server_"

PATIENCE_S = 25.0
"""Longer than any refusal may take: who waits for so long has found a server that is silent."""

HURRIES = 0.15
"""How many requests are given up early."""

THINKS_S = 0.04
"""Between two requests of one client, on average."""


@dataclass(frozen=True)
class Instance:
    """Who asks: known by its address."""

    project: str
    uuid: str
    address: str


@dataclass
class Recorder:
    """Takes what clients did, from any thread."""

    _operations: list[Operation] = field(default_factory=list)
    _peers: dict[Peer, Peer] = field(default_factory=dict)
    published: int = 0
    """How many publishes were answered 200, repeats included; about, as threads count it without a lock."""

    def note(self, one: Operation) -> None:
        """*one* has ended."""
        self._operations.append(one)
        self.published += one.kind is Kind.PUBLISH and one.outcome is Outcome.OK

    def peer(self, peer: Peer) -> Peer:
        """The same for everyone who saw it, so that a long history fits into memory."""
        return self._peers.setdefault(peer, peer)

    def operations(self) -> list[Operation]:
        """All so far, numbered in the order in which they began."""
        ordered = sorted(self._operations, key=lambda one: one.invoked)
        return [replace(one, number=number) for number, one in enumerate(ordered)]


@dataclass(frozen=True)
class Ask:
    """A request, before it is known what comes of it."""

    instance: Instance
    kind: Kind
    meta: tuple[tuple[str, str], ...] = ()
    shared: bool = True
    since: int | None = None
    body: bool = False
    wait_s: float = 0.0

    @property
    def method(self) -> str:
        return "POST" if self.kind is Kind.PUBLISH else "GET"

    @property
    def path(self) -> str:
        """The target of the request."""
        query: list[tuple[str, str]] = []
        page = self.kind.value.partition("?")[0]
        if self.kind is Kind.PUBLISH:
            page = "metadata"
            query += [("shared", "project")] * self.shared
            query += [(f"meta.{key}", value) for key, value in self.meta] * (not self.body)
        if self.since is not None:
            query.append(("since", str(self.since)))
        if self.wait_s:
            query.append(("wait", f"{self.wait_s:.1f}"))
        return f"/openstack/latest/{page}" + (f"?{urlencode(query)}" if query else "")

    @property
    def content(self) -> bytes | None:
        """The body of the request."""
        return json.dumps({"meta": dict(self.meta)}).encode() if self.body else None


@dataclass
class Shelf:
    """What the clients of one instance know together: calls to repeat, the key to fight for, revisions to follow."""

    calls: list[Ask] = field(default_factory=list)
    contested: int = 0
    revisions: list[int] = field(default_factory=list)


class Line:
    """
    One client's way to the servers; it keeps connections open.

    Args:
        number: Of the client.
        ports: Of the servers, on 127.0.0.1.
    """

    def __init__(self, number: int, ports: Sequence[int], recorder: Recorder) -> None:
        self._number = number
        self._ports = ports
        self._recorder = recorder
        self._open: dict[tuple[int, str], http.client.HTTPConnection] = {}

    def ask(self, ask: Ask, server: int, *, patience_s: float = PATIENCE_S) -> Operation:
        """Ask *server*; the operation is noted, and returned."""
        began = time.monotonic()
        status, code, body = self._exchange(ask, server, patience_s)
        ended = time.monotonic()
        outcome, code, shown = _understand(ask, status, code, body, self._recorder.peer)
        one = Operation(
            -1,
            self._number,
            server,
            ask.instance.project,
            ask.instance.uuid,
            ask.kind,
            began,
            ended,
            outcome,
            status,
            code,
            ask.meta,
            ask.shared,
            ask.since,
            shown,
        )
        self._recorder.note(one)
        return one

    def close(self) -> None:
        """Hang up everywhere."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _exchange(self, ask: Ask, server: int, patience_s: float) -> tuple[int | None, str, bytes]:
        """Status, the client's own word where there is none, and body."""
        where = (server, ask.instance.address)
        connection = self._open.pop(where, None)
        try:
            if connection is None:
                connection = http.client.HTTPConnection(
                    "127.0.0.1", self._ports[server], timeout=patience_s, source_address=(where[1], 0)
                )
                connection.connect()
        except OSError:
            return None, "not connected", b""
        assert connection.sock
        connection.sock.settimeout(patience_s)
        try:
            connection.request(ask.method, ask.path, body=ask.content)
            response = connection.getresponse()
            body = response.read()
        except TimeoutError:
            connection.close()
            return None, SILENT if patience_s >= PATIENCE_S else "given up", b""
        except (OSError, http.client.HTTPException):
            connection.close()
            return None, "connection lost", b""
        if response.will_close:
            connection.close()
        else:
            self._open[where] = connection
        return response.status, "", body


def _understand(
    ask: Ask, status: int | None, code: str, body: bytes, share: Callable[[Peer], Peer]
) -> tuple[Outcome, str, Shown | None]:
    """What the answer says."""
    if status is None:
        # What was never sent was never done.
        return (Outcome.REFUSED if code == "not connected" else Outcome.UNKNOWN), code, None
    try:
        said = json.loads(body)
        if status == 200:
            return Outcome.OK, "", _show(ask, said, share)
        error = said["error"]
        known = status in (409, 503) and "not known" not in error["message"]
        return (Outcome.REFUSED if known else Outcome.UNKNOWN), error["code"], None
    except (ValueError, KeyError, TypeError, AttributeError):
        return Outcome.UNKNOWN, f"not understood: {body[:200]!r}", None


def _show(ask: Ask, said: Any, share: Callable[[Peer], Peer]) -> Shown:
    if ask.kind in (Kind.PUBLISH, Kind.OWN):
        own = {key: value for key, value in said.get("meta", {}).items() if key.startswith(PREFIX)}
        return Shown((share(Peer(said["uuid"], _pairs(own))),))
    if ask.kind is Kind.SHARED:
        return Shown(tuple(share(Peer(one["uuid"], _pairs(one["meta"]))) for one in said))
    peers = (share(Peer(one["uuid"], _pairs(one["meta"]), one["joined"], one["revision"])) for one in said["peers"])
    return Shown(tuple(peers), said["revision"], said["full"], tuple(said["removed"]))


def _pairs(meta: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key.removeprefix(PREFIX), value) for key, value in meta.items()))


class Client(threading.Thread):
    """
    One connection of an instance, busy until it is told to stop.

    Args:
        number: Of the client, from 0.
        who: The instance that it is at a moment, and what that one's clients know.
        ports: Of the servers.
        seed: Of its choices.
        stop: Set when it is enough.
    """

    def __init__(
        self,
        number: int,
        who: Callable[[], tuple[Instance, Shelf]],
        ports: Sequence[int],
        recorder: Recorder,
        *,
        seed: str,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self._number = number
        self._who = who
        self._servers = range(len(ports))
        self._line = Line(number, ports, recorder)
        self._random = random.Random(f"{seed} client {number}")
        self._stopped = stop
        self._made = 0
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Ask until stopped."""
        try:
            while not self._stopped.wait(self._random.expovariate(1 / THINKS_S)):
                self._turn()
        except BaseException as error:
            self.failed = error
            raise
        finally:
            self._line.close()

    def _turn(self) -> None:
        instance, shelf = self._who()
        ask = self._choose(instance, shelf)
        one = self._ask(ask)
        if one.shown and one.shown.revision is not None:
            shelf.revisions.append(one.shown.revision)
        if one.kind is not Kind.PUBLISH:
            return
        if one.outcome is Outcome.UNKNOWN and self._random.random() < 0.8 and not self._stopped.is_set():
            one = self._ask(ask)
        if one.outcome is Outcome.OK:
            # A look at once, which tells the revision of what was published, before there is more.
            self._ask(Ask(instance, self._random.choice((Kind.PEER_DATA, Kind.PEER_DATA, Kind.SHARED))))

    def _ask(self, ask: Ask) -> Operation:
        hurried = self._random.random() < HURRIES
        patience_s = self._random.choice((0.003, 0.01, 0.05, 0.5)) if hurried else PATIENCE_S
        return self._line.ask(ask, self._random.choice(self._servers), patience_s=patience_s)

    def _choose(self, instance: Instance, shelf: Shelf) -> Ask:
        kind = self._random.choices(
            (Kind.PUBLISH, Kind.SHARED, Kind.PEER_DATA, Kind.FOLLOW, Kind.OWN), (38, 20, 10, 25, 7)
        )[0]
        if kind is Kind.PUBLISH:
            return self._choose_publish(instance, shelf)
        if kind is Kind.FOLLOW:
            newest = shelf.revisions[-8:] or [0]
            since = self._random.choice([0, *newest * 3, *shelf.revisions[-200:]])
            return Ask(instance, kind, since=since, wait_s=self._random.choice((0, 0, 0, 0.3)))
        return Ask(instance, kind)

    def _choose_publish(self, instance: Instance, shelf: Shelf) -> Ask:
        if shelf.calls and self._random.random() < 0.15:
            again = self._random.choice(shelf.calls[-5:])
            return replace(again, body=self._random.random() < 0.3)
        self._made += 1
        name = f"c{self._number}.{self._made}"
        keys = [f"{name}-{number}" for number in range(self._random.choice((1, 1, 2, 3)))]
        if self._random.random() < 0.35:
            # The other client of this instance may be at the same key, or the key may long be taken.
            keys[0] = f"contested-{shelf.contested - self._random.choice((0, 0, 0, 1))}"
            shelf.contested += self._random.random() < 0.5
        meta = tuple(sorted((key, f"{instance.project}/{name}.{number}") for number, key in enumerate(keys)))
        shared = self._random.random() < 0.85
        call = Ask(instance, Kind.PUBLISH, meta, shared, body=self._random.random() < 0.3)
        shelf.calls.append(call)
        return call
