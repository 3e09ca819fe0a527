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
from typing import Any

from peerdata.guest import pace, wire
from peerdata.guest.errors import Misused, NoService, NotReached, Refused

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

    def ask(self, method: str, path: str, query: Iterable[tuple[str, str]] = (), *, deadline: float | None) -> Any:
        """
        The JSON of the answer, once there is one.

        Args:
            path: Behind ``/openstack/latest/``; each part already fit for a path.
            query: Parameters, unescaped.
            deadline: By `clock`, until when failures are tried again, the last time then; None: for ever.

        Raises:
            NotReached: the time is over; it says what went wrong last.
            Refused, NoService: see there.
            Misused: the query is longer than gets through.
        """
        text = "&".join(f"{wire.quote(name)}={wire.quote(value)}" for name, value in query)
        if len(text) > MOST_QUERY_BYTES:
            raise Misused(f"the keys and values make a call of {len(text)} bytes; {MOST_QUERY_BYTES} get through")
        target = ROOT + path + (f"?{text}" if text else "")
        answer = self.fetch(method, target, deadline=deadline, accept=_is_json)
        if answer.status == 404:
            raise self._explain_404(method, path, answer)
        if answer.status != 200:
            raise self._explain(method, path, answer)
        return json.loads(answer.body)

    def fetch(
        self,
        method: str,
        target: str,
        *,
        deadline: float | None,
        accept: Callable[[bytes], bool] = lambda _: True,
    ) -> wire.Answer:
        """
        The first answer that is final: a 200 whose body *accept* takes, or a refusal.

        Raises:
            NotReached: there was none until *deadline*, nor at it.
        """
        failures = 0
        while True:
            try:
                answer = self._ask_once(method, target, deadline)
                if pace.is_final(answer.status) or (answer.status == 200 and accept(answer.body)):
                    return answer
                failure = NotReached(
                    "the answer was cut, or is not peerdata's"
                    if answer.status == 200
                    else f"the service answers {answer.status}{_told(answer)}"
                )
                too_many = answer.status == pace.TOO_MANY
            except NotReached as error:
                failure, too_many = error, False
            failures += 1
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
        listed = self.listing()
        if listed is None:
            return Refused("the metadata service does not know this instance", status=404)
        if "shared.json" not in listed:
            return NoService("the metadata service here is without peerdata: /openstack/latest/ has no shared.json")
        if path.partition("/")[0] not in listed:
            return NoService(f"the peerdata here is too old for {method} {path}")
        return Refused("nova does not know this instance in this project; nothing was done", status=404)

    def listing(self) -> list[str] | None:
        """The entries of ``/openstack/latest/``, without slashes; None where there is no such list."""
        answer = self.fetch("GET", ROOT, deadline=self.clock() + LEAST_ANSWER_S)
        if answer.status != 200:
            return None
        return [entry.rstrip("/") for entry in answer.body.decode("utf-8", "replace").split()]


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def error_of(body: bytes) -> dict[str, str] | None:
    """The ``error`` of an answer, where it has one of ours: ``code``, ``message``, and what else is text."""
    try:
        error = json.loads(body)["error"]
        facts = {name: value for name, value in error.items() if isinstance(value, str)}
    except (ValueError, KeyError, TypeError, AttributeError):
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
