"""Nova's word on who asks: how long it counts, how many are kept, and that one question serves all who wait."""

import asyncio
from typing import Any

import pytest

from peerdata.errors import IdentityRefused, InstanceUnknown, ServerBusy, SignatureWrong, UpstreamFailed, UpstreamSilent
from peerdata.identity.proofs import Proofs, Question
from peerdata.model import Instance

from .fakes import ALICE, BOB, PROJECT, Clock, FakeNova

CLAIM = "alice's"
HEADERS = [(b"x-instance-id", ALICE.encode())]
PROVEN = Instance(ALICE, PROJECT)


@pytest.fixture
def proofs(nova: FakeNova, clock: Clock) -> Proofs:
    """Fresh for 300 s, of use in need for 3600 s, two at most."""
    return Proofs(nova, clock, lifetime_s=300, stale_lifetime_s=3600, most=2)


async def prove(proofs: Proofs, uuid: str = ALICE, *, stale: bool = False) -> Instance:
    return await proofs.prove(Question(uuid, [(b"x-instance-id", uuid.encode())]), stale=stale)


async def test_nova_is_asked_once_within_the_lifetime(proofs: Proofs, nova: FakeNova, clock: Clock) -> None:
    assert proofs.recall(ALICE) is None
    assert await prove(proofs) == PROVEN
    clock.now += 299.9
    assert proofs.recall(ALICE) == PROVEN
    assert await prove(proofs) == PROVEN
    assert len(nova.questions) == 1


async def test_nova_is_asked_again_when_the_lifetime_is_over(proofs: Proofs, nova: FakeNova, clock: Clock) -> None:
    await prove(proofs)
    clock.now += 300
    assert proofs.recall(ALICE) is None
    nova.documents[ALICE.encode()]["project_id"] = "green"
    assert await prove(proofs) == Instance(ALICE, "green")
    assert len(nova.questions) == 2


async def test_with_a_lifetime_of_0_nova_is_asked_every_time(nova: FakeNova, clock: Clock) -> None:
    proofs = Proofs(nova, clock, lifetime_s=0, stale_lifetime_s=0, most=2)
    await prove(proofs)
    await prove(proofs)
    assert len(nova.questions) == 2


async def test_one_question_serves_everybody_who_waits_for_it(proofs: Proofs, nova: FakeNova) -> None:
    nova.may_answer.clear()
    waiting = [asyncio.ensure_future(prove(proofs)) for _ in range(50)]
    await nova.asked.wait()
    nova.may_answer.set()
    assert await asyncio.gather(*waiting) == [PROVEN] * 50
    assert len(nova.questions) == 1


async def test_who_gives_up_waiting_does_not_take_the_answer_from_the_others(proofs: Proofs, nova: FakeNova) -> None:
    nova.may_answer.clear()
    first, second = (asyncio.ensure_future(prove(proofs)) for _ in range(2))
    await nova.asked.wait()
    first.cancel()
    nova.may_answer.set()
    assert await second == PROVEN
    assert first.cancelled()
    assert len(nova.questions) == 1


async def test_a_failure_is_told_to_all_who_wait_and_not_remembered(proofs: Proofs, nova: FakeNova) -> None:
    nova.status = 0
    nova.may_answer.clear()
    waiting = [asyncio.ensure_future(prove(proofs)) for _ in range(3)]
    await nova.asked.wait()
    nova.may_answer.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UpstreamSilent] * 3
    nova.status = 200
    assert await prove(proofs) == PROVEN


async def test_different_claims_are_asked_side_by_side(proofs: Proofs, nova: FakeNova) -> None:
    nova.may_answer.clear()
    waiting = [asyncio.ensure_future(prove(proofs, uuid)) for uuid in (ALICE, BOB)]
    await nova.asked.wait()
    await asyncio.sleep(0)
    assert len(nova.questions) == 2
    nova.may_answer.set()
    assert await asyncio.gather(*waiting) == [PROVEN, Instance(BOB, PROJECT)]


async def test_while_nova_is_away_an_old_proof_serves_who_accepts_it(
    proofs: Proofs, nova: FakeNova, clock: Clock
) -> None:
    await prove(proofs)
    nova.status = 0
    clock.now += 300
    with pytest.raises(UpstreamSilent):
        await prove(proofs)
    assert await prove(proofs, stale=True) == PROVEN
    clock.now += 3299.9
    assert await prove(proofs, stale=True) == PROVEN
    clock.now += 0.1
    with pytest.raises(UpstreamSilent):
        await prove(proofs, stale=True)


async def test_an_old_proof_never_serves_while_nova_answers(proofs: Proofs, nova: FakeNova, clock: Clock) -> None:
    await prove(proofs)
    clock.now += 300
    await prove(proofs, stale=True)
    assert len(nova.questions) == 2


async def test_who_was_never_proven_gets_nothing_while_nova_is_away(proofs: Proofs, nova: FakeNova) -> None:
    nova.status = 0
    with pytest.raises(UpstreamSilent):
        await prove(proofs, stale=True)


async def test_the_stale_lifetime_is_never_shorter_than_the_lifetime(nova: FakeNova, clock: Clock) -> None:
    proofs = Proofs(nova, clock, lifetime_s=300, stale_lifetime_s=0, most=2)
    await prove(proofs)
    clock.now += 299
    assert proofs.recall(ALICE) == PROVEN


@pytest.mark.parametrize(
    ("status", "refusal", "still_known"),
    [
        (404, InstanceUnknown, False),
        (403, SignatureWrong, False),
        (400, IdentityRefused, True),
        (500, UpstreamFailed, True),
        (503, UpstreamFailed, True),
        (302, UpstreamFailed, True),
        (204, UpstreamFailed, True),
    ],
)
async def test_what_nova_says_of_a_known_instance_later_counts(
    proofs: Proofs, nova: FakeNova, clock: Clock, status: int, refusal: type[Exception], still_known: bool
) -> None:
    """Nova's 404 and 403 end an old proof; a nova that is unwell does not."""
    await prove(proofs)
    clock.now += 300
    nova.status = status
    with pytest.raises(refusal) as refused:
        await prove(proofs)
    assert type(refused.value) is refusal
    nova.status = 0
    if still_known:
        assert await prove(proofs, stale=True) == PROVEN
    else:
        with pytest.raises(UpstreamSilent):
            await prove(proofs, stale=True)


async def test_novas_404_is_told_even_to_who_would_accept_an_old_proof(
    proofs: Proofs, nova: FakeNova, clock: Clock
) -> None:
    await prove(proofs)
    clock.now += 300
    nova.status = 404
    with pytest.raises(InstanceUnknown):
        await prove(proofs, stale=True)


async def test_what_fails_for_one_instance_does_not_let_the_old_proof_of_another_serve(
    proofs: Proofs, nova: FakeNova, clock: Clock
) -> None:
    """Nova answers, but not usefully for bob; that alice was deleted must still be heard."""
    await prove(proofs)
    clock.now += 300
    nova.documents[BOB.encode()]["project_id"] = None
    with pytest.raises(UpstreamFailed):
        await prove(proofs, BOB)
    del nova.documents[ALICE.encode()]
    with pytest.raises(InstanceUnknown):
        await prove(proofs, stale=True)


async def test_the_proof_unused_for_longest_makes_room(proofs: Proofs, nova: FakeNova) -> None:
    nova.documents[b"third"] = {"uuid": "third", "project_id": PROJECT}
    await prove(proofs, ALICE)
    await prove(proofs, BOB)
    assert proofs.recall(ALICE) == PROVEN
    await prove(proofs, "third")
    assert proofs.recall(BOB) is None
    assert proofs.recall(ALICE) == PROVEN
    assert proofs.recall("third") == Instance("third", PROJECT)


async def test_the_number_of_proofs_never_exceeds_its_bound(nova: FakeNova, clock: Clock) -> None:
    proofs = Proofs(nova, clock, lifetime_s=300, stale_lifetime_s=3600, most=10)
    names = [f"i{number}" for number in range(100)]
    for name in names:
        nova.documents[name.encode()] = {"uuid": name, "project_id": PROJECT}
        await prove(proofs, name)
    assert [name for name in names if proofs.recall(name)] == names[-10:]


async def test_refusals_take_no_room(proofs: Proofs, nova: FakeNova) -> None:
    await prove(proofs)
    for number in range(10):
        with pytest.raises(InstanceUnknown):
            await prove(proofs, f"unknown-{number}")
    assert proofs.recall(ALICE) == PROVEN


@pytest.mark.parametrize("project_id", [None, "", 7, ["blue"], "p" * 65])
async def test_a_document_without_a_usable_project_proves_nothing(
    proofs: Proofs, nova: FakeNova, project_id: Any
) -> None:
    nova.documents[ALICE.encode()]["project_id"] = project_id
    with pytest.raises(UpstreamFailed, match="project"):
        await prove(proofs)
    assert proofs.recall(ALICE) is None


@pytest.mark.parametrize("uuid", ["", "u" * 37])
async def test_a_document_without_a_usable_uuid_proves_nothing(proofs: Proofs, nova: FakeNova, uuid: str) -> None:
    nova.documents[ALICE.encode()]["uuid"] = uuid
    with pytest.raises(UpstreamFailed):
        await prove(proofs)
    assert proofs.recall(ALICE) is None


async def test_while_nova_is_slow_only_the_first_reader_with_an_old_proof_waits_for_it(
    proofs: Proofs, nova: FakeNova, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prove(proofs)
    clock.now += 300
    nova.may_answer.clear()
    monkeypatch.setattr("peerdata.identity.proofs.OLD_PROOF_PATIENCE_S", 0.01)
    assert await prove(proofs, stale=True) == PROVEN
    monkeypatch.setattr("peerdata.identity.proofs.OLD_PROOF_PATIENCE_S", 60)
    async with asyncio.timeout(5):
        assert await prove(proofs, stale=True) == PROVEN
    nova.may_answer.set()


async def test_an_old_proof_serves_when_too_many_wait_for_nova(
    proofs: Proofs, nova: FakeNova, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(_version: str, _headers: object) -> None:
        raise ServerBusy("too many calls wait for nova already")

    await prove(proofs)
    clock.now += 300
    monkeypatch.setattr(nova, "read_document", busy)
    assert await prove(proofs, stale=True) == PROVEN
    with pytest.raises(ServerBusy):
        await prove(proofs)
