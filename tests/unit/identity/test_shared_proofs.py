"""What other servers were answered: read only where nova failed, and the later answer counts."""

import asyncio

import pytest

from peerdata.errors import InstanceUnknown, UpstreamFailed, UpstreamSilent
from peerdata.identity.proofs import Proofs, Question
from peerdata.model import Instance

from .fakes import ALICE, PROJECT, Clock, FakeKept, FakeNova

PROVEN = Instance(ALICE, PROJECT)
ALICES = Question("alice's", [(b"x-instance-id", ALICE.encode())], PROVEN)


@pytest.fixture
def kept() -> FakeKept:
    """Nothing is kept yet."""
    return FakeKept()


@pytest.fixture
def proofs(nova: FakeNova, clock: Clock, kept: FakeKept) -> Proofs:
    """Of one server that shares its store with others."""
    return Proofs(nova, clock, lifetime_s=300, stale_lifetime_s=3600, most=10, kept=kept)


async def prove(proofs: Proofs, *, stale: bool = True) -> Instance:
    return await proofs.prove(ALICES, stale=stale)


async def test_while_nova_answers_nothing_is_read_and_each_answer_is_noted(
    proofs: Proofs, nova: FakeNova, clock: Clock, kept: FakeKept
) -> None:
    await prove(proofs)
    clock.now += 300
    await prove(proofs)
    del nova.documents[ALICE.encode()]
    clock.now += 300
    with pytest.raises(InstanceUnknown):
        await prove(proofs)
    assert kept.noted == [(PROVEN, True), (PROVEN, True), (PROVEN, False)]
    assert kept.reads == 0


@pytest.mark.parametrize("status", [0, 500, 503, 429])
async def test_while_nova_is_away_a_proof_of_another_server_serves_who_accepts_an_old_one(
    proofs: Proofs, nova: FakeNova, kept: FakeKept, status: int
) -> None:
    kept.found[PROVEN] = (True, 3599.0)
    nova.status = status
    with pytest.raises(UpstreamFailed):
        await prove(proofs, stale=False)
    assert await prove(proofs) == PROVEN
    for _ in range(10):
        assert await prove(proofs) == PROVEN
    assert kept.reads == 1


async def test_a_proof_of_another_server_is_as_old_as_it_was_there(
    proofs: Proofs, nova: FakeNova, clock: Clock, kept: FakeKept
) -> None:
    kept.found[PROVEN] = (True, 3000.0)
    nova.status = 0
    assert await prove(proofs) == PROVEN
    kept.found.clear()
    clock.now += 599
    assert await prove(proofs) == PROVEN
    clock.now += 1
    with pytest.raises(UpstreamSilent):
        await prove(proofs)


async def test_who_is_nowhere_known_gets_nothing(proofs: Proofs, nova: FakeNova) -> None:
    nova.status = 0
    with pytest.raises(UpstreamSilent):
        await prove(proofs)


async def test_whom_nova_refused_at_another_server_is_served_from_no_older_proof(
    proofs: Proofs, nova: FakeNova, clock: Clock, kept: FakeKept
) -> None:
    await prove(proofs)
    clock.now += 300
    kept.found[PROVEN] = (False, 10.0)
    nova.status = 0
    with pytest.raises(UpstreamSilent):
        await prove(proofs)
    nova.status = 200
    assert await prove(proofs) == PROVEN


async def test_a_refusal_at_another_server_that_is_older_than_the_proof_does_not_count(
    proofs: Proofs, nova: FakeNova, clock: Clock, kept: FakeKept
) -> None:
    await prove(proofs)
    clock.now += 300
    kept.found[PROVEN] = (False, 301.0)
    nova.status = 0
    assert await prove(proofs) == PROVEN


async def test_a_proof_of_this_server_is_compared_with_the_others_once_in_its_lifetime(
    proofs: Proofs, nova: FakeNova, clock: Clock, kept: FakeKept
) -> None:
    await prove(proofs)
    nova.status = 0
    for seconds in (299, 1, 1, 298, 1):
        clock.now += seconds
        for _ in range(5):
            assert await prove(proofs) == PROVEN
    assert kept.reads == 2


@pytest.mark.parametrize("status", [404, 403])
async def test_what_nova_refused_here_counts_more_than_an_older_proof_of_another_server(
    proofs: Proofs, nova: FakeNova, kept: FakeKept, status: int
) -> None:
    kept.found[PROVEN] = (True, 60.0)
    nova.status = status
    with pytest.raises(Exception, match="nova does not"):
        await prove(proofs)
    nova.status = 0
    with pytest.raises(UpstreamSilent):
        await prove(proofs)


async def test_that_nova_knows_an_instance_no_more_is_noted_whoever_asked(
    proofs: Proofs, nova: FakeNova, clock: Clock, kept: FakeKept
) -> None:
    await prove(proofs)
    nova.documents.clear()
    assert await proofs.is_unknown(ALICES)
    assert kept.noted[-1] == (PROVEN, False)
    assert proofs.recall(ALICES.claim) == PROVEN  # to the end of its lifetime
    clock.now += 300
    nova.status = 0
    with pytest.raises(UpstreamSilent):
        await prove(proofs)


async def test_a_slow_nova_holds_nobody_up_whom_another_server_knows(
    proofs: Proofs, nova: FakeNova, kept: FakeKept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.found[PROVEN] = (True, 60.0)
    nova.may_answer.clear()
    monkeypatch.setattr("peerdata.identity.proofs.OLD_PROOF_PATIENCE_S", 0.01)
    async with asyncio.timeout(5):
        assert await prove(proofs) == PROVEN
    nova.may_answer.set()


async def test_a_slow_nova_is_waited_for_where_nobody_knows_the_caller(
    proofs: Proofs, nova: FakeNova, monkeypatch: pytest.MonkeyPatch
) -> None:
    nova.may_answer.clear()
    monkeypatch.setattr("peerdata.identity.proofs.OLD_PROOF_PATIENCE_S", 0.01)
    proving = asyncio.ensure_future(prove(proofs))
    await asyncio.sleep(0.05)
    assert not proving.done()
    nova.may_answer.set()
    assert await proving == PROVEN


async def test_a_project_that_the_headers_do_not_name_is_not_noted(
    proofs: Proofs, nova: FakeNova, kept: FakeKept
) -> None:
    """It would be found by nobody; nova answers 404 there."""
    nova.documents[ALICE.encode()]["project_id"] = "green"
    assert await prove(proofs) == Instance(ALICE, "green")
    assert kept.noted == []


@pytest.mark.parametrize(
    "named",
    [
        Instance("", "blue"),
        Instance("a" * 37, "blue"),
        Instance("a\0", "blue"),
        Instance("ü", "p"),
        Instance("a", "p" * 65),
    ],
)
async def test_what_no_database_takes_is_not_taken_there(
    proofs: Proofs, nova: FakeNova, kept: FakeKept, named: Instance
) -> None:
    question = Question("odd", [(b"x-instance-id", b"odd")], named)
    with pytest.raises(InstanceUnknown):
        await proofs.prove(question, stale=True)
    nova.status = 0
    with pytest.raises(UpstreamSilent):
        await proofs.prove(question, stale=True)
    assert (kept.noted, kept.reads) == ([], 0)


async def test_where_nobody_is_named_nothing_is_shared(proofs: Proofs, nova: FakeNova, kept: FakeKept) -> None:
    """By an address: nova may give it to another instance."""
    by_address = Question("10.0.0.1", [(b"x-forwarded-for", b"10.0.0.1")])
    assert await proofs.prove(by_address, stale=True) == PROVEN
    nova.documents.clear()
    assert await proofs.is_unknown(by_address)
    assert kept.noted == []
