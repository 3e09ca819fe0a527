"""Mode neutron: signed headers, the same checks in the same order as nova's."""

import pytest

from peerdata.errors import (
    IdentityMissing,
    IdentityRefused,
    IdentityRepeated,
    InstanceUnknown,
    SignatureWrong,
    UpstreamFailed,
    UpstreamSilent,
)
from peerdata.identity.neutron import NeutronIdentity
from peerdata.identity.proofs import Proofs
from peerdata.model import Instance

from .fakes import ALICE, BOB, PROJECT, SECRET, Asking, Clock, FakeNova, sign, through_neutron

SIGNED = ("x-instance-id", "x-tenant-id", "x-instance-id-signature")


@pytest.fixture
def identity(nova: FakeNova, clock: Clock) -> NeutronIdentity:
    """With proofs that are fresh for 300 s."""
    return NeutronIdentity(SECRET, Proofs(nova, clock, lifetime_s=300, stale_lifetime_s=3600, most=10))


def without(name: str) -> Asking:
    return Asking([header for header in through_neutron().headers if header[0] != name.encode()])


def with_signature(signature: bytes) -> Asking:
    return Asking([*without("x-instance-id-signature").headers, (b"x-instance-id-signature", signature)])


async def test_a_signed_instance_that_nova_knows_is_proven(identity: NeutronIdentity, nova: FakeNova) -> None:
    assert identity.recall(through_neutron()) is None
    assert await identity.prove(through_neutron()) == Instance(ALICE, PROJECT)
    assert identity.recall(through_neutron()) == Instance(ALICE, PROJECT)
    assert len(nova.questions) == 1


async def test_nova_is_asked_with_the_headers_of_the_proxy_and_no_others(
    identity: NeutronIdentity, nova: FakeNova
) -> None:
    await identity.prove(through_neutron(cookie=b"a=b", range=b"bytes=0-1", if_none_match=b'"x"'))
    assert nova.questions == [dict(through_neutron().headers)]


@pytest.mark.parametrize("name", SIGNED)
async def test_a_header_that_is_missing_is_named(identity: NeutronIdentity, nova: FakeNova, name: str) -> None:
    with pytest.raises(IdentityMissing, match=name) as refused:
        identity.recall(without(name))
    assert refused.value.facts == {"header": name}
    with pytest.raises(IdentityMissing, match=name):
        await identity.prove(without(name))
    assert nova.questions == []


def test_without_any_of_them_the_first_is_named(identity: NeutronIdentity) -> None:
    with pytest.raises(IdentityMissing, match="x-instance-id is missing"):
        identity.recall(Asking([]))


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("same", [True, False])
def test_a_header_that_is_there_twice_is_refused_even_with_the_same_value(
    identity: NeutronIdentity, name: str, same: bool
) -> None:
    asking = through_neutron()
    value = dict(asking.headers)[name.encode()] if same else b"other"
    for again in (Asking([*asking.headers, (name.encode(), value)]), Asking([(name.encode(), value), *asking.headers])):
        with pytest.raises(IdentityRepeated, match=name) as refused:
            identity.recall(again)
        assert refused.value.facts == {"header": name}


def test_other_headers_may_be_there_twice(identity: NeutronIdentity) -> None:
    asking = through_neutron()
    asking.headers += [(b"accept", b"a"), (b"accept", b"b"), (b"x-forwarded-for", b"10.0.0.9")]
    assert identity.recall(asking) is None


def test_a_header_that_is_there_twice_is_told_before_one_that_is_missing(identity: NeutronIdentity) -> None:
    asking = without("x-instance-id")
    asking.headers.append((b"x-tenant-id", b"other"))
    with pytest.raises(IdentityRepeated):
        identity.recall(asking)


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"0" * 64, id="wrong"),
        pytest.param(sign(ALICE.encode(), "another secret"), id="of another secret"),
        pytest.param(sign(BOB.encode()), id="of another instance"),
        pytest.param(sign(ALICE.encode())[:-1], id="cut"),
        pytest.param(sign(ALICE.encode()) + b"0", id="longer"),
        pytest.param(sign(ALICE.encode()).upper(), id="in capitals, which nova refuses too"),
        pytest.param(b"\xff\xfe", id="not ASCII"),
        pytest.param("ü".encode() * 32, id="UTF-8"),
    ],
)
async def test_a_signature_that_does_not_fit_is_refused_before_nova_is_asked(
    identity: NeutronIdentity, nova: FakeNova, signature: bytes
) -> None:
    with pytest.raises(SignatureWrong, match="metadata_proxy_shared_secret"):
        await identity.prove(with_signature(signature))
    assert nova.questions == []


async def test_a_known_instance_still_needs_its_signature(identity: NeutronIdentity) -> None:
    await identity.prove(through_neutron())
    with pytest.raises(SignatureWrong):
        identity.recall(with_signature(b"0" * 64))


async def test_the_signature_does_not_cover_the_tenant_so_nova_is_asked_for_each(
    identity: NeutronIdentity, nova: FakeNova
) -> None:
    await identity.prove(through_neutron())
    assert identity.recall(through_neutron(tenant="green")) is None
    await identity.prove(through_neutron(tenant="green"))
    assert [question[b"x-tenant-id"] for question in nova.questions] == [b"blue", b"green"]


async def test_the_project_is_the_one_that_nova_names_not_the_one_that_is_claimed(identity: NeutronIdentity) -> None:
    assert await identity.prove(through_neutron(tenant="green")) == Instance(ALICE, "blue")


async def test_an_instance_that_nova_does_not_know_is_unknown(identity: NeutronIdentity) -> None:
    stranger = "57444e6e-0000-4000-8000-000000000009"
    with pytest.raises(InstanceUnknown):
        await identity.prove(through_neutron(stranger))


async def test_an_instance_id_that_is_not_utf8_is_only_unknown(identity: NeutronIdentity) -> None:
    odd = b"\xff\xe9"
    asking = Asking([(b"x-instance-id", odd), (b"x-tenant-id", b"blue"), (b"x-instance-id-signature", sign(odd))])
    with pytest.raises(InstanceUnknown):
        await identity.prove(asking)


async def test_nova_answering_for_another_instance_is_a_failure(identity: NeutronIdentity, nova: FakeNova) -> None:
    nova.documents[ALICE.encode()] = {"uuid": BOB, "project_id": PROJECT}
    with pytest.raises(UpstreamFailed, match="another instance"):
        await identity.prove(through_neutron())


async def test_nova_answering_for_another_instance_proves_nothing(identity: NeutronIdentity, nova: FakeNova) -> None:
    """Otherwise the second request of an instance would be taken for one of the other's."""
    nova.documents[ALICE.encode()] = {"uuid": BOB, "project_id": PROJECT}
    with pytest.raises(UpstreamFailed):
        await identity.prove(through_neutron())
    assert identity.recall(through_neutron()) is None
    nova.status = 0
    with pytest.raises(UpstreamSilent):
        await identity.prove(through_neutron(), stale=True)


async def test_what_nova_refuses_is_refused(identity: NeutronIdentity, nova: FakeNova) -> None:
    """Nova's secret may be another than ours."""
    nova.status = 403
    with pytest.raises(SignatureWrong):
        await identity.prove(through_neutron())
    nova.status = 400
    with pytest.raises(IdentityRefused):
        await identity.prove(through_neutron())


def test_nova_sees_the_requests_headers_as_they_came(identity: NeutronIdentity) -> None:
    asking = through_neutron(accept=b"*/*", user_agent=b"curl")
    assert list(identity.headers_for_nova(asking)) == asking.headers


def test_our_own_questions_carry_nothing_but_who_asks(identity: NeutronIdentity) -> None:
    asking = through_neutron(accept_encoding=b"gzip", if_none_match=b"*", range=b"bytes=0-1", host=b"x")
    assert list(identity.asking_headers(asking)) == through_neutron().headers


def test_callers_come_through_neutron(identity: NeutronIdentity) -> None:
    assert identity.through_neutron
