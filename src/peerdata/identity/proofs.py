# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Nova's word on who asks, for each way of asking: how long it counts, and that it is asked for once.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial

from peerdata import metrics
from peerdata.errors import (
    IdentityRefused,
    InstanceUnknown,
    ServerBusy,
    SignatureWrong,
    UpstreamFailed,
    UpstreamSilent,
)
from peerdata.identity.interface import Clock
from peerdata.model import Instance
from peerdata.upstream.nova import Headers, Nova

OLD_PROOF_PATIENCE_S = 1.0
"""How long who has an old proof waits for a new one, where the old one will do."""

RETRY_S = 10.0
"""How long after nova was silent it is not asked again where an old proof will do, each time to its timeout."""


@dataclass(slots=True)
class _Proof:
    instance: Instance
    proven_at: float


class Proofs:
    """Nova's word on who asks, for each way of asking; bounded, and asked for once however many wait for it."""

    def __init__(self, nova: Nova, clock: Clock, *, lifetime_s: float, stale_lifetime_s: float, most: int) -> None:
        self._nova = nova
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._stale_lifetime_s = max(stale_lifetime_s, lifetime_s)
        self._most = most
        self._proofs: OrderedDict[Hashable, _Proof] = OrderedDict()
        self._questions: dict[Hashable, asyncio.Task[Instance]] = {}
        self._silent_at = -math.inf

    def recall(self, claim: Hashable) -> Instance | None:
        """Whom *claim* was proven to be, within the lifetime of the proof."""
        proof = self._proofs.get(claim)
        if proof is None or self._clock() - proof.proven_at >= self._lifetime_s:
            return None
        self._proofs.move_to_end(claim)
        return proof.instance

    async def prove(self, claim: Hashable, headers: Headers, *, stale: bool, uuid: str | None = None) -> Instance:
        """
        Whom *claim* is, asking nova with *headers* where needed; raises as `Identity.prove`.

        Nova must answer for the instance *uuid*, if that is given.
        """
        if instance := self.recall(claim):
            return instance
        if stale and self._clock() - self._silent_at < RETRY_S and (instance := self._recall_stale(claim)):
            return instance
        question = self._questions.get(claim)
        if question is None:
            question = asyncio.ensure_future(self._ask(claim, headers, uuid))
            self._questions[claim] = question
            question.add_done_callback(partial(self._answered, claim))
        old = self._recall_stale(claim) if stale else None
        try:
            async with asyncio.timeout(OLD_PROOF_PATIENCE_S if old else None):
                return await asyncio.shield(question)
        except TimeoutError:
            assert old  # only then there is a timeout
            self._silent_at = self._clock()
            return old
        except (UpstreamFailed, ServerBusy) as error:
            if isinstance(error, UpstreamSilent):
                self._silent_at = self._clock()
            if stale and (instance := self._recall_stale(claim)):
                return instance
            raise

    async def is_unknown(self, headers: Headers) -> bool:
        """Whether nova, asked with *headers* now, knows no such instance; raises as `Identity.is_gone`."""
        answer, _ = await self._nova.read_document("latest", headers)
        return answer.status == 404

    def _answered(self, claim: Hashable, question: asyncio.Task[Instance]) -> None:
        self._questions.pop(claim, None)
        if not question.cancelled():
            question.exception()  # looked at, also where nobody waits any more

    def _recall_stale(self, claim: Hashable) -> Instance | None:
        """Whom *claim* was proven to be, as long as an old proof will do."""
        proof = self._proofs.get(claim)
        if proof is None or self._clock() - proof.proven_at >= self._stale_lifetime_s:
            return None
        return proof.instance

    async def _ask(self, claim: Hashable, headers: Headers, expected: str | None) -> Instance:
        answer, document = await self._nova.read_document("latest", headers)
        if document is None:
            if answer.status == 404:
                self._forget(claim)
                raise InstanceUnknown("nova does not know this instance in this project; nothing was stored")
            if answer.status == 403:
                self._forget(claim)
                raise SignatureWrong("nova does not accept the signature of the metadata proxy")
            if answer.status == 400:
                raise IdentityRefused("nova cannot tell from this request which instance is asking")
            raise UpstreamFailed(f"nova could not say who is asking (status {answer.status}); try again")
        uuid, project_id = document["uuid"], document.get("project_id")
        if not isinstance(project_id, str) or not 0 < len(project_id) <= 64 or not 0 < len(uuid) <= 36:
            raise UpstreamFailed("nova's meta_data.json does not say which project the instance is of")
        if uuid != (expected or uuid):
            raise UpstreamFailed("nova answered for another instance than the one that is asking")
        instance = Instance(uuid, project_id)
        self._proofs[claim] = _Proof(instance, self._clock())
        self._proofs.move_to_end(claim)
        while len(self._proofs) > self._most:
            self._proofs.popitem(last=False)
        metrics.PROOFS.set(len(self._proofs))
        return instance

    def _forget(self, claim: Hashable) -> None:
        self._proofs.pop(claim, None)
        metrics.PROOFS.set(len(self._proofs))
