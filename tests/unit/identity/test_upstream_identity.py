"""Mode upstream: nova finds the instance itself, and only a trusted proxy may tell it where to look."""

from collections.abc import Iterable

import pytest

from peerdata.errors import IdentityRepeated, InstanceUnknown
from peerdata.identity.proofs import Proofs
from peerdata.identity.proxies import TrustedProxies
from peerdata.identity.upstream import UpstreamIdentity
from peerdata.model import Instance

from .fakes import ALICE, BOB, PROJECT, Asking, Clock, FakeNova

PROXY = "192.0.2.1"
STRANGER = "198.51.100.7"


@pytest.fixture
def identity(nova: FakeNova, clock: Clock) -> UpstreamIdentity:
    """Trusts `PROXY`."""
    proofs = Proofs(nova, clock, lifetime_s=15, stale_lifetime_s=15, most=10)
    return UpstreamIdentity(TrustedProxies([PROXY, "2001:db8::/64"]), proofs)


def asking(client: str, *headers: tuple[bytes, bytes]) -> Asking:
    return Asking(list(headers), client)


def sorted_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return sorted(headers)


async def test_a_caller_is_found_by_its_own_address(identity: UpstreamIdentity, nova: FakeNova) -> None:
    assert await identity.prove(asking("10.0.0.1")) == Instance(ALICE, PROJECT)
    assert nova.questions == [{b"x-forwarded-for": b"10.0.0.1"}]
    assert identity.recall(asking("10.0.0.1")) == Instance(ALICE, PROJECT)


async def test_behind_a_trusted_proxy_the_address_is_the_forwarded_one(identity: UpstreamIdentity) -> None:
    assert await identity.prove(asking(PROXY, (b"x-forwarded-for", b"10.0.0.2"))) == Instance(BOB, PROJECT)


async def test_from_anybody_else_a_forwarded_address_is_not_believed(
    identity: UpstreamIdentity, nova: FakeNova
) -> None:
    with pytest.raises(InstanceUnknown):
        await identity.prove(asking(STRANGER, (b"x-forwarded-for", b"10.0.0.1")))
    assert nova.questions == [{b"x-forwarded-for": STRANGER.encode()}]


FORGED = [
    (b"x-forwarded-for", b"10.0.0.1"),
    (b"x_forwarded_for", b"10.0.0.1"),
    (b"x-forwarded_for", b"10.0.0.1"),
    (b"forwarded", b"for=10.0.0.1"),
    (b"x-instance-id", ALICE.encode()),
    (b"x_instance_id", ALICE.encode()),
    (b"x-tenant-id", b"blue"),
    (b"x_tenant_id", b"blue"),
    (b"x-instance-id-signature", b"00"),
    (b"x_instance_id_signature", b"00"),
    (b"x-metadata-provider", b"router"),
    (b"x_metadata_provider", b"router"),
    (b"x-metadata-provider-signature", b"00"),
    (b"x_metadata_provider_signature", b"00"),
]


@pytest.mark.parametrize("header", FORGED)
async def test_nothing_that_a_caller_sends_says_who_it_is(
    identity: UpstreamIdentity, nova: FakeNova, header: tuple[bytes, bytes]
) -> None:
    """A WSGI server takes ``X_Forwarded_For`` for ``X-Forwarded-For``, so nova must see neither."""
    request = asking("10.0.0.2", header, (b"accept", b"*/*"))
    assert await identity.prove(request) == Instance(BOB, PROJECT)
    assert nova.questions == [{b"x-forwarded-for": b"10.0.0.2"}]
    assert sorted_headers(identity.headers_for_nova(request)) == [
        (b"accept", b"*/*"),
        (b"x-forwarded-for", b"10.0.0.2"),
    ]


@pytest.mark.parametrize("header", [header for header in FORGED if b"_" in header[0]])
def test_even_from_a_trusted_proxy_names_with_underscores_do_not_reach_nova(
    identity: UpstreamIdentity, header: tuple[bytes, bytes]
) -> None:
    """The proxy guards the names that it knows; a guest behind it may have sent these."""
    request = asking(PROXY, (b"x-forwarded-for", b"10.0.0.2"), header)
    assert list(identity.headers_for_nova(request)) == [(b"x-forwarded-for", b"10.0.0.2")]


def test_other_names_with_underscores_are_passed_on(identity: UpstreamIdentity) -> None:
    assert (b"x_own", b"1") in list(identity.headers_for_nova(asking(STRANGER, (b"x_own", b"1"))))


async def test_the_load_balancers_own_headers_are_passed_on_and_are_part_of_the_claim(
    identity: UpstreamIdentity, nova: FakeNova
) -> None:
    router = (b"x-metadata-provider", b"router-1")
    signature = (b"x-metadata-provider-signature", b"5159")
    forwarded = (b"x-forwarded-for", b"10.0.0.1")
    request = asking(PROXY, forwarded, router, signature)
    await identity.prove(request)
    assert nova.questions == [dict([forwarded, router, signature])]
    assert sorted_headers(identity.headers_for_nova(request)) == sorted([forwarded, router, signature])
    other_router = asking(PROXY, forwarded, (b"x-metadata-provider", b"router-2"), signature)
    assert identity.recall(request) is not None
    assert identity.recall(other_router) is None


def test_forwarded_is_dropped_even_from_a_trusted_proxy(identity: UpstreamIdentity) -> None:
    """Oslo.middleware behind us would believe it over ours."""
    request = asking(PROXY, (b"x-forwarded-for", b"10.0.0.1"), (b"forwarded", b"for=10.0.0.2"))
    assert list(identity.headers_for_nova(request)) == [(b"x-forwarded-for", b"10.0.0.1")]


@pytest.mark.parametrize(
    "name", [b"x-metadata-provider", b"x-metadata-provider-signature", b"x-instance-id", b"x-tenant-id", b"forwarded"]
)
def test_a_header_that_a_trusted_proxy_sends_twice_is_refused(identity: UpstreamIdentity, name: bytes) -> None:
    request = asking(PROXY, (b"x-forwarded-for", b"10.0.0.1"), (name, b"1"), (name, b"2"))
    with pytest.raises(IdentityRepeated, match=name.decode()):
        identity.recall(request)


def test_a_header_that_anybody_else_sends_twice_is_dropped(identity: UpstreamIdentity) -> None:
    request = asking(STRANGER, (b"x-tenant-id", b"1"), (b"x-tenant-id", b"2"))
    assert identity.recall(request) is None
    assert list(identity.headers_for_nova(request)) == [(b"x-forwarded-for", STRANGER.encode())]


def test_our_own_questions_carry_nothing_but_who_asks(identity: UpstreamIdentity) -> None:
    headers = ((b"accept-encoding", b"gzip"), (b"x_instance_id", b"1"), (b"x-forwarded-for", b"10.0.0.1"))
    assert list(identity.asking_headers(asking(STRANGER, *headers))) == [(b"x-forwarded-for", STRANGER.encode())]
    assert list(identity.asking_headers(asking(PROXY, *headers))) == [(b"x-forwarded-for", b"10.0.0.1")]


def test_callers_do_not_come_through_neutron(identity: UpstreamIdentity) -> None:
    assert not identity.through_neutron


@pytest.mark.parametrize(
    ("client", "forwarded", "source"),
    [
        (STRANGER, [], STRANGER),
        (STRANGER, [b"10.0.0.1"], STRANGER),
        (PROXY, [], PROXY),
        (PROXY, [b""], PROXY),
        (PROXY, [b" , ,"], PROXY),
        (PROXY, [b"10.0.0.1"], "10.0.0.1"),
        (PROXY, [b" 10.0.0.1 "], "10.0.0.1"),
        # What stands in front, the caller itself has written.
        (PROXY, [b"10.0.0.2, 10.0.0.1"], "10.0.0.1"),
        (PROXY, [b"10.0.0.2", b"10.0.0.1"], "10.0.0.1"),
        (PROXY, [b"10.0.0.2, 10.0.0.1, 192.0.2.1"], "10.0.0.1"),
        (PROXY, [b"10.0.0.2,10.0.0.1", b"192.0.2.1"], "10.0.0.1"),
        (PROXY, [b"192.0.2.1"], "192.0.2.1"),
        (PROXY, [b"unknown, 10.0.0.1"], "10.0.0.1"),
        (PROXY, [b"10.0.0.1, unknown"], "unknown"),
        (PROXY, [b"\xff"], "ÿ"),
        ("2001:db8::5", [b"2001:db9::1"], "2001:db9::1"),
        ("2001:db8:0:1::5", [b"2001:db9::1"], "2001:db8:0:1::5"),
        ("", [b"10.0.0.1"], ""),
        ("not an address", [b"10.0.0.1"], "not an address"),
    ],
)
def test_the_source_is_the_last_address_that_is_no_trusted_proxy(
    client: str, forwarded: list[bytes], source: str
) -> None:
    proxies = TrustedProxies([PROXY, "2001:db8::/64"])
    assert proxies.source(asking(client, *((b"x-forwarded-for", value) for value in forwarded))) == source


def test_nobody_is_trusted_unless_listed() -> None:
    proxies = TrustedProxies([])
    assert "127.0.0.1" not in proxies
    assert proxies.source(asking("127.0.0.1", (b"x-forwarded-for", b"10.0.0.1"))) == "127.0.0.1"


def test_a_network_may_be_named_by_any_address_in_it() -> None:
    proxies = TrustedProxies(["192.0.2.77/24", "::1"])
    assert "192.0.2.1" in proxies
    assert "192.0.3.1" not in proxies
    assert "::1" in proxies
    assert "::2" not in proxies
