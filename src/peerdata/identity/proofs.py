# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Nova's answers on who asks, for each way of asking: how long they count, and that each is asked for once.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial

from peerdata import metrics
from peerdata.errors import (
    IdentityRefused,
    InstanceUnknown,
    PeerdataError,
    ServerBusy,
    SignatureWrong,
    UpstreamFailed,
    UpstreamSilent,
)
from peerdata.identity.interface import Clock, Document, Found, Settle
from peerdata.identity.kept import KeptProofs
from peerdata.model import Instance
from peerdata.upstream.nova import Headers, Nova, NovaAnswer, document_in
from peerdata.upstream.versions import WITH_PROJECT_ID

OLD_PROOF_PATIENCE_S = 1.0
"""How long a caller with an old proof waits for a new one, where the old one will do."""

RETRY_S = 10.0
"""How long after nova was silent it is not asked again where an old proof will do, each time to its timeout."""

_NAME = re.compile(r"[!-~]+")

MAX_NAME_CHARS = 64
"""As much of an instance's name is remembered; nova's own limit is 255."""


@dataclass(frozen=True, slots=True)
class Question:
    """What nova is asked for a caller."""

    claim: Hashable
    """What the caller's headers say of it; who sends the same is the same."""
    headers: Headers
    """By which nova finds it. May be read once more for each question."""
    named: Instance | None = None
    """The instance and project that the claim names, signed by somebody who knows; None: nova finds out."""


@dataclass(slots=True)
class _Proof:
    instance: Instance
    proven_at: float
    compared_at: float
    """When it was last compared with what other servers know."""
    name: str = ""
    """What nova called the instance; cut, for the log."""


class Proofs:
    """
    Who callers are; bounded, and asked for once however many wait for it.

    Args:
        lifetime_s: How long a proof counts.
        stale_lifetime_s: How long it serves those whom an old one will do, while nova is away.
        most: How many are remembered.
        kept: Where other workers, other servers and the next start find them; None: nowhere.
    """

    def __init__(
        self,
        nova: Nova,
        clock: Clock,
        *,
        lifetime_s: float,
        stale_lifetime_s: float,
        most: int,
        kept: KeptProofs | None = None,
    ) -> None:
        self._nova = nova
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._stale_lifetime_s = max(stale_lifetime_s, lifetime_s)
        self._most = most
        self._kept = kept
        self._proofs: OrderedDict[Hashable, _Proof] = OrderedDict()
        self._asked: dict[tuple[Hashable, str], asyncio.Task[Found | NovaAnswer]] = {}
        self._silent_at = -math.inf

    def recall(self, claim: Hashable) -> Instance | None:
        """Whom *claim* was proven to be, within the lifetime of the proof."""
        proof = self._proofs.get(claim)
        if proof is None or self._clock() - proof.proven_at >= self._lifetime_s:
            return None
        self._proofs.move_to_end(claim)
        return proof.instance

    def name_of(self, claim: Hashable) -> str:
        """What nova called the instance when *claim* was last proven; empty where that is not known."""
        proof = self._proofs.get(claim)
        return proof.name if proof else ""

    async def prove(self, question: Question, *, stale: bool) -> Instance:
        """Whom the claim is, asking nova where needed; raises as `Identity.prove`."""
        if instance := self.recall(question.claim):
            return instance
        if stale and self._clock() - self._silent_at < RETRY_S and (old := await self._find_old(question)):
            return old
        asked = self._ask(question, "latest")
        await asyncio.wait({asked}, timeout=OLD_PROOF_PATIENCE_S if stale else None)
        if not asked.done() and (old := await self._find_old(question)):
            self._silent_at = self._clock()
            return old
        try:
            found = await asyncio.shield(asked)
        except (UpstreamFailed, ServerBusy) as error:
            if isinstance(error, UpstreamSilent):
                self._silent_at = self._clock()
            if stale and (old := await self._find_old(question)):
                return old
            raise
        if isinstance(found, Found):
            return found.instance
        refused = refusal(found.status)
        # A nova that is unwell knows nothing; one that refuses does.
        if stale and isinstance(refused, UpstreamFailed) and (old := await self._find_old(question)):
            return old
        raise refused

    async def read_document(self, question: Question, version: str) -> Found | NovaAnswer:
        """The claim's document as nova gives it now; raises as `Identity.read_document`."""
        if version < WITH_PROJECT_ID and self.recall(question.claim) is None:
            proof = await asyncio.shield(self._ask(question, "latest"))
            if not isinstance(proof, Found):
                return proof
        return await asyncio.shield(self._ask(question, version))

    def begin_document(self, question: Question, version: str, settle: Settle) -> None:
        """The same for a claim that `recall` knows, without a task; see `Identity.begin_document`."""
        self._nova.begin_document(version, question.headers, partial(self._settle, question, version, settle))

    def _settle(self, question: Question, version: str, settle: Settle, outcome: NovaAnswer | Exception) -> None:
        found: Found | NovaAnswer | Exception = outcome
        if isinstance(outcome, NovaAnswer):
            try:
                found = self._understand(question, version, outcome, document_in(outcome))
            except PeerdataError as error:
                found = error
        settle(found)

    async def is_unknown(self, question: Question) -> bool:
        """Whether nova, asked now, knows no such instance; raises as `Identity.is_gone`."""
        answer, _ = await self._nova.read_document("latest", question.headers)
        if answer.status != 404:
            return False
        # A proof of its own counts to the end of its lifetime all the same: a founder that was replaced and still
        # runs must hear that from the cluster.
        self._disown(question)
        return True

    def _ask(self, question: Question, version: str) -> asyncio.Task[Found | NovaAnswer]:
        """Nova's answer that is under way, or to come; a caller that gives up does not end it."""
        key = (question.claim, version)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.ensure_future(self._read(question, version))
            asked.add_done_callback(partial(self._answered, key))
        return asked

    def _answered(self, key: tuple[Hashable, str], asked: asyncio.Task[Found | NovaAnswer]) -> None:
        self._asked.pop(key, None)
        if not asked.cancelled():
            asked.exception()  # looked at, also where nobody waits any more

    async def _read(self, question: Question, version: str) -> Found | NovaAnswer:
        answer, document = await self._nova.read_document(version, question.headers)
        return self._understand(question, version, answer, document)

    def _understand(
        self, question: Question, version: str, answer: NovaAnswer, document: Document | None
    ) -> Found | NovaAnswer:
        """
        What nova's *answer* says of the claim, and remember it.

        Raises:
            UpstreamFailed: it is of another instance.
        """
        if document is None:
            # Nova looks at the signature first, and at the version last, so a 404 may be that of another version.
            if answer.status == 403 or (answer.status == 404 and version == "latest"):
                self._forget(question)
            return answer
        before = self._proofs.get(question.claim)
        known = self.recall(question.claim)
        if version < WITH_PROJECT_ID:
            # Whoever asked has seen to it that there is a proof, and with a lifetime of 0 that is one of just now.
            instance = before.instance if before else None
            if instance is None or document["uuid"] != instance.uuid:
                raise UpstreamFailed("nova answered for another instance than the one that is asking; try again")
            return Found(answer, document, instance)
        instance = _instance_of(document, question)
        if instance != (known or instance):
            # A proof may be older than the address, or than the load balancer's table, behind it.
            raise UpstreamFailed(
                "nova answered for another instance than the one that is known by this address; try again"
            )
        self._remember(question, instance, document.get("name"))
        return Found(answer, document, instance)

    def _remember(self, question: Question, instance: Instance, name: object) -> None:
        now = self._clock()
        called = name[:MAX_NAME_CHARS] if isinstance(name, str) else ""
        self._put(question.claim, _Proof(instance, proven_at=now, compared_at=now, name=called))
        # A kept proof is found by what the headers name; nova itself refuses (404) where that is not the project.
        if self._kept and instance == question.named and _can_be_kept(instance):
            self._kept.note(instance, known=True)

    def _put(self, claim: Hashable, proof: _Proof) -> None:
        before = len(self._proofs)
        self._proofs[claim] = proof
        self._proofs.move_to_end(claim)
        while len(self._proofs) > self._most:
            self._proofs.popitem(last=False)
        if len(self._proofs) != before:
            metrics.PROOFS.set(len(self._proofs))

    def _forget(self, question: Question) -> None:
        """Nova knows it no more; what this or any other server remembers from before does not count."""
        self._proofs.pop(question.claim, None)
        metrics.PROOFS.set(len(self._proofs))
        self._disown(question)

    def _disown(self, question: Question) -> None:
        """Let no server use an older proof once its lifetime is over."""
        if self._kept and question.named and _can_be_kept(question.named):
            self._kept.note(question.named, known=False)

    async def _find_old(self, question: Question) -> Instance | None:
        """Whom the claim was proven to be, here or at another server, as long as an old proof will do."""
        proof = self._proofs.get(question.claim)
        if proof is None or self._clock() - proof.compared_at >= self._lifetime_s:
            proof = await self._compare(question)
        if proof is None or self._clock() - proof.proven_at >= self._stale_lifetime_s:
            return None
        return proof.instance

    async def _compare(self, question: Question) -> _Proof | None:
        """The proof, after what other servers were answered meanwhile; at most once in its lifetime for each claim."""
        named = question.named
        kept = await self._kept.find(named) if self._kept and named and _can_be_kept(named) else None
        proof = self._proofs.get(question.claim)
        now = self._clock()
        if proof:
            proof.compared_at = now
        if kept is None:
            return proof
        known, age_s = kept
        # Kept times are whole seconds; of the same second a refusal counts.
        if proof and now - age_s + (0 if known else 1) <= proof.proven_at:
            return proof
        if not known:
            self._proofs.pop(question.claim, None)
            return None
        assert named  # it was looked for
        proof = _Proof(named, proven_at=now - age_s, compared_at=now)
        self._put(question.claim, proof)
        return proof


def refusal(status: int) -> PeerdataError:
    """What a *status* of nova's other than 200 means where the answer was to say who is asking."""
    match status:
        case 404:
            return InstanceUnknown("nova does not know this instance in this project; nothing was stored")
        case 403:
            return SignatureWrong("nova does not accept the signature of the metadata proxy")
        case 400:
            return IdentityRefused("nova cannot tell from this request which instance is asking")
    return UpstreamFailed(f"nova could not say who is asking (status {status}); try again")


def _instance_of(document: Document, question: Question) -> Instance:
    """
    Whom a document is of.

    Raises:
        UpstreamFailed: it does not say, or it is another than the one that is asking.
    """
    uuid, project_id = document["uuid"], document.get("project_id")
    if not isinstance(project_id, str) or not 0 < len(project_id) <= 64 or not 0 < len(uuid) <= 36:
        raise UpstreamFailed("nova's meta_data.json does not say which project the instance is of")
    if question.named and uuid != question.named.uuid:
        raise UpstreamFailed("nova answered for another instance than the one that is asking")
    return Instance(uuid, project_id)


def _can_be_kept(named: Instance) -> bool:
    """Headers may name what is nobody's name, and what no database takes."""
    return all(len(name) <= most and _NAME.fullmatch(name) for name, most in ((named.uuid, 36), (named.project_id, 64)))
