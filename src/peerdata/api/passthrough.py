# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Behind our own calls, nova: everything that is not ours goes to it and comes back as it is.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial

from peerdata.api.documents import Reading, SettleReading
from peerdata.errors import ServerBusy, UpstreamFailed
from peerdata.httpd.messages import Answer, Request, Settle
from peerdata.identity.interface import Found, Identity
from peerdata.identity.proofs import OLD_PROOF_PATIENCE_S, RETRY_S
from peerdata.upstream.nova import Headers, Nova, NovaAnswer
from peerdata.upstream.versions import NOVA_VERSIONS

LOG = logging.getLogger(__name__)

VERSIONS_KEPT_S = 300
"""Nova's list of versions changes when nova is upgraded."""


class BehindNova:
    """Speaks to nova with the caller's own identity headers, so nova itself decides what it may see."""

    def __init__(self, nova: Nova, identity: Identity, clock: Callable[[], float]) -> None:
        self._nova = nova
        self._identity = identity
        self._clock = clock
        self._versions = NOVA_VERSIONS
        self._answered = False
        self._ask_again_at = -math.inf
        self._asking: asyncio.Task[None] | None = None

    async def read_document(self, request: Request, version: str) -> Reading | Answer:
        """Source: `api.instance.Behind`."""
        return _as_reading(await self._identity.read_document(request, version))

    def begin_document(self, request: Request, version: str, settle: SettleReading) -> None:
        """Source: `api.instance.Behind`."""
        self._identity.begin_document(request, version, partial(_hand_reading, settle))

    def lists(self, version: str) -> bool:
        """Source: `api.instance.Behind`."""
        return version in self._versions and self._clock() < self._ask_again_at

    async def has_version(self, request: Request, version: str) -> bool:
        """By nova's own list, or by the last known one while nova is away."""
        known = self._answered or version in self._versions
        if self._clock() >= self._ask_again_at or not known:
            # Only for headers that may be somebody's; of whom, nova says when it is asked for more than a list.
            self._identity.recall(request)
            if self._asking is None:
                self._asking = asyncio.ensure_future(self._ask_versions(self._identity.asking_headers(request)))
            # Nobody waits long for the list to say what is known already, or once nova has failed to give it.
            done, _ = await asyncio.wait({self._asking}, timeout=OLD_PROOF_PATIENCE_S if known else None)
            if not done:
                self._ask_again_at = self._clock() + RETRY_S
        return version in self._versions

    async def _ask_versions(self, headers: Headers) -> None:
        """Bring the list up to date; while nova is away the last known one serves."""
        try:
            self._versions = await self._nova.read_versions(headers)
            self._ask_again_at = self._clock() + VERSIONS_KEPT_S
        except (UpstreamFailed, ServerBusy) as error:
            if error.facts.get("status") in (400, 403, 404):
                return  # of this caller, which nova does not know; the next may be another
            LOG.warning("Nova's list of versions is not to be had, the last known one serves: %s", error)
            self._ask_again_at = self._clock() + RETRY_S
        finally:
            self._answered = True
            self._asking = None

    def pass_on(self, request: Request, settle: Settle) -> None:
        """Source: `api.instance.Behind`."""
        headers = self._identity.headers_for_nova(request)
        self._nova.hand_on(request.method, request.target, headers, request.body, partial(_hand_back, settle))


def _hand_back(settle: Settle, outcome: NovaAnswer | Exception) -> None:
    settle(_as_answer(outcome) if isinstance(outcome, NovaAnswer) else outcome)


def _hand_reading(settle: SettleReading, outcome: Found | NovaAnswer | Exception) -> None:
    settle(outcome if isinstance(outcome, Exception) else _as_reading(outcome))


def _as_reading(found: Found | NovaAnswer) -> Reading | Answer:
    if isinstance(found, Found):
        return Reading(found.instance, found.document, _as_answer(found.answer))
    return _as_answer(found)


def _as_answer(answer: NovaAnswer) -> Answer:
    return Answer(answer.status, answer.body, answer.content_type, answer.headers, answer.head_length)
