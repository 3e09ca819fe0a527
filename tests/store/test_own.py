"""What an instance reads of itself: as new as the store, asked once for all who wait, from memory where it can be."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from peerdata.errors import StoreUnavailable
from peerdata.model import Entry, Instance
from peerdata.service.memory import Memory
from peerdata.service.own import MAX_TOGETHER, OwnEntries

from .actions import ALICE, BOB, PROJECT, ZOE, keep, leave, share
from .conftest import MakeEngine
from .test_discovery import WatchedEngine


@pytest.fixture
def engine(store_file: Path) -> Iterator[WatchedEngine]:
    """In the place of the plain one."""
    engine = WatchedEngine(store_file)
    yield engine
    engine.close()


@pytest.fixture
def own(engine: WatchedEngine) -> OwnEntries:
    """Over a store that knows its version, as SQLite does."""
    engine.has_version = True
    return OwnEntries(engine, Memory(1 << 20))


def values(found: Mapping[str, Entry] | None) -> dict[str, str] | None:
    return None if found is None else {key: entry.value for key, entry in found.items()}


async def test_shared_and_unshared_keys_are_there(own: OwnEntries, engine: WatchedEngine) -> None:
    await share(engine, ALICE, b="1")
    await keep(engine, ALICE, a="2")
    found = await own.read(ALICE)
    assert [(key, entry.shared) for key, entry in found.items()] == [("a", False), ("b", True)]
    assert await own.read(BOB) == {}


async def test_the_store_is_asked_again_only_after_a_commit(
    own: OwnEntries,
    engine: WatchedEngine,
    make_engine: MakeEngine,
) -> None:
    """G3: whoever committed, through whatever process, and also where it took keys away."""
    elsewhere = make_engine()
    assert own.peek(ALICE) is None
    assert await own.read(ALICE) == {}
    for number in range(3):
        reads = engine.reads
        assert own.peek(ALICE) == await own.read(ALICE)
        assert engine.reads == reads
        await keep(elsewhere, ALICE, **{f"k{number}": "1"})
        assert own.peek(ALICE) is None
        assert f"k{number}" in await own.read(ALICE)
    await leave(elsewhere, ALICE)
    assert await own.read(ALICE) == {}
    await share(elsewhere, ZOE, other="1")
    assert own.peek(ALICE) is None


async def test_a_commit_while_the_store_answers_is_not_missed(
    own: OwnEntries,
    engine: WatchedEngine,
    make_engine: MakeEngine,
) -> None:
    engine.may_answer.clear()
    first = asyncio.ensure_future(own.read(ALICE))
    await engine.asked.wait()
    await keep(make_engine(), ALICE, k="1")
    second = asyncio.ensure_future(own.read(ALICE))  # arrives after the commit, while the first question is under way
    await asyncio.sleep(0)
    engine.may_answer.set()
    await first
    assert values(await second) == {"k": "1"}
    assert values(await own.read(ALICE)) == {"k": "1"}


async def test_a_store_that_cannot_tell_its_version_is_asked_each_time(engine: WatchedEngine) -> None:
    memory = Memory(1 << 20)
    own = OwnEntries(engine, memory)
    for _ in range(2):
        assert await own.read(ALICE) == {}
        assert own.peek(ALICE) is None
    assert engine.reads == 2
    assert memory.bytes == 0


async def test_those_who_wait_share_a_question(own: OwnEntries, engine: WatchedEngine) -> None:
    await share(engine, ALICE, a="1")
    await share(engine, ZOE, z="1")
    engine.reads = 0
    engine.may_answer.clear()
    first = asyncio.ensure_future(own.read(BOB))
    await engine.asked.wait()
    several = asyncio.gather(*(own.read(one) for one in (ALICE, BOB, ZOE) * 5))
    await asyncio.sleep(0)
    engine.may_answer.set()
    assert [values(found) for found in await several] == [{"a": "1"}, {}, {"z": "1"}] * 5
    assert await first == {}
    assert engine.reads == 2


async def test_more_than_one_statement_takes_are_all_answered(own: OwnEntries, engine: WatchedEngine) -> None:
    instances = [Instance(f"i-{number}", PROJECT) for number in range(2 * MAX_TOGETHER + 1)]
    await keep(engine, instances[-1], k="1")
    found = await asyncio.gather(*(own.read(instance) for instance in instances))
    assert [values(one) for one in found] == [{}] * (2 * MAX_TOGETHER) + [{"k": "1"}]


async def test_a_store_that_is_away_is_told_to_all_who_wait_and_not_kept(
    own: OwnEntries,
    engine: WatchedEngine,
) -> None:
    engine.away = StoreUnavailable("away")
    engine.may_answer.clear()
    first = asyncio.ensure_future(own.read(ALICE))
    await engine.asked.wait()
    late = asyncio.ensure_future(own.read(BOB))
    await asyncio.sleep(0)
    engine.may_answer.set()
    outcomes = await asyncio.gather(first, late, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    assert engine.reads == 1
    engine.away = None
    assert await own.read(ALICE) == {}


async def test_a_reader_who_leaves_takes_nothing_from_the_others(own: OwnEntries, engine: WatchedEngine) -> None:
    engine.may_answer.clear()
    leaves, stays = (asyncio.ensure_future(own.read(ALICE)) for _ in range(2))
    await engine.asked.wait()
    leaves.cancel()
    engine.may_answer.set()
    assert await stays == {}


async def test_what_was_unread_for_longest_leaves_memory(engine: WatchedEngine) -> None:
    engine.has_version = True
    one = Memory(1 << 20)
    await OwnEntries(engine, one).read(ALICE)
    memory = Memory(2 * one.bytes)
    own = OwnEntries(engine, memory)
    for instance in (ALICE, BOB):
        await own.read(instance)
    assert own.peek(ALICE) == {}
    await own.read(ZOE)
    assert (own.peek(ALICE), own.peek(BOB), own.peek(ZOE)) == ({}, None, {})
    assert memory.bytes == 2 * one.bytes


async def test_more_keys_count_as_more_bytes(engine: WatchedEngine) -> None:
    engine.has_version = True
    sizes = []
    for value in ("1", "1" * 500):
        await keep(engine, ALICE, **{f"k{len(value)}": value})
        memory = Memory(1 << 20)
        await OwnEntries(engine, memory).read(ALICE)
        sizes.append(memory.bytes)
    assert sizes[1] > sizes[0] + 500


async def test_those_who_ask_again_while_a_question_fails_are_all_told(
    own: OwnEntries, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same instance may wait twice: for the question under way, and for the next."""
    asked, fail = asyncio.Event(), asyncio.Event()

    async def read(_work: object) -> object:
        asked.set()
        await fail.wait()
        raise StoreUnavailable("away")

    monkeypatch.setattr(engine, "read", read)
    first = asyncio.ensure_future(own.read(ALICE))
    await asked.wait()
    again = asyncio.ensure_future(own.read(ALICE))
    await asyncio.sleep(0)
    fail.set()
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(first, again, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]
    assert outcomes[0] is not outcomes[1], "each raise adds its own frames"


async def test_a_defect_behind_the_question_is_told_to_all_who_wait(
    own: OwnEntries, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def read(_work: object) -> object:
        asked.set()
        await go_on.wait()
        return {ALICE: {}}

    def keep_nothing(*_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(engine, "read", read)
    monkeypatch.setattr(own, "_keep", keep_nothing)
    first = asyncio.ensure_future(own.read(ALICE))
    await asked.wait()
    other = asyncio.ensure_future(own.read(BOB))
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(5):
        assert await first == {}
        with pytest.raises(KeyError):
            await other
