# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Which instance is asking: a request in, a proven `Instance` out. The rules stand in docs/protocol.md, "Who is asking".

Three ways, one seam (`Identity`). Two of them take nova's word, which is kept for a while (`Proofs`);
the third, the inventory, needs nobody's.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

from peerdata import metrics
from peerdata.errors import (
    IdentityMissing,
    IdentityRefused,
    IdentityRepeated,
    InstanceUnknown,
    ServerBusy,
    SignatureWrong,
    UpstreamFailed,
    UpstreamSilent,
)
from peerdata.model import Instance
from peerdata.upstream.inventory import Inventory
from peerdata.upstream.nova import Headers, Nova

Clock = Callable[[], float]
"""Seconds; only differences count, and it never goes back."""


class Request(Protocol):
    """What of a request may tell who is asking; `httpd.messages.Request` is one."""

    headers: list[tuple[bytes, bytes]]
    """Names in lower case, in order."""
    client: str
    """Address at the other end of the connection."""


OLD_PROOF_PATIENCE_S = 1.0
"""How long who has an old proof waits for a new one, where the old one will do."""

RETRY_S = 10.0
"""How long after nova was silent it is not asked again where an old proof will do, each time to its timeout."""


class Identity(Protocol):
    """One way of knowing who asks."""

    through_neutron: bool
    """Whether callers come through neutron, where only some statuses arrive."""

    def recall(self, request: Request) -> Instance | None:
        """
        The caller, if that is known without asking anybody; None: `prove` must ask.

        Raises:
            IdentityRefused: the request's headers are wrong, whoever sent it.
        """

    async def prove(self, request: Request, *, stale: bool = False) -> Instance:
        """
        The caller, asking nova where needed.

        Args:
            request: Its headers and source address count, nothing else.
            stale: While nova is away, an old proof will do. For reads of what was known while it was young.

        Raises:
            IdentityRefused; UpstreamFailed.
        """

    async def is_gone(self, instance: Instance) -> bool:
        """
        Whether an instance is known not to exist any more, in its project. False also where that cannot be told.

        Raises:
            UpstreamFailed, ServerBusy: it cannot be told now.
        """

    def headers_for_nova(self, request: Request) -> Headers:
        """The request's headers, as nova may see them when the request is passed on."""

    def asking_headers(self, request: Request) -> Headers:
        """Only those by which nova finds the caller, for questions of our own: what the caller accepts is not ours."""


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


def _only(request: Request, *names: bytes) -> list[bytes | None]:
    """
    The values of the headers *names*, None where one is missing.

    Raises:
        IdentityRepeated: one of them is there twice, so two parties disagree on who is asking.
    """
    headers = dict(request.headers)
    if len(headers) != len(request.headers):
        for name in names:
            if sum(1 for other, _ in request.headers if other == name) > 1:
                shown = name.decode()
                raise IdentityRepeated(f"the header {shown} is there more than once", header=shown)
    return [headers.get(name) for name in names]


_NEUTRON_HEADERS = (b"x-instance-id", b"x-tenant-id", b"x-instance-id-signature")


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
        instance_id, tenant_id, signature = _only(request, *_NEUTRON_HEADERS)
        if instance_id is None or signature is None or tenant_id is None:
            there = {name for name, _ in request.headers}
            missing = next(name for name in _NEUTRON_HEADERS if name not in there).decode()
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
        return await self._proofs.is_unknown(list(zip(_NEUTRON_HEADERS, values, strict=True)))

    def headers_for_nova(self, request: Request) -> Headers:
        return request.headers

    def asking_headers(self, request: Request) -> Headers:
        return [(name, value) for name, value in request.headers if name in _ASKING_HEADERS]


_ASKING_HEADERS = frozenset(
    (*_NEUTRON_HEADERS, b"x-forwarded-for", b"forwarded", b"x-metadata-provider", b"x-metadata-provider-signature")
)
"""All headers by which nova, or oslo.middleware in front of it, finds who is asking."""

Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]


class TrustedProxies:
    """The addresses whose word on the caller's address is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]
        # Every request asks for the same few addresses, and parsing one costs 5 microseconds.
        self._trusts = lru_cache(maxsize=16_384)(self._find)

    def __contains__(self, address: str) -> bool:
        return self._trusts(address)

    def _find(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    def source(self, request: Request) -> str:
        """
        The address of the caller itself: the connection's, or what a trusted proxy at its other end says.

        Behind several proxies each appends whom it saw, so the last address that is
        not itself a trusted proxy is the caller; what stands before it, the caller wrote.
        """
        if request.client not in self:
            return request.client
        values = [value for name, value in request.headers if name == b"x-forwarded-for"]
        hops = [hop.strip() for hop in b",".join(values).decode("latin-1").split(",") if hop.strip()]
        return next((hop for hop in reversed(hops) if hop not in self), hops[0] if hops else request.client)


class UpstreamIdentity:
    """Nova finds the instance in its own way, by a load balancer's headers or by the address."""

    through_neutron = False

    def __init__(self, proxies: TrustedProxies, proofs: Proofs) -> None:
        self._proxies = proxies
        self._proofs = proofs

    def recall(self, request: Request) -> Instance | None:
        return self._proofs.recall(self._claim(request))

    async def prove(self, request: Request, *, stale: bool = False) -> Instance:
        return await self._proofs.prove(self._claim(request), self._claim(request), stale=stale)

    def _claim(self, request: Request) -> tuple[tuple[bytes, bytes], ...]:
        """The headers by which nova is to find the instance."""
        source = (b"x-forwarded-for", self._proxies.source(request).encode("latin-1"))
        if request.client not in self._proxies:
            return (source,)
        _only(request, *sorted(_ASKING_HEADERS - {b"x-forwarded-for"}))
        given = ((name, value) for name, value in request.headers if name in _ASKING_HEADERS)
        return (source, *((name, value) for name, value in given if name not in (b"x-forwarded-for", b"forwarded")))

    async def is_gone(self, instance: Instance) -> bool:
        """Nova finds instances by what they send, so nobody can ask for another."""
        return False

    def headers_for_nova(self, request: Request) -> Headers:
        """Nobody but a trusted proxy may say who is asking."""
        # To a WSGI server `X_Forwarded_For` is the same header as `X-Forwarded-For` (PEP 3333, environ variables).
        others = [(name, value) for name, value in request.headers if name.replace(b"_", b"-") not in _ASKING_HEADERS]
        return [*others, *self._claim(request)]

    def asking_headers(self, request: Request) -> Headers:
        return self._claim(request)


class InventoryIdentity:
    """Stand-alone: a file says which instance has an address."""

    through_neutron = False

    def __init__(self, proxies: TrustedProxies, inventory: Inventory) -> None:
        self._proxies = proxies
        self._inventory = inventory

    def recall(self, request: Request) -> Instance | None:
        source = self._proxies.source(request)
        found = self._inventory.find(source)
        if found is None:
            raise InstanceUnknown(f"the inventory has no instance with the address {source}", address=source)
        return found.instance

    async def prove(self, request: Request, *, stale: bool = False) -> Instance:
        instance = self.recall(request)
        assert instance is not None
        return instance

    async def is_gone(self, instance: Instance) -> bool:
        return self._inventory.describe(instance) is None

    def headers_for_nova(self, request: Request) -> Headers:
        raise AssertionError("stand-alone there is no nova")

    def asking_headers(self, request: Request) -> Headers:
        raise AssertionError("stand-alone there is no nova")
