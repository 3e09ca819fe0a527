# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Nova finds the instance in its own way, by a load balancer's headers or by the address.
"""

from __future__ import annotations

from peerdata.identity.headers import ASKING, only
from peerdata.identity.interface import Found, Request, Settle
from peerdata.identity.proofs import Proofs, Question
from peerdata.identity.proxies import TrustedProxies
from peerdata.model import Instance
from peerdata.upstream.nova import Headers, NovaAnswer


class UpstreamIdentity:
    """What a trusted balancer sends, or the caller's own address, goes to nova; whom nova finds by it is asking."""

    through_neutron = False

    def __init__(self, proxies: TrustedProxies, proofs: Proofs) -> None:
        self._proxies = proxies
        self._proofs = proofs

    def recall(self, request: Request) -> Instance | None:
        return self._proofs.recall(self._claim(request))

    async def prove(self, request: Request, *, stale: bool = False) -> Instance:
        return await self._proofs.prove(self._question(request), stale=stale)

    async def read_document(self, request: Request, version: str) -> Found | NovaAnswer:
        return await self._proofs.read_document(self._question(request), version)

    def begin_document(self, request: Request, version: str, settle: Settle) -> None:
        self._proofs.begin_document(self._question(request), version, settle)

    def _question(self, request: Request) -> Question:
        claim = self._claim(request)
        return Question(claim, claim)

    def _claim(self, request: Request) -> tuple[tuple[bytes, bytes], ...]:
        """The headers by which nova is to find the instance."""
        source = (b"x-forwarded-for", self._proxies.source(request).encode("latin-1"))
        if request.client not in self._proxies:
            return (source,)
        only(request, *sorted(ASKING - {b"x-forwarded-for"}))
        given = ((name, value) for name, value in request.headers if name in ASKING)
        return (source, *((name, value) for name, value in given if name not in (b"x-forwarded-for", b"forwarded")))

    async def is_gone(self, instance: Instance) -> bool:
        """Nova finds instances by what they send, so nobody can ask for another."""
        return False

    def name_of(self, instance: Instance) -> str:
        """Proofs are found by what callers send, and not by the instance."""
        return ""

    def headers_for_nova(self, request: Request) -> Headers:
        """Nobody but a trusted proxy may say who is asking."""
        # To a WSGI server `X_Forwarded_For` is the same header as `X-Forwarded-For` (PEP 3333, environ variables).
        others = [(name, value) for name, value in request.headers if name.replace(b"_", b"-") not in ASKING]
        return [*others, *self._claim(request)]

    def asking_headers(self, request: Request) -> Headers:
        return self._claim(request)
