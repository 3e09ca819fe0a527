# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Sends a call until it is answered: chooses the server, repeats failures, and explains refusals. Knows no call by name.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from peerdata.guest import backoff, wire
from peerdata.guest.errors import GuestError, Misused, NoService, NotReached, Refused

T = TypeVar("T")

Exchange = Callable[[wire.Server, str, str, float], wire.Answer]

ROOT = "/openstack/latest/"
ANSWER_TIMEOUT_S = 40.0
"""For one answer: haproxy gives up after 32 s."""
MIN_ANSWER_TIMEOUT_S = 5.0
"""For one answer when the deadline is near or over."""
MAX_QUERY_BYTES = 14_000
"""haproxy's limit for the request line, less the rest of that line."""
FRESH_S = 120.0
"""A kept refusal whose time differs from ours by at most this belongs to the call that was just refused."""
TRANSIENT_STATUSES = (400, 401, 403, 404)
"""What an agent, nova or a service that is being replaced may send for a while, even to a known instance."""


def _unchanged(document: Any) -> Any:
    return document


def chance() -> float:
    """A random number from 0 to 1, without the 5 ms that importing `random` takes."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


class Client:
    """
    Calls one metadata service, and repeats what fails.

    Args:
        url, source: See `wire.servers`.
        exchange: Sends one request; the seam for tests.
        clock: Seconds; only differences count.
        notice: Called before each repeat, with a message for a person.
    """

    def __init__(
        self,
        url: str = "",
        *,
        source: str = "",
        exchange: Exchange = wire.exchange,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = chance,
        now: Callable[[], float] = time.time,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.servers = wire.servers(url, source)
        """In the order in which they are tried; the one that answered last comes first."""
        self.clock = clock
        self.sleep = sleep
        self.notice = notice
        self.local_address = ""
        """The address of this machine on the last connection that was answered."""
        self._exchange = exchange
        self._chance = chance
        self._now = now
        self._asked_at: deque[float] = deque(maxlen=backoff.MAX_IN_WINDOW)

    def ask(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        *,
        deadline: float | None,
        read: Callable[[Any], T] = _unchanged,
        was_answered: bool = False,
    ) -> T:
        """
        Send a call until it is answered with 200, and return what *read* makes of the JSON.

        Args:
            path: The part after ``/openstack/latest/``, already escaped.
            query: Parameters, not escaped.
            deadline: By `clock`. Failures are repeated until then, and a last time at it; None: without end.
            read: Raises NotReached if the JSON is not the expected answer; that counts as a failure like any other.
            was_answered: The same call was answered before, so the service knows this instance. A refusal without a
                reason of the service's own then comes from the agent or nova, may pass, and is repeated too.

        Raises:
            NotReached: the deadline has passed; the message is that of the last failure.
            Refused, NoService: see there.
            Misused: the query is too long.
        """
        text = "&".join(f"{wire.quote(name)}={wire.quote(value)}" for name, value in query)
        if len(text) > MAX_QUERY_BYTES:
            raise Misused(f"the keys and values need a call of {len(text)} bytes; the limit is {MAX_QUERY_BYTES}")
        target = ROOT + path + (f"?{text}" if text else "")
        results: list[T] = []
        failures = 0
        while True:
            answer = self.fetch(
                method, target, deadline=deadline, accept=lambda body: results.append(read(json_of(body)))
            )
            if answer.status == 200:
                return results[-1]
            failure: GuestError
            try:
                failure = (self._explain_404 if answer.status == 404 else self._explain)(method, path, answer)
            except NotReached as error:
                failure = error  # unavailable again before the refusal could be explained
            if not (isinstance(failure, NotReached) or (was_answered and _may_pass(failure))):
                raise failure
            failures += 1
            self._pause(failure, failures, deadline)

    def fetch(
        self,
        method: str,
        target: str,
        *,
        deadline: float | None,
        accept: Callable[[bytes], object] = lambda _: None,
    ) -> wire.Answer:
        """
        Send a request until its answer is final: a refusal, or a 200 whose body *accept* takes.

        Args:
            accept: Raises NotReached for a body that counts as a failure.

        Raises:
            NotReached: there was no final answer until *deadline*, nor at it.
        """
        failures = 0
        while True:
            try:
                answer = self._ask_once(method, target, deadline)
                if backoff.is_final(answer.status):
                    return answer
                if answer.status == 200:
                    accept(answer.body)
                    return answer
                failure = NotReached(f"the service answered {answer.status}{_reason_of(answer)}")
                too_many = answer.status == backoff.TOO_MANY
            except NotReached as error:
                failure, too_many = error, False
            failures += 1
            self._pause(failure, failures, deadline, too_many=too_many)

    def _pause(self, failure: GuestError, failures: int, deadline: float | None, *, too_many: bool = False) -> None:
        """Sleep until the next attempt; raise *failure* if the deadline has passed. *failures*: how many in a row."""
        pause = backoff.pause_s(failures, self._chance(), too_many=too_many)
        if deadline is not None:
            remaining = deadline - self.clock()
            if remaining <= 0:
                raise failure
            pause = min(pause, remaining)  # the last attempt is at the deadline
        self.notice(f"{failure.message}; again in {pause:.0f} s")
        self.sleep(pause)

    def _ask_once(self, method: str, target: str, deadline: float | None) -> wire.Answer:
        """Send the request to the server that answered last, or to the first that accepts a connection."""
        hold_s = backoff.rate_limit_s(self._asked_at, self.clock()) if self.servers[0].is_link_local else 0.0
        if hold_s:
            self.sleep(hold_s)
        self._asked_at.append(self.clock())
        timeout_s = ANSWER_TIMEOUT_S
        if deadline is not None:
            timeout_s = min(ANSWER_TIMEOUT_S, max(MIN_ANSWER_TIMEOUT_S, deadline - self.clock()))
        first: NotReached | None = None
        for server in list(self.servers):
            try:
                answer = self._exchange(server, method, target, timeout_s)
            except wire.NotConnected as error:
                first = first or error
                continue
            self.servers.remove(server)
            self.servers.insert(0, server)
            self.local_address = answer.local_address
            return answer
        raise first or NotReached("there is no metadata address on this machine")

    def _explain(self, method: str, path: str, answer: wire.Answer) -> Refused:
        """Give the reason of a refusal; where an old agent of neutron replaced it by a page, fetch it again."""
        error = error_of(answer.body)
        if error is None:
            error = self._last_error(f"{method} {ROOT}{path}")
        if error is None:
            return Refused(f"refused with status {answer.status}; the reason was lost on the way", status=answer.status)
        return Refused(error["message"], status=answer.status, code=error["code"])

    def _last_error(self, call: str) -> dict[str, str] | None:
        try:
            answer = self._ask_once("GET", f"{ROOT}peer_data/last_error.json", self.clock() + MIN_ANSWER_TIMEOUT_S)
        except NotReached:
            return None
        error = error_of(answer.body) if answer.status == 200 else None
        if error is None or error.get("call") != call:
            return None
        if abs(seconds_of(error.get("time", "")) - self._now()) > FRESH_S:  # or one of the two clocks is wrong
            return {
                **error,
                "message": f"{error['message']} (the last known reason, of {error.get('time')})",
            }
        return error

    def _explain_404(self, method: str, path: str, answer: wire.Answer) -> Refused | NoService:
        """Tell apart: nova does not know this instance, or the service does not know this call."""
        error = error_of(answer.body)
        if error is not None and error["code"].startswith("peerdata.identity."):
            return Refused(error["message"], status=404, code=error["code"])
        listing = self._listing()
        if listing.status != 200:
            return self._explain_no_listing(listing)
        listed = [entry.rstrip("/") for entry in listing.body.decode("utf-8", "replace").split()]
        if "shared.json" not in listed:
            return NoService("the metadata service here is without peerdata: /openstack/latest/ has no shared.json")
        if path.partition("/")[0] not in listed:
            return NoService(f"the peerdata here is too old for {method} {path}")
        return Refused("nova does not know this instance in this project; nothing was done", status=404)

    def _explain_no_listing(self, answer: wire.Answer) -> Refused | NoService:
        """Tell apart: the service does not know this instance, or this is not a listener for instances."""
        server = self.servers[0]
        error = error_of(answer.body)
        if error is not None and error["code"] == "peerdata.path.unknown":
            return NoService(f"{server} is another listener, not the one for instances: {error['message']}")
        if server.is_link_local:
            return Refused("the metadata service does not know this instance", status=404)
        return Refused(f"{server} does not know this instance, or is not a metadata service", status=404)

    def _listing(self) -> wire.Answer:
        """The entries at ``/openstack/latest/``: one on each line, some with a slash at their end."""
        return self.fetch("GET", ROOT, deadline=self.clock() + MIN_ANSWER_TIMEOUT_S)


def _may_pass(failure: GuestError) -> bool:
    """Whether the refusal came from the agent or nova, or from the service because nova did not confirm the caller."""
    if isinstance(failure, Refused):
        reason_is_ours = failure.code and not failure.code.startswith("peerdata.identity.")
        return failure.status in TRANSIENT_STATUSES and not reason_is_ours
    return isinstance(failure, NoService)


def json_of(body: bytes) -> Any:
    """
    Parse the body of a 200.

    Raises:
        NotReached: it is not JSON.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise NotReached("the answer was cut, or is not from peerdata") from None


def error_of(body: bytes) -> dict[str, str] | None:
    """The ``error`` object of peerdata in *body*: ``code``, ``message`` and its other texts; None if there is none."""
    try:
        error = json.loads(body)["error"]
        facts = {name: value for name, value in error.items() if isinstance(value, str)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return facts if "code" in facts and "message" in facts else None


def seconds_of(time_text: str) -> float:
    """Seconds since 1970 of a time such as ``2026-11-22T10:02:11Z``; 0 for any other text."""
    try:
        import calendar

        return float(calendar.timegm(time.strptime(time_text, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return 0.0


def _reason_of(answer: wire.Answer) -> str:
    error = error_of(answer.body)
    return f": {error['message']}" if error else ""
