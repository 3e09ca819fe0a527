# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The calls of instances: each handler reads its request, lets `service` decide, and says what came of it.

The rules of each call stand in docs/protocol.md; the order in which faults are
found is that of its "Statuses and errors".
"""

from __future__ import annotations

import asyncio
import copy
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

from prometheus_client import Counter, Histogram

from peerdata import metrics
from peerdata.api import answers, documents, publishing, requestlog, rolls
from peerdata.api.documents import Proven, Reading, SettleReading
from peerdata.api.health import Health
from peerdata.api.routes import LISTED, Call, Target, only, parameters, understand
from peerdata.errors import (
    IdentityRefused,
    InstanceUnknown,
    MethodUnsupported,
    ParameterInvalid,
    PeerdataError,
    ServerBusy,
    StoreUnavailable,
    UpstreamFailed,
)
from peerdata.httpd.messages import JOIN_BYTES, Answer, Request, Settle
from peerdata.identity.interface import Document, Identity
from peerdata.identity.proofs import refusal
from peerdata.model import KEY_NAME, Entry, Instance
from peerdata.repeats import Repeats
from peerdata.service import rules
from peerdata.service.board import Board, render
from peerdata.service.clusters import Clusters
from peerdata.service.discover import Discovery
from peerdata.service.own import OwnEntries
from peerdata.service.publish import Publisher
from peerdata.service.refusals import Refusals
from peerdata.service.waiting import Waiting
from peerdata.store.clusters import Roll

LOG = logging.getLogger(__name__)

MOST_REVISION = 2**63 - 1

_NAMING_HEADERS = (b"x-instance-id", b"x-tenant-id")

_OLD_PROOF_SERVES = frozenset((Call.SHARED, Call.PEER_DATA, Call.LAST_ERROR))
"""Reads of what was known while the proof was young."""

_PROVEN_BY_DOCUMENT = frozenset((Call.META_DATA, Call.PUBLISH, Call.CLUSTER))
"""Calls that need the caller's document, or may need it: the question that proves the caller gives it too."""

REFUSED_BURST, REFUSED_PERIOD_S = 5, 10.0
"""Lines in the log on refusals, of one reason: so many at once, and then one in so many seconds."""

_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


class Behind(Protocol):
    """What stands behind our own calls: nova, or stand-alone what plays it."""

    async def read_document(self, request: Request, version: str) -> Reading | Answer:
        """
        The caller's meta_data.json of a version that is there, which proves the caller; asks nova one question.

        Returns:
            Nova's answer, as it is, where that is not a 200.

        Raises:
            IdentityRefused: the request's headers are wrong.
            UpstreamFailed, ServerBusy.
        """

    def begin_document(self, request: Request, version: str, settle: SettleReading) -> None:
        """
        The same question for a caller whom `Identity.recall` knows, without a task: *settle* is called, now or later.

        Raises:
            PeerdataError: it cannot be asked; *settle* is then not called.
        """

    def lists(self, version: str) -> bool:
        """Whether ``/openstack/{version}/`` is known to be there, so that `has_version` would ask nobody."""

    async def has_version(self, request: Request, version: str) -> bool:
        """Whether ``/openstack/{version}/`` is there."""

    def pass_on(self, request: Request, settle: Settle) -> None:
        """
        Answer a request that is not ours, unchanged: *settle* is called with what came of it, now or later.

        Raises:
            PeerdataError: it cannot be passed on; *settle* is then not called.
        """


class InstanceApi:
    """
    Answers instances.

    Args:
        health: Answers the checks of balancers.
        now: UTC, seconds since 1970.
    """

    def __init__(
        self,
        identity: Identity,
        behind: Behind,
        publisher: Publisher,
        discovery: Discovery,
        own: OwnEntries,
        waiting: Waiting,
        clusters: Clusters,
        refusals: Refusals,
        *,
        health: Health | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._health = health or Health()
        self._identity = identity
        self._behind = behind
        self._publisher = publisher
        self._discovery = discovery
        self._own = own
        self._waiting = waiting
        self._clusters = clusters
        self._refusals = refusals
        self._now = now
        self._refused = Repeats(LOG, time.monotonic, burst=REFUSED_BURST, period_s=REFUSED_PERIOD_S)
        self._handlers = {
            Call.PUBLISH: (("POST",), self._publish),
            Call.SHARED: (("GET", "HEAD"), self._read_board),
            Call.PEER_DATA: (("GET", "HEAD"), self._read_board),
            Call.LAST_ERROR: (("GET", "HEAD"), self._read_last_error),
            Call.CLUSTER: (("POST", "GET", "HEAD"), self._answer_cluster),
            Call.FORMED: (("POST",), self._confirm_cluster),
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._reads_of_boards = {Call.SHARED: self._read_shared, Call.PEER_DATA: self._read_peer_data}

    def respond(self, request: Request) -> Answer | Awaitable[Answer]:
        """The answer to any request: at once where nobody has to be waited for, which most reads do not."""
        began = time.perf_counter()
        target = understand(request.target)
        if _is_novas(request, target):
            if self._health.is_asked(request):
                return self._health.answer()
            return self._hand_on(request, partial(self._handed_on, request, target, began))
        if target.call is Call.META_DATA and (caller := self._find_reader(request, target)):
            return self._begin_meta_data(request, target, caller, began)
        answer = self._answer_at_once(request, target)
        if answer is None:
            return self._answer_later(request, target, began, partial(self._route, request, target))
        self._finish(request, target, 200, began)
        return answer

    def _finish(self, request: Request, target: Target, status: int, began: float, request_id: str = "") -> None:
        """Count a request that is about to be answered, and log it where that is wanted."""
        seconds = time.perf_counter() - began
        number, histogram = _counters(target.call, status)
        number.inc()
        if not target.waits:  # it takes as long as it asked for
            histogram.observe(seconds)
        if requestlog.LOG.isEnabledFor(logging.DEBUG):
            requestlog.write(self._identity, request, target, status, seconds, request_id)

    def _answer_at_once(self, request: Request, target: Target) -> Answer | None:
        """The answer to a good read by a known caller of a project that has not changed; None: all others."""
        read = self._reads_of_boards.get(target.call)
        if read is None or request.method != "GET" or target.version != "latest" or request.fault or target.waits:
            return None
        try:
            caller = self._identity.recall(request)
            board = self._discovery.peek(caller.project_id) if caller else None
            return None if caller is None or board is None else read(target, caller, board)
        except Exception:
            return None  # it is found again, and told and remembered, on the longer way

    async def _answer_later(
        self, request: Request, target: Target, began: float, work: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """What *work* answers to any request; raises nothing."""
        request_id = ""
        try:
            answer = await work()
        except PeerdataError as error:
            answer = self.refuse(error)
        except Exception as error:
            request_id = requestlog.make_request_id()
            answer = self._answer_defect(request, target, error, request_id)
        self._finish(request, target, answer.status, began, request_id)
        return answer

    def refuse(self, error: PeerdataError) -> Answer:
        """*error*, as it is told to this service's callers."""
        return answers.refuse(error, through_neutron=self._identity.through_neutron)

    def _answer_defect(self, request: Request, target: Target, error: Exception, request_id: str) -> Answer:
        LOG.error("%s: %s %s failed by a defect of peerdata", request_id, request.method, target.path, exc_info=error)
        return self.refuse(
            PeerdataError("a defect of the metadata service; the operator finds it in its log", request_id=request_id)
        )

    async def _route(self, request: Request, target: Target) -> Answer:
        call = target.call
        if target.version != "latest" and not await self._has_version(request, target.version):
            return await self._pass_on(request)  # nova's own 404
        if call is Call.LISTING:
            return await self._list(request)
        proven = await self._prove(request, target)
        if isinstance(proven, Answer):
            return proven
        try:
            if call is Call.META_DATA:
                return await self._read_meta_data(request, target, proven)
            methods, handler = self._handlers[call]
            if request.method not in methods:
                raise MethodUnsupported(
                    f"{request.method} is not for {call.value}: use {' or '.join(methods)}", method=request.method
                )
            return await handler(request, target, proven)
        except PeerdataError as error:
            await self._remember(error, request, target, proven.caller)
            raise

    async def _has_version(self, request: Request, version: str) -> bool:
        try:
            return await self._behind.has_version(request, version)
        except IdentityRefused as error:
            self._log_refused(request, error.code)
            raise

    async def _prove(self, request: Request, target: Target) -> Proven | Answer:
        """Who is asking. An answer is nova's own refusal, where that is what the caller asked nova for."""
        try:
            caller = self._identity.recall(request)
            if caller is not None:
                return Proven(caller)
            if target.call not in _PROVEN_BY_DOCUMENT:
                return Proven(await self._identity.prove(request, stale=target.call in _OLD_PROOF_SERVES))
            # What a cluster needs of it is the same in each version.
            version = "latest" if target.call is Call.CLUSTER else target.version
            reading = await self._behind.read_document(request, version)
            if isinstance(reading, Reading):
                return Proven(reading.caller, reading)
            if target.call is not Call.META_DATA:
                raise refusal(reading.status)
        except IdentityRefused as error:
            self._log_refused(request, error.code)
            raise
        if reading.status < 500:
            self._log_refused(request, f"nova answered {reading.status}")
        return reading

    def _log_refused(self, request: Request, reason: str) -> None:
        """One line for each of a few, then for many: whoever is not proven must not be able to fill a disk."""
        instance, tenant = (
            rules.printable((request.header(name) or b"-").decode("latin-1")) for name in _NAMING_HEADERS
        )
        line = f"Refused {request.client}, which names instance {instance} of tenant {tenant}: {reason}"
        self._refused.warn(reason, line)

    async def _remember(self, error: PeerdataError, request: Request, target: Target, caller: Instance) -> None:
        """Keep why *caller* was refused, for `Call.LAST_ERROR`, which must not overwrite what it is to show."""
        call = f"{request.method} {rules.printable(target.path, 400)}"
        # What is no fault of the instance's meets all of them at once, and has a line of its own where it comes from.
        ours = isinstance(error, StoreUnavailable | ServerBusy | UpstreamFailed)
        kind = error.code if ours else (error.code, caller.project_id)
        line = f"Refused instance {caller.uuid} of project {caller.project_id}: {call}: {error.message}"
        self._refused.tell(kind, line, logging.INFO)
        if target.call is not Call.LAST_ERROR and not isinstance(error, StoreUnavailable | ServerBusy):
            await self._refusals.remember(caller, answers.describe(error), call, now=int(self._now()))

    # What is nova's, with something of ours in it

    def _hand_on(self, request: Request, finish: Callable[[Answer | Exception], Answer]) -> asyncio.Future[Answer]:
        """Pass *request* on, without a task: most of what an instance asks for when it boots goes this way."""
        future = self._make_future()

        def settle(outcome: Answer | Exception) -> None:
            if future.done():
                return  # given up
            try:
                future.set_result(finish(outcome))
            except Exception as error:
                future.set_exception(error)

        try:
            if request.fault:
                raise request.fault
            self._behind.pass_on(request, settle)
        except Exception as error:
            settle(error)
        return future

    def _make_future(self) -> asyncio.Future[Answer]:
        loop = self._loop
        if loop is None:  # asked for once: Python before 3.12 makes a system call of it
            loop = self._loop = asyncio.get_running_loop()
        return loop.create_future()

    def _handed_on(self, request: Request, target: Target, began: float, outcome: Answer | Exception) -> Answer:
        """The answer to what was passed on, and what came of it is *outcome*."""
        request_id = ""
        if isinstance(outcome, Answer):
            answer = outcome
        elif isinstance(outcome, PeerdataError):
            answer = self.refuse(outcome)
        else:
            request_id = requestlog.make_request_id()
            answer = self._answer_defect(request, target, outcome, request_id)
        self._finish(request, target, answer.status, began, request_id)
        return answer

    async def _pass_on(self, request: Request) -> Answer:
        """The same within a longer way; raises what came of it."""
        return await self._hand_on(request, _expect)

    async def _list(self, request: Request) -> Answer:
        """Nova's listing of a version, and our entries behind it."""
        answer = await self._pass_on(replace(request, method="GET") if request.method == "HEAD" else request)
        if answer.status != 200 or any(name.lower() == b"content-encoding" for name, _ in answer.headers):
            return answer  # what is packed is not added to
        assert isinstance(answer.body, bytes)
        body = b"\n".join([answer.body.rstrip(b"\n"), *(path.encode() for path in LISTED)])
        return Answer(200, body, answer.content_type, answer.headers)

    def _find_reader(self, request: Request, target: Target) -> Instance | None:
        """Who reads its metadata, if that is known, and the version is there: then only the document is missing."""
        if request.fault or request.method not in ("GET", "HEAD"):
            return None
        try:
            there = target.version == "latest" or self._behind.lists(target.version)
            return self._identity.recall(request) if there else None
        except Exception:
            return None  # it is found again, and told and logged, on the longer way

    def _begin_meta_data(
        self, request: Request, target: Target, caller: Instance, began: float
    ) -> asyncio.Future[Answer]:
        """The same as `_read_meta_data` for a known *caller*, without a task where only nova must be waited for."""
        future = self._make_future()

        def settle(outcome: Reading | Answer | Exception) -> None:
            if future.done():
                return  # given up
            try:
                answer = self._show_at_once(outcome)
            except Exception:
                answer = None  # likewise
            if answer is not None:
                self._finish(request, target, answer.status, began)
                future.set_result(answer)
                return
            show = partial(self._show_later, request, target, caller, outcome)
            task = asyncio.ensure_future(self._answer_later(request, target, began, show))
            self._tasks.add(task)
            task.add_done_callback(partial(self._shown, future))

        try:
            self._behind.begin_document(request, target.version, settle)
        except Exception as error:
            settle(error)
        return future

    def _show_at_once(self, outcome: Reading | Answer | Exception) -> Answer | None:
        """The answer, where neither the store must be asked nor a refusal be kept."""
        if isinstance(outcome, Answer):
            return outcome
        if isinstance(outcome, Exception) or (own := self._own.peek(outcome.caller)) is None:
            return None
        return _show_document(outcome, own)

    async def _show_later(
        self, request: Request, target: Target, caller: Instance, outcome: Reading | Answer | Exception
    ) -> Answer:
        """The answer; a refusal is raised, and kept for *caller*."""
        if isinstance(outcome, Answer):
            return outcome
        try:
            if isinstance(outcome, Reading):
                return _show_document(outcome, await self._own.read(outcome.caller))
            raise copy.copy(outcome) if isinstance(outcome, PeerdataError) else outcome  # several may raise it at once
        except PeerdataError as error:
            await self._remember(error, request, target, caller)
            raise

    def _shown(self, future: asyncio.Future[Answer], task: asyncio.Task[Answer]) -> None:
        self._tasks.discard(task)
        if future.done():
            return
        if task.cancelled():
            future.cancel()
        elif error := task.exception():
            future.set_exception(error)
        else:
            future.set_result(task.result())

    async def _read_meta_data(self, request: Request, target: Target, proven: Proven) -> Answer:
        if request.method in ("PUT", "DELETE", "PATCH"):
            raise MethodUnsupported(
                f"{request.method} is not for meta_data.json: GET reads it, POST .../metadata publishes",
                method=request.method,
            )
        if request.fault:
            raise request.fault
        reading = proven.reading or await self._behind.read_document(request, target.version)
        if isinstance(reading, Answer):
            return reading
        return _show_document(reading, await self._own.read(reading.caller))

    # What is ours alone

    async def _publish(self, request: Request, target: Target, proven: Proven) -> Answer:
        meta, shared = publishing.understand(parameters(target.query), request.body, request.fault)
        self._publisher.check(meta)
        # The document first: it is the answer, and it says what the owner has set. Without nova nothing is stored.
        document = await self._read_document(request, target, proven)
        own = await self._publisher.publish(
            proven.caller, meta, shared=shared, owned=documents.owned(document), now=int(self._now())
        )
        return answers.answer_document(documents.merge(document, own))

    async def _read_document(self, request: Request, target: Target, proven: Proven) -> Document:
        """The caller's document, without which nothing is stored."""
        if proven.reading:
            return proven.reading.document
        reading = await self._behind.read_document(request, target.version)
        if isinstance(reading, Reading):
            if reading.caller != proven.caller:  # the proof was too old just now, and the address is another's
                raise UpstreamFailed("nova answered for another instance than before; nothing was stored, try again")
            return reading.document
        if reading.status == 404:
            raise InstanceUnknown("nova does not know this instance in this project any more; nothing was stored")
        raise UpstreamFailed(f"nova did not give the metadata document (status {reading.status}); nothing was stored")

    async def _read_board(self, request: Request, target: Target, proven: Proven) -> Answer:
        caller = proven.caller
        # What is wrong with the request is said without asking the store, which may be away.
        read = self._reads_of_boards[target.call]
        read(target, caller, Board(0))
        if request.fault:
            raise request.fault
        return read(target, caller, await self._read_when_due(target, caller))

    async def _read_when_due(self, target: Target, caller: Instance) -> Board:
        """The caller's project; where it asks to wait, once there is something to tell, or the time is over."""
        if not target.waits:
            return await self._discovery.read(caller.project_id)
        follow = _understand_follow(target.query)
        return await self._waiting.read(caller.project_id, follow.since, follow.prefix, follow.wait_s)

    def _read_shared(self, target: Target, caller: Instance, board: Board) -> Answer:
        only(target.call, target.query)
        return Answer(200, board.shared_json, account=caller.project_id)

    def _read_peer_data(self, target: Target, caller: Instance, board: Board) -> Answer:
        follow = _understand_follow(target.query)
        poll_after_s = rules.poll_after_s(
            peers=len(board),
            quiet_s=self._discovery.quiet_s(board),
            chance=random.random(),  # noqa: S311 - spreads callers, keeps no secret
        )
        head = b'{"revision":%d,"full":%s,"self":%s,"poll_after_s":%.2f,"peers":['
        news = board.news(follow.since, follow.prefix)
        full = news.full
        peers = board.peers_json if full and not follow.prefix else b",".join(news.peers)
        opening = head % (news.revision, b"true" if full else b"false", _quoted(caller.uuid), poll_after_s)
        closing = b'],"removed":%b}\n' % (render(news.removed) if news.removed else b"[]")
        if len(peers) <= JOIN_BYTES:
            return Answer(200, b"%b%b%b" % (opening, peers, closing), account=caller.project_id)
        # A long text is shared by all who read it, and never copied.
        return Answer(200, (opening, peers, closing), account=caller.project_id)

    async def _answer_cluster(self, request: Request, target: Target, proven: Proven) -> Answer:
        caller = proven.caller
        rolls.check_name(target.cluster)
        if request.method != "POST":
            only(target.call, target.query)
            if request.fault:
                raise request.fault
            return self._show(target, caller, await self._clusters.read(caller.project_id, target.cluster))
        plan, meta = rolls.understand(target.query, request.body, request.fault)
        if meta:
            self._publisher.check(meta)
        if roll := await self._clusters.repeat(caller, target.cluster, plan, meta=meta):
            return self._show(target, caller, roll)
        owned: Mapping[str, str] = {}
        if meta:
            owned = documents.owned(await self._read_document(request, target, proven))
        now = int(self._now())
        roll = await self._clusters.enter(caller, target.cluster, plan, meta=meta, owned=owned, now=now)
        return self._show(target, caller, roll)

    async def _confirm_cluster(self, request: Request, target: Target, proven: Proven) -> Answer:
        caller = proven.caller
        rolls.check_name(target.cluster)
        term = rolls.understand_term(target.query, request.body, request.fault)
        return self._show(target, caller, await self._clusters.confirm(caller, target.cluster, term))

    @staticmethod
    def _show(target: Target, caller: Instance, roll: Roll) -> Answer:
        members = len(roll.cluster.members) if roll.cluster else 0
        poll_after_s = rules.cluster_poll_after_s(members=members, chance=random.random())  # noqa: S311 - as above
        body = rolls.render_roll(target.cluster, roll, caller.uuid, poll_after_s)
        return Answer(200, body, account=caller.project_id)

    async def _read_last_error(self, request: Request, target: Target, proven: Proven) -> Answer:
        only(target.call, target.query)
        if request.fault:
            raise request.fault
        refusal = await self._refusals.last(proven.caller, now=int(self._now()))
        if refusal is None:
            return answers.answer_json({"error": None})
        time_text = datetime.fromtimestamp(refusal.refused_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return answers.answer_json({"error": {**refusal.error, "time": time_text, "call": refusal.call}})


def _is_novas(request: Request, target: Target) -> bool:
    """Whether a request is passed on, whoever asks."""
    return target.call is Call.OTHER or (target.call is Call.PUBLISH and request.method in ("GET", "HEAD"))


def _show_document(reading: Reading, own: Mapping[str, Entry]) -> Answer:
    """A document with the instance's *own* keys; without any it is nova's answer, byte for byte."""
    if reading.answer and not own:
        return reading.answer
    return answers.answer_document(documents.merge(reading.document, own))


def _expect(outcome: Answer | Exception) -> Answer:
    if isinstance(outcome, Answer):
        return outcome
    raise outcome


@lru_cache(maxsize=1024)
def _counters(call: Call, status: int) -> tuple[Counter, Histogram]:
    return metrics.REQUESTS.labels(call.value, status), metrics.REQUEST_SECONDS.labels(call.value)


def _read_since(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MOST_REVISION):
        raise ParameterInvalid(
            "since must be a revision: a whole number from 0, as an answer gave it", parameter="since"
        )
    return int(text)


class _Follow(NamedTuple):
    """What a call of peer_data.json asks for."""

    since: int | None
    prefix: str
    wait_s: float


def _understand_follow(query: bytes) -> _Follow:
    """The parameters of a call of peer_data.json. Polls ask the same short thing again and again."""
    return _follow_again(query) if len(query) <= 256 else _follow(query)


def _follow(query: bytes) -> _Follow:
    given = only(Call.PEER_DATA, query, "since", "prefix", "wait")
    prefix = given.get("prefix", "")
    if prefix and not KEY_NAME.fullmatch(prefix):
        raise ParameterInvalid("prefix is not the beginning of any key: 1 to 243 of a-z A-Z 0-9 - _ : . and space")
    wait = given.get("wait", "0")
    if not _SECONDS.fullmatch(wait):
        raise ParameterInvalid("wait must be a number of seconds, such as 10 or 2.5", parameter="wait")
    return _Follow(_read_since(given.get("since")), prefix, float(wait))


_follow_again = lru_cache(maxsize=1024)(_follow)


_quoted = lru_cache(maxsize=4096)(render)
"""Of uuids, which are short."""
