# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Neutron's metadata agent signs which instance is asking; nova says whether it is of that project.
"""

from __future__ import annotations

import hmac

from peerdata.errors import IdentityMissing, SignatureWrong
from peerdata.identity.headers import ASKING, NEUTRON, only
from peerdata.identity.interface import Request
from peerdata.identity.proofs import Proofs
from peerdata.model import Instance
from peerdata.upstream.nova import Headers


class NeutronIdentity:
    """Neutron's metadata agent signs which instance is asking; nova says whether it is of that project."""

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
        claim = self._claim(request)
        self._check_signature(claim)
        uuid = claim[0].decode("latin-1")
        return await self._proofs.prove(claim, self.asking_headers(request), stale=stale, uuid=uuid)

    def _claim(self, request: Request) -> tuple[bytes, bytes, bytes]:
        """Instance, tenant and signature; the same checks in the same order as nova's."""
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

    def _check_signature(self, claim: tuple[bytes, bytes, bytes]) -> None:
        instance_id, _, signature = claim
        if not hmac.compare_digest(self._sign(instance_id), signature):
            raise SignatureWrong(
                "the signature of the metadata proxy does not fit: the operator should compare "
                "metadata_proxy_shared_secret here, in nova and in neutron's agents"
            )

    async def is_gone(self, instance: Instance) -> bool:
        """The secret lets this service ask of any instance, as the agents do."""
        uuid = instance.uuid.encode("latin-1")
        values = (uuid, instance.project_id.encode("latin-1"), self._sign(uuid))
        return await self._proofs.is_unknown(list(zip(NEUTRON, values, strict=True)))

    def headers_for_nova(self, request: Request) -> Headers:
        return request.headers

    def asking_headers(self, request: Request) -> Headers:
        return [(name, value) for name, value in request.headers if name in ASKING]
