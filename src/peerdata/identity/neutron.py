# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Neutron's metadata agent signs which instance is asking; nova says whether it is of that project.
"""

from __future__ import annotations

import hmac

from peerdata.errors import IdentityMissing, SignatureWrong
from peerdata.identity.headers import ASKING, NEUTRON, only
from peerdata.identity.interface import Found, Request, Settle
from peerdata.identity.proofs import Proofs, Question
from peerdata.model import Instance
from peerdata.upstream.nova import Headers, NovaAnswer

Claim = tuple[bytes, bytes, bytes]
"""Instance, tenant and signature, as the headers have them."""


class NeutronIdentity:
    """Neutron's agents vouch for the instance, nova for its project."""

    through_neutron = True

    def __init__(self, secret: str, proofs: Proofs) -> None:
        self._secret = secret.encode()
        self._proofs = proofs

    def recall(self, request: Request) -> Instance | None:
        claim = self._claim(request)
        # The signature is part of the claim, so one that was proven needs not be computed again. How long it takes to
        # find a claim says nothing of the right signature: a dict goes by a hash whose key nobody knows.
        instance = self._proofs.recall(claim)
        if instance is None:
            self._check_signature(claim)
        return instance

    async def prove(self, request: Request, *, stale: bool = False) -> Instance:
        return await self._proofs.prove(self._question(request), stale=stale)

    async def read_document(self, request: Request, version: str) -> Found | NovaAnswer:
        return await self._proofs.read_document(self._question(request), version)

    def begin_document(self, request: Request, version: str, settle: Settle) -> None:
        self._proofs.begin_document(self._question(request), version, settle)

    def _question(self, request: Request) -> Question:
        claim = self._claim(request)
        if self._proofs.recall(claim) is None:  # as in `recall`
            self._check_signature(claim)
        return Question(claim, self.asking_headers(request), _named(claim))

    def _claim(self, request: Request) -> Claim:
        """The same checks in the same order as nova's."""
        instance_id, tenant_id, signature = only(request, *NEUTRON)
        if instance_id is None or signature is None or tenant_id is None:
            there = {name for name, _ in request.headers}
            missing = next(name for name in NEUTRON if name not in there).decode()
            raise IdentityMissing(
                f"the header {missing} is missing: this request did not come through neutron's metadata agent",
                header=missing,
            )
        return instance_id, tenant_id, signature

    def _sign(self, instance_id: bytes) -> bytes:
        # neutron: agent/metadata, sign_instance_id; nova: api/metadata/handler.py, _validate_shared_secret. Both use
        # the hexadecimal HMAC-SHA256 of the instance id, so the tenant is not covered.
        return hmac.digest(self._secret, instance_id, "sha256").hex().encode()

    def _check_signature(self, claim: Claim) -> None:
        instance_id, _, signature = claim
        if not hmac.compare_digest(self._sign(instance_id), signature):
            raise SignatureWrong(
                "the signature of the metadata proxy does not fit: the operator should compare "
                "metadata_proxy_shared_secret here, in nova and in neutron's agents"
            )

    async def is_gone(self, instance: Instance) -> bool:
        """The secret lets this service ask of any instance, as the agents do."""
        claim = self._claim_of(instance)
        return await self._proofs.is_unknown(Question(claim, list(zip(NEUTRON, claim, strict=True)), instance))

    def name_of(self, instance: Instance) -> str:
        return self._proofs.name_of(self._claim_of(instance))

    def _claim_of(self, instance: Instance) -> Claim:
        """What the agents send for an instance."""
        uuid = instance.uuid.encode("latin-1")
        return uuid, instance.project_id.encode("latin-1"), self._sign(uuid)

    def headers_for_nova(self, request: Request) -> Headers:
        return request.headers

    def asking_headers(self, request: Request) -> Headers:
        return [(name, value) for name, value in request.headers if name in ASKING]


def _named(claim: Claim) -> Instance:
    """The instance of a claim whose signature was checked, in the project of which it says to be."""
    return Instance(claim[0].decode("latin-1"), claim[1].decode("latin-1"))
