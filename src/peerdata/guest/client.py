# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Asks the service until it has answered: which address, how often, what a status means. Knows no call by name.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from peerdata.guest import pace, wire
from peerdata.guest.errors import GuestError, Misused, NoService, NotReached, Refused

T = TypeVar("T")

Exchange = Callable[[wire.Place, str, str, float], wire.Answer]

ROOT = "/openstack/latest/"
ANSWER_S = 40.0
"""For one answer: haproxy gives one up after 32 s."""
LEAST_ANSWER_S = 5.0
"""Even when the time is nearly over."""
MOST_QUERY_BYTES = 14_000
"""What haproxy takes as one line, less its surroundings."""
FRESH_S = 120.0
"""A refusal that was kept with a time so near to ours is that of the call just made."""
MAY_PASS = (400, 401, 403, 404)
"""What an agent, nova or a service that is being replaced may say for a while to who is known there."""


def _as_it_is(document: Any) -> Any:
    return document


def chance() -> float:
    """0 to 1, at random; without the 5 ms that it takes to import `random`."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


class Client:
    """
    One service, asked with patience.

    Args:
        url, source: See `wire.places`.
        exchange: Asks once; the seam for tests.
        clock: Seconds; only differences count.
        notice: Told of each failure that will be tried again, in words for a person.
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
        self.places = wire.places(url, source)
        self.clock = clock
        self.sleep = sleep
        self.notice = notice
        self.local_address = ""
        """This end of the last connection that was answered."""
        self._exchange = exchange
        self._chance = chance
        self._now = now
        self._asked_at: deque[float] = deque(maxlen=pace.MOST_IN_WINDOW)

    def ask(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        *,
        deadline: float | None,
        read: Callable[[Any], T] = _as_it_is,
        was_answered: bool = False,
    ) -> T:
        """
        What *read* makes of the answer's JSON, once there is one.

        Args:
            path: Behind ``/openstack/latest/``; each part already fit for a path.
            query: Parameters, unescaped.
            deadline: By `clock`, until when failures are tried again, the last time then; None: for ever.
            read: Raises NotReached where the JSON is none of ours; that is a failure as any other.
            was_answered: The same call was answered before. Then it is known here, and a refusal without a reason of
                ours is tried again too: it is the agent's or nova's, and may pass.

        Raises:
            NotReached: the time is over; it says what went wrong last.
            Refused, NoService: see there.
            Misused: the query is longer than gets through.
        """
        text = "&".join(f"{wire.quote(name)}={wire.quote(value)}" for name, value in query)
        if len(text) > MOST_QUERY_BYTES:
            raise Misused(f"the keys and values make a call of {len(text)} bytes; {MOST_QUERY_BYTES} get through")
        target = ROOT + path + (f"?{text}" if text else "")
        told: list[T] = []
        failures = 0
        while True:
            answer = self.fetch(method, target, deadline=deadline, accept=lambda body: told.append(read(json_of(body))))
            if answer.status == 200:
                return told[-1]
            failure: GuestError
            try:
                failure = (self._explain_404 if answer.status == 404 else self._explain)(method, path, answer)
            except NotReached as error:
                failure = error  # away again before it could be explained
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
        The first answer that is final: a refusal, or a 200 for whose body *accept* does not raise NotReached.

        Raises:
            NotReached: there was none until *deadline*, nor at it.
        """
        failures = 0
        while True:
            try:
                answer = self._ask_once(method, target, deadline)
                if pace.is_final(answer.status):
                    return answer
                if answer.status == 200:
                    accept(answer.body)
                    return answer
                failure = NotReached(f"the service answers {answer.status}{_told(answer)}")
                too_many = answer.status == pace.TOO_MANY
            except NotReached as error:
                failure, too_many = error, False
            failures += 1
            self._pause(failure, failures, deadline, too_many=too_many)

    def _pause(self, failure: GuestError, failures: int, deadline: float | None, *, too_many: bool = False) -> None:
        """Sleep until it is to be tried again; at the deadline raise *failure*, the last of so many in a row."""
        pause = pace.pause_s(failures, self._chance(), too_many=too_many)
        if deadline is not None:
            remaining = deadline - self.clock()
            if remaining <= 0:
                raise failure
            pause = min(pause, remaining)  # a last time, at the deadline
        self.notice(f"{failure.message}; again in {pause:.0f} s")
        self.sleep(pause)

    def _ask_once(self, method: str, target: str, deadline: float | None) -> wire.Answer:
        """Ask the place that answered last, or else each in turn until one takes the connection."""
        hold_s = pace.pace_s(self._asked_at, self.clock()) if self.places[0].is_link_local else 0.0
        if hold_s:
            self.sleep(hold_s)
        self._asked_at.append(self.clock())
        timeout_s = ANSWER_S
        if deadline is not None:
            timeout_s = min(ANSWER_S, max(LEAST_ANSWER_S, deadline - self.clock()))
        first: NotReached | None = None
        for place in list(self.places):
            try:
                answer = self._exchange(place, method, target, timeout_s)
            except wire.NotConnected as error:
                first = first or error
                continue
            self.places.remove(place)
            self.places.insert(0, place)
            self.local_address = answer.local_address
            return answer
        raise first or NotReached("there is no address to ask")

    def _explain(self, method: str, path: str, answer: wire.Answer) -> Refused:
        """Why; old agents of neutron put a page of their own in its place, and then the service is asked again."""
        error = error_of(answer.body)
        if error is None:
            error = self._last_error(f"{method} {ROOT}{path}")
        if error is None:
            return Refused(f"refused with status {answer.status}; the reason got lost on the way", status=answer.status)
        return Refused(error["message"], status=answer.status, code=error["code"])

    def _last_error(self, call: str) -> dict[str, str] | None:
        try:
            answer = self._ask_once("GET", f"{ROOT}peer_data/last_error.json", self.clock() + LEAST_ANSWER_S)
        except NotReached:
            return None
        error = error_of(answer.body) if answer.status == 200 else None
        if error is None or error.get("call") != call:
            return None
        if abs(seconds_of(error.get("time", "")) - self._now()) > FRESH_S:  # or one of the two clocks is wrong
            return {
                **error,
                "message": f"{error['message']} (so at {error.get('time')}, the last reason that is known)",
            }
        return error

    def _explain_404(self, method: str, path: str, answer: wire.Answer) -> Refused | NoService:
        """Nova's word that this instance is none of the project's, or nobody's who knows this call?"""
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
        """Nobody's instance asks there, or nobody should ask there at all?"""
        place = self.places[0]
        error = error_of(answer.body)
        if error is not None and error["code"] == "peerdata.path.unknown":
            return NoService(f"{place} is not where instances ask, but another listener: {error['message']}")
        if place.is_link_local:
            return Refused("the metadata service does not know this instance", status=404)
        return Refused(f"{place} does not know this instance, or is no metadata service", status=404)

    def _listing(self) -> wire.Answer:
        """What stands at ``/openstack/latest/``: the entries, each on a line, a slash behind some."""
        return self.fetch("GET", ROOT, deadline=self.clock() + LEAST_ANSWER_S)


def _may_pass(failure: GuestError) -> bool:
    """Whether it is an answer that the service itself did not give, or only because nova did not vouch for us."""
    if isinstance(failure, Refused):
        reason_is_ours = failure.code and not failure.code.startswith("peerdata.identity.")
        return failure.status in MAY_PASS and not reason_is_ours
    return isinstance(failure, NoService)


def json_of(body: bytes) -> Any:
    """
    The JSON of an answer that was good.

    Raises:
        NotReached: it is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise NotReached("the answer was cut, or is not peerdata's") from None


def error_of(body: bytes) -> dict[str, str] | None:
    """The ``error`` of an answer, where it has one of ours: ``code``, ``message``, and what else is text."""
    try:
        error = json.loads(body)["error"]
        facts = {name: value for name, value in error.items() if isinstance(value, str)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return facts if "code" in facts and "message" in facts else None


def seconds_of(time_text: str) -> float:
    """Seconds since 1970 of such as ``2026-11-22T10:02:11Z``; 0 for what is none."""
    try:
        import calendar

        return float(calendar.timegm(time.strptime(time_text, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return 0.0


def _told(answer: wire.Answer) -> str:
    error = error_of(answer.body)
    return f": {error['message']}" if error else ""
