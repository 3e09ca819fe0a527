"""Proofs in the store: written behind the calls and together, found by other servers, and no harm while it is away."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import event

from peerdata.errors import StoreUnavailable
from peerdata.identity import kept
from peerdata.identity.kept import KeptProofs
from peerdata.model import Instance
from peerdata.store import proofs
from peerdata.store.engine import Engine, Work

from .actions import ALICE, BOB
from .conftest import MakeEngine

DAY_S = 86_400


class Clock:
    """UTC, as a test says."""

    now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Of all servers."""
    return Clock()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written in a second is written in a moment."""
    monkeypatch.setattr(kept, "WRITE_EVERY_S", 0.02)
    monkeypatch.setattr(kept, "RETRY_S", 0.02)


@pytest.fixture
def one(engine: Engine, clock: Clock) -> KeptProofs:
    """Of one server."""
    return KeptProofs(engine, clock, lifetime_s=DAY_S)


@pytest.fixture
def other(make_engine: MakeEngine, clock: Clock) -> KeptProofs:
    """Of another server on the same store."""
    return KeptProofs(make_engine(), clock, lifetime_s=DAY_S)


def writes_of(engine: Engine) -> list[str]:
    """The statements on proofs that write, from now on."""
    seen: list[str] = []

    @event.listens_for(engine._writing, "before_cursor_execute")
    def see(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if " proof" in statement and not statement.startswith("SELECT"):
            seen.append(statement.split(maxsplit=1)[0])

    return seen


async def written(proofs: KeptProofs) -> None:
    """Once nothing waits to be written."""
    async with asyncio.timeout(10):
        while proofs._waiting:  # noqa: ASYNC110 - nobody else is to be told of it
            await asyncio.sleep(0.01)


async def test_what_one_server_was_answered_another_finds(one: KeptProofs, other: KeptProofs, clock: Clock) -> None:
    assert await other.find(ALICE) is None
    one.note(ALICE, known=True)
    one.note(BOB, known=False)
    await written(one)
    clock.now += 60
    assert await other.find(ALICE) == (True, 60)
    assert await other.find(BOB) == (False, 60)


async def test_an_instance_is_found_in_the_project_in_which_nova_knows_it(one: KeptProofs, other: KeptProofs) -> None:
    one.note(ALICE, known=True)
    await written(one)
    assert await other.find(Instance(ALICE.uuid, "green")) is None


async def test_an_answer_that_is_not_written_yet_counts_more_than_what_is(one: KeptProofs, clock: Clock) -> None:
    one.note(ALICE, known=True)
    await written(one)
    clock.now += 60
    one.note(ALICE, known=False)
    assert await one.find(ALICE) == (False, 0)


async def test_an_answer_that_comes_while_the_store_is_read_counts_more_than_what_is_read(
    one: KeptProofs, engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.note(ALICE, known=True)
    await written(one)
    read = engine.read

    async def read_slowly(work: Work[object]) -> object:
        found = await read(work)
        one.note(ALICE, known=False)
        return found

    clock.now += 60
    monkeypatch.setattr(engine, "read", read_slowly)
    assert await one.find(ALICE) == (False, 0)


async def test_a_refusal_at_one_server_ends_what_another_wrote_later_of_an_earlier_moment(
    one: KeptProofs, other: KeptProofs, clock: Clock
) -> None:
    other.note(ALICE, known=True)
    clock.now += 1
    one.note(ALICE, known=False)
    await one._write_all()
    await other._write_all()
    assert await other.find(ALICE) == (False, 0)


async def test_many_are_written_together_and_an_instance_that_polls_once_an_hour(
    one: KeptProofs, engine: Engine, clock: Clock
) -> None:
    instances = [Instance(f"{number:036}", "blue") for number in range(100)]
    for instance in instances:
        one.note(instance, known=True)
    await one._write_all()
    writes = writes_of(engine)
    for minute in range(5, 121, 5):
        clock.now += 300
        for instance in instances:
            one.note(instance, known=True)
        await one._write_all()
        assert writes.count("INSERT") == minute // 65, minute


async def test_what_was_written_is_not_written_again_after_a_restart(
    one: KeptProofs, other: KeptProofs, clock: Clock
) -> None:
    one.note(ALICE, known=True)
    await written(one)
    await other._prune()
    clock.now += 300
    writes = writes_of(other._store)
    other.note(ALICE, known=True)
    await other._write_all()
    assert writes == []


async def test_one_that_is_too_old_is_not_found_and_is_removed(one: KeptProofs, engine: Engine, clock: Clock) -> None:
    one.note(ALICE, known=True)
    await written(one)
    clock.now += DAY_S - 1
    assert await one.find(ALICE) == (True, DAY_S - 1)
    clock.now += 2
    assert await one.find(ALICE) is None
    one.note(BOB, known=True)
    await one._write_all()
    assert list(await engine.read(lambda connection: proofs.read(connection, [ALICE.uuid, BOB.uuid]))) == [BOB.uuid]


async def test_one_from_the_future_is_believed_no_further_than_clocks_differ(one: KeptProofs, clock: Clock) -> None:
    one.note(ALICE, known=True)
    await written(one)
    clock.now -= 60
    assert await one.find(ALICE) == (True, 0)
    clock.now -= DAY_S
    assert await one.find(ALICE) is None


async def test_the_end_of_the_process_writes_what_waits(one: KeptProofs, other: KeptProofs) -> None:
    one.note(ALICE, known=True)
    await one.close()
    assert await other.find(ALICE) == (True, 0)


def fails(_work: Callable[..., object], *_rest: object, **_more: object) -> object:
    raise StoreUnavailable("the store is away")


async def test_while_the_store_is_away_answers_wait_and_are_written_afterwards(
    one: KeptProofs, other: KeptProofs, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(engine, "read", fails)
        one.note(ALICE, known=True)
        await asyncio.sleep(0.1)
        assert await one.find(BOB) is None
        assert await one.find(ALICE) == (True, 0)
    await written(one)
    assert await other.find(ALICE) == (True, 0)


async def test_while_the_store_is_away_what_waits_is_bounded(
    one: KeptProofs, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "read", fails)
    monkeypatch.setattr(kept, "MAX_WAITING", 10)
    for number in range(100):
        one.note(Instance(str(number), "blue"), known=True)
    assert [instance.uuid for instance in one._waiting] == [str(number) for number in range(90, 100)]
    await one.close()


async def test_a_store_that_hangs_does_not_hold_up_a_caller_or_the_end(
    one: KeptProofs, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_all: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(engine, "read", hangs)
    monkeypatch.setattr(kept, "READ_PATIENCE_S", 0.05)
    monkeypatch.setattr(kept, "CLOSE_PATIENCE_S", 0.05)
    assert await one.find(ALICE) is None
    one.note(ALICE, known=True)
    async with asyncio.timeout(5):
        await one.close()
