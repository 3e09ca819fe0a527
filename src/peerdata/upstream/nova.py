# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Asks nova-metadata-api, and hands on what it answers, byte for byte. All timeouts and bounds towards nova live here.

A request stands in `queue` until it may be asked, and is then sent by `connections`. Its time with nova is counted
from there. What is only passed on has a longer limit than our own questions: cloud-init repeats a call that timed
out, but takes an answer, a 503 too, for the last word, and goes on without keys or user data.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import json
import logging
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import urlsplit

from peerdata import metrics
from peerdata.errors import PeerdataError, ServerBusy, UpstreamFailed, UpstreamSilent
from peerdata.repeats import Repeats
from peerdata.settings import NovaSettings
from peerdata.tls import nova_tls
from peerdata.upstream.connections import Connections, Outcome
from peerdata.upstream.messages import SAFE, Headers, NovaAnswer, write_request
from peerdata.upstream.queue import Question, Queue, Waiter

__all__ = ["Headers", "Nova", "NovaAnswer", "Settle", "document_in"]

LOG = logging.getLogger(__name__)

READY_S: Final = 2.0
"""How long, in seconds, nova has to answer whether it is there."""

Settle = Callable[[Outcome], None]
"""Takes what came of a request: the answer, a `PeerdataError`, or the exception of a defect."""

_SHOWN = str.maketrans(dict.fromkeys((*range(32), *range(127, 160)), "�"))

MAX_WAITERS = 256
"""Callers that may wait for the answer to one question: an instance that repeats a call, and no flood of one."""


class Nova:
    """
    The way to one nova-metadata-api.

    Raises:
        SettingsInvalid: certificates cannot be used.
    """

    def __init__(self, settings: NovaSettings, clock: Callable[[], float] = time.monotonic) -> None:
        parts = urlsplit(settings.metadata_url)
        https = parts.scheme == "https"
        self._host = parts.netloc.rpartition("@")[2].encode()
        self._shown = settings.metadata_url
        self._clock = clock
        self._timeout_s = settings.timeout
        self._pass_through_timeout_s = settings.pass_through_timeout
        self._queue_timeout_s = settings.queue_timeout
        self._connections = Connections(
            parts.hostname or "",
            parts.port or (443 if https else 80),
            tls=nova_tls(settings) if https else None,
            max_connections=settings.max_connections,
            idle_s=settings.idle_timeout,
            max_answer_bytes=settings.max_answer_bytes,
            clock=clock,
        )
        self._queue: Queue[Outcome] = Queue(
            max_under_way=settings.max_connections,
            max_bytes=settings.max_queued_bytes,
            timeout_s=settings.queue_timeout,
        )
        self._repeats = Repeats(LOG, clock)
        # All deadlines are met within this, by one timer instead of one for each request.
        self._look_every_s = min(1.0, min(self._timeout_s, self._pass_through_timeout_s, self._queue_timeout_s) / 8)
        self._next_look: asyncio.TimerHandle | None = None
        self._seconds = _Seconds()

    async def ask(self, method: str, target: bytes, headers: Headers, body: bytes = b"") -> NovaAnswer:
        """
        Ask nova a question of our own, and return what it answers, whatever the status.

        Args:
            method: Any token.
            target: Path and query, sent as they are, but that bytes outside ASCII are escaped.
            headers: Names in lower case; those of a connection itself are left out.
            body: Sent as it is.

        Raises:
            RequestMalformed: *target* is not a path.
            UpstreamFailed: no connection, or an answer that is not HTTP, cut, or over ``max_answer_bytes``.
            UpstreamSilent: not answered whole within ``timeout``, counted from sending; or not sent within
                ``queue_timeout``.
            ServerBusy: too much waits for nova.
        """
        return await self._ask(method, target, headers, body, self._timeout_s)

    async def pass_on(self, method: str, target: bytes, headers: Headers, body: bytes = b"") -> NovaAnswer:
        """The same for a request of an instance's: nova has ``pass_through_timeout`` for it."""
        return await self._ask(method, target, headers, body, self._pass_through_timeout_s)

    def hand_on(self, method: str, target: bytes, headers: Headers, body: bytes, settle: Settle) -> None:
        """
        The same as `pass_on`, without a task or a future: *settle* is called once with what came of it.

        Raises:
            RequestMalformed: as `ask`; *settle* is then not called.
        """
        self._begin(method, target, headers, body, self._pass_through_timeout_s, settle)

    async def read_document(self, version: str, headers: Headers) -> tuple[NovaAnswer, dict[str, Any] | None]:
        """
        An instance's ``meta_data.json`` as nova has it: the answer, and, where it is a 200, the document in it.

        Raises:
            UpstreamFailed: a 200 that does not hold a metadata document; and as `ask`.
        """
        answer = await self.ask("GET", _document_target(version), headers)
        return answer, document_in(answer)

    def begin_document(self, version: str, headers: Headers, settle: Settle) -> None:
        """
        The same question, without a task or a future: *settle* is called once, now or later, with what came of it.

        What an answer holds says `document_in`.
        """
        self._begin("GET", _document_target(version), headers, b"", self._timeout_s, settle)

    async def read_versions(self, headers: Headers) -> frozenset[str]:
        """
        The versions that nova lists, ``latest`` among them.

        Raises:
            UpstreamFailed: no list came back; and as `ask`.
        """
        answer = await self.ask("GET", b"/openstack", headers)
        versions = frozenset(answer.body.decode("utf-8", "replace").split())
        if answer.status != 200 or "latest" not in versions:
            raise UpstreamFailed(f"nova did not list its versions (status {answer.status})", status=answer.status)
        return versions

    async def reachable(self) -> bool:
        """Whether anything that speaks HTTP answers there; asked without an identity, and without standing in line."""
        self._keep_looking()
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        wire = write_request("GET", b"/", (), b"", self._host).wire
        exchange = self._connections.send(wire, is_head=False, safe=True, done=partial(_tell, told))
        try:
            async with asyncio.timeout(READY_S):
                outcome = await told
        except TimeoutError:
            return False
        finally:
            if not told.done() or told.cancelled():
                self._connections.abandon(exchange)
        return isinstance(outcome, NovaAnswer) and outcome.status < 500

    async def close(self) -> None:
        """Close all connections; what waits, or is under way, fails."""
        stopping = ServerBusy("the service is stopping; ask again")
        for question in self._queue.empty():
            self._settle(question.waiters, stopping)
        self._connections.close()
        if self._next_look:
            self._next_look.cancel()
            self._next_look = None
        await asyncio.sleep(0)  # those that are being opened see it

    async def _ask(self, method: str, target: bytes, headers: Headers, body: bytes, limit_s: float) -> NovaAnswer:
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        question = self._begin(method, target, headers, body, limit_s, settle := partial(_tell, told))
        try:
            outcome = await told
        except asyncio.CancelledError:
            self._withdraw(question, settle)
            raise
        if isinstance(outcome, NovaAnswer):
            return outcome
        raise copy.copy(outcome) if isinstance(outcome, PeerdataError) else outcome  # several may raise it at once

    def _begin(
        self, method: str, target: bytes, headers: Headers, body: bytes, limit_s: float, settle: Settle
    ) -> Question[Outcome]:
        wire, caller, project = write_request(method, target, headers, body, self._host)
        shared = method in SAFE and not body
        now = self._clock()
        waiter = Waiter(settle, now)
        if shared and (same := self._queue.find(caller, wire)):
            if len(same.waiters) >= MAX_WAITERS:
                raise ServerBusy("this instance asks nova for the same thing too often at once; wait for an answer")
            same.waiters.append(waiter)
            return same
        question = Question(method, wire, caller, project, shared, limit_s, limit_s, now, [waiter])
        if self._next_look is None:
            self._keep_looking()
        self._enter(question)
        return question

    def _enter(self, question: Question[Outcome]) -> None:
        """Ask at once, or let *question* wait, or reject it."""
        if self._queue.begin(question):
            self._send(question)
            return
        for rejected in self._queue.add(question):
            busy = ServerBusy("too much waits for nova already; try again in a moment")
            self._repeats.warn(ServerBusy, f"Too much waits for nova, [nova] max_queued_bytes: {_show(rejected)}")
            self._settle(rejected.waiters, busy)
        self._send_next()

    def _withdraw(self, question: Question[Outcome], settle: Settle) -> None:
        """One who waited does not any more; what nobody waits for is given up."""
        question.waiters = [waiter for waiter in question.waiters if waiter.settle is not settle]
        if not question.waiters:
            if question.exchange:
                self._connections.abandon(question.exchange)
            self._queue.finish(question)
            self._send_next()

    def _send_next(self) -> None:
        while question := self._queue.take():
            self._send(question)

    def _send(self, question: Question[Outcome]) -> None:
        question.sent_at = self._clock()
        question.exchange = self._connections.send(
            question.wire,
            is_head=question.method == "HEAD",
            safe=question.method in SAFE,
            done=partial(self._answered, question),
        )

    def _answered(self, question: Question[Outcome], outcome: Outcome) -> None:
        """What came of a question, from its connection."""
        seconds = self._clock() - question.sent_at
        if isinstance(outcome, NovaAnswer):
            self._seconds.observe(outcome.status, seconds)
        else:
            self._seconds.observe("failed", seconds)
            outcome = self._understand_failure(question, outcome)
        self._finish(question, outcome)

    def _finish(self, question: Question[Outcome], outcome: Outcome) -> None:
        question.exchange = None  # the two refer to each other, which would be work for the collector
        self._queue.finish(question)
        self._settle(question.waiters, outcome)
        self._send_next()

    @staticmethod
    def _settle(waiters: list[Waiter[Outcome]], outcome: Outcome) -> None:
        for waiter in waiters:
            try:
                waiter.settle(outcome)
            except Exception as defect:  # whoever waits is to hear of it, and the others are not
                try:
                    waiter.settle(defect)
                except Exception:
                    LOG.exception("a defect where an answer of nova was taken")

    def _understand_failure(self, question: Question[Outcome], error: Exception) -> Exception:
        """The error that is raised for *error*, which is logged with all that an operator needs."""
        if isinstance(error, UpstreamFailed):
            what, kind = error.message, error.message
        elif isinstance(error, OSError):
            what, kind = _name(error), _name(error)
        elif isinstance(error, UnicodeError):  # a host that is no name, as the resolver's encoding finds
            what, kind = f"the host of metadata_url is not a name: {error}", "host"
        else:
            return error  # a defect, which is logged under its request id
        self._repeats.warn(kind, f"Nova failed ({self._shown}): {_show(question)}: {what}")
        if isinstance(error, UpstreamFailed):
            return error
        return UpstreamFailed("nova could not be reached, or its answer broke off; try again")

    # The clock

    def _keep_looking(self) -> None:
        if self._next_look is None:
            loop = asyncio.get_running_loop()
            self._next_look = loop.call_later(self._look_every_s, self._look_around)

    def _look_around(self) -> None:
        """Give up what takes too long, close what is unused, and bring the gauges up to date."""
        self._next_look = None
        now = self._clock()
        for question in [question for question in self._queue.under_way if now - question.sent_at >= question.limit_s]:
            self._give_up(question, now)
        if late := self._queue.expire(now):
            limit_s = self._queue_timeout_s
            self._repeats.warn("queue", f"{len(late)} calls have waited for nova for {limit_s:g} s ({self._shown})")
            self._settle(
                late, UpstreamSilent(f"nova had too much to do for {limit_s:g} s; try again", timeout_s=limit_s)
            )
        self._send_next()
        self._connections.look_around(now)
        self._repeats.flush(now)
        metrics.NOVA_WAITING.set(len(self._queue))
        metrics.NOVA_WAITING_SECONDS.set(self._queue.oldest_s(now))
        if self._queue or self._queue.under_way or self._connections or self._repeats:
            self._keep_looking()

    def _give_up(self, question: Question[Outcome], now: float) -> None:
        """Nova's time is over; for those who joined since it was asked, it is asked again, within their own time."""
        joined = [waiter for waiter in question.waiters if waiter.since > question.sent_at]
        question.waiters = [waiter for waiter in question.waiters if waiter.since <= question.sent_at]
        limit_s = question.limit_s
        self._connections.abandon(question.exchange)
        self._seconds.observe("silent", now - question.sent_at)
        self._repeats.warn("silent", f"Nova did not answer within {limit_s:g} s ({self._shown}): {_show(question)}")
        self._finish(
            question, UpstreamSilent(f"nova did not answer within {limit_s:g} s; try again", timeout_s=limit_s)
        )
        if joined:
            left_s = joined[0].since + question.patience_s - now
            question.waiters, question.since = joined, now
            question.limit_s = max(left_s, self._look_every_s)
            self._enter(question)


def document_in(answer: NovaAnswer) -> dict[str, Any] | None:
    """
    The metadata document that nova's *answer* holds; None where it is not a 200.

    Raises:
        UpstreamFailed: a 200 that does not hold one.
    """
    if answer.status != 200:
        return None
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise UpstreamFailed("nova's meta_data.json is not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("uuid"), str):
        raise UpstreamFailed("nova's meta_data.json is not a metadata document")
    meta = document.get("meta", {})
    if not isinstance(meta, dict) or not all(isinstance(value, str) for value in meta.values()):
        raise UpstreamFailed("the member meta of nova's meta_data.json does not hold strings")
    return document


@lru_cache(maxsize=64)
def _document_target(version: str) -> bytes:
    return f"/openstack/{version}/meta_data.json".encode()


class _Seconds:
    """The metric of seconds by outcome; looking one up by its label takes longer than counting."""

    def __init__(self) -> None:
        self._known: dict[int | str, Any] = {}

    def observe(self, outcome: int | str, seconds: float) -> None:
        known = self._known.get(outcome)
        if known is None:
            known = self._known[outcome] = metrics.UPSTREAM_SECONDS.labels(outcome)
        known.observe(seconds)


def _tell(told: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not told.done():
        told.set_result(outcome)


def _show(question: Question[Outcome]) -> str:
    """Instance, method and path, without the query, in which values may stand; printable."""
    target = question.wire[len(question.method) + 1 : 400].partition(b" ")[0].partition(b"?")[0]
    instance = question.caller[:60] or b"-"
    return f"instance {instance.decode('latin-1')}, {question.method} {target.decode('latin-1')}".translate(_SHOWN)


def _name(error: OSError) -> str:
    """An OSError as an operator looks it up: the name of its number, and its text."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"{name}: {error.strerror or error}"
