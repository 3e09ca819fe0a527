"""The document that proves its caller: one question for both, shared by all who ask at the moment."""

import asyncio

import pytest

from peerdata.errors import UpstreamFailed, UpstreamSilent
from peerdata.identity.interface import Found
from peerdata.identity.proofs import Proofs, Question
from peerdata.model import Instance
from peerdata.upstream.nova import NovaAnswer

from .fakes import ALICE, BOB, PROJECT, Clock, FakeNova

ALICES = Question("alice's", [(b"x-instance-id", ALICE.encode())], Instance(ALICE, PROJECT))
PROVEN = Instance(ALICE, PROJECT)
OLD, NEW = "2013-10-17", "2015-10-15"
"""Before and since nova names the project."""


@pytest.fixture
def proofs(nova: FakeNova, clock: Clock) -> Proofs:
    """Fresh for 300 s."""
    return Proofs(nova, clock, lifetime_s=300, stale_lifetime_s=3600, most=2)


async def found(proofs: Proofs, version: str = "latest") -> Found:
    outcome = await proofs.read_document(ALICES, version)
    assert isinstance(outcome, Found)
    return outcome


@pytest.mark.parametrize("version", ["latest", NEW, "2031-01-01"])
async def test_a_document_that_names_the_project_proves_its_caller(
    proofs: Proofs, nova: FakeNova, version: str
) -> None:
    assert (await found(proofs, version)).instance == PROVEN
    assert proofs.recall(ALICES.claim) == PROVEN
    assert nova.versions == [version]


async def test_a_version_without_the_project_wants_a_proof_first(proofs: Proofs, nova: FakeNova) -> None:
    outcome = await found(proofs, OLD)
    assert outcome.instance == PROVEN
    assert "project_id" not in outcome.document
    assert nova.versions == ["latest", OLD]
    await found(proofs, OLD)
    assert nova.versions == ["latest", OLD, OLD]


async def test_a_version_without_the_project_does_not_make_a_proof_younger(
    proofs: Proofs, nova: FakeNova, clock: Clock
) -> None:
    await found(proofs)
    clock.now += 200
    await found(proofs, OLD)
    clock.now += 100
    assert proofs.recall(ALICES.claim) is None


async def test_a_version_with_the_project_does(proofs: Proofs, clock: Clock) -> None:
    await found(proofs)
    clock.now += 200
    await found(proofs, NEW)
    clock.now += 100
    assert proofs.recall(ALICES.claim) == PROVEN


async def test_with_a_lifetime_of_0_a_version_without_the_project_is_proven_each_time(
    nova: FakeNova, clock: Clock
) -> None:
    proofs = Proofs(nova, clock, lifetime_s=0, stale_lifetime_s=0, most=2)
    for _ in range(2):
        assert (await found(proofs, OLD)).instance == PROVEN
    assert nova.versions == ["latest", OLD] * 2


async def test_all_who_ask_at_the_moment_share_one_question_the_proofs_own_too(proofs: Proofs, nova: FakeNova) -> None:
    nova.may_answer.clear()
    readers = [asyncio.ensure_future(found(proofs)) for _ in range(5)]
    prover = asyncio.ensure_future(proofs.prove(ALICES, stale=False))
    await nova.asked.wait()
    nova.may_answer.set()
    outcomes = await asyncio.gather(*readers)
    assert [outcome.answer.body for outcome in outcomes] == [b"1"] * 5
    assert await prover == PROVEN
    assert len(nova.questions) == 1


async def test_who_asks_later_has_an_answer_of_its_own(proofs: Proofs, nova: FakeNova) -> None:
    assert [(await found(proofs)).answer.body for _ in range(3)] == [b"1", b"2", b"3"]


async def test_each_version_is_a_question_of_its_own(proofs: Proofs, nova: FakeNova) -> None:
    await asyncio.gather(found(proofs), found(proofs, NEW))
    assert sorted(nova.versions) == [NEW, "latest"]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("version", [OLD, NEW, "latest"])
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
async def test_what_is_not_a_200_is_handed_on_as_it_is(
    proofs: Proofs, nova: FakeNova, status: int, version: str, known: bool
) -> None:
    if known:
        await found(proofs)
    nova.status = status
    outcome = await proofs.read_document(ALICES, version)
    assert isinstance(outcome, NovaAnswer)
    assert outcome.status == status
    assert len(nova.questions) == 1 + known


@pytest.mark.parametrize(
    ("status", "version", "still_known"),
    [
        (404, "latest", False),
        (403, "latest", False),
        (403, NEW, False),
        (404, NEW, True),  # a nova that is just being upgraded may know one version less
        (429, "latest", True),
        (500, "latest", True),
    ],
)
async def test_what_nova_refuses_ends_the_proof(
    proofs: Proofs, nova: FakeNova, status: int, version: str, still_known: bool
) -> None:
    await found(proofs)
    nova.status = status
    await proofs.read_document(ALICES, version)
    assert proofs.recall(ALICES.claim) == (PROVEN if still_known else None)


@pytest.mark.parametrize("version", ["latest", NEW, OLD])
@pytest.mark.parametrize(
    "wrong", [{"uuid": BOB, "project_id": PROJECT}, {"uuid": ALICE, "project_id": None}, {"uuid": "", "project_id": ""}]
)
async def test_a_document_of_another_proves_nothing(
    proofs: Proofs, nova: FakeNova, version: str, wrong: dict[str, str]
) -> None:
    nova.documents[ALICE.encode()] = wrong
    with pytest.raises(UpstreamFailed):
        await proofs.read_document(ALICES, version)
    assert proofs.recall(ALICES.claim) is None


async def test_a_document_of_another_than_the_one_that_is_known_is_a_failure_and_changes_nothing(
    proofs: Proofs, nova: FakeNova
) -> None:
    """An address that nova gave to another; by it nobody is named."""
    by_address = Question("10.0.0.1", [(b"x-forwarded-for", b"10.0.0.1")])
    await proofs.read_document(by_address, "latest")
    nova.documents[b"10.0.0.1"] = {"uuid": BOB, "project_id": PROJECT}
    for version in ("latest", OLD):
        with pytest.raises(UpstreamFailed):
            await proofs.read_document(by_address, version)
    assert proofs.recall("10.0.0.1") == PROVEN


async def test_a_silent_nova_is_a_failure_also_for_who_has_an_old_proof(proofs: Proofs, nova: FakeNova) -> None:
    await found(proofs)
    nova.status = 0
    with pytest.raises(UpstreamSilent):
        await proofs.read_document(ALICES, "latest")
