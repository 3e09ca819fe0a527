"""The read path over a real store: as new as the store is, from memory where it can be, within its bounds."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from peerdata.errors import StoreUnavailable
from peerdata.model import Instance
from peerdata.service.board import Board
from peerdata.service.discover import Discovery
from peerdata.service.memory import Memory
from peerdata.store.engine import Engine

from .actions import ALICE, BOB, CAROL, PROJECT, ZOE, keep, leave, own, share
from .conftest import MakeEngine

T = TypeVar("T")


class WatchedEngine(Engine):
    """Counts what the store is asked, and can be told to hold its answers or to be away."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}", busy_timeout_s=1, max_waiting_writes=10)
        self.reads = 0
        self.has_version = False
        self.asked = asyncio.Event()
        self.away: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def version(self) -> int | None:
        """As of a store that cannot tell without being asked, unless told otherwise."""
        return super().version() if self.has_version else None

    async def read(self, work: Callable[[Connection], T]) -> T:
        self.reads += 1
        self.asked.set()

        def watched(connection: Connection) -> T:
            self.may_answer.wait()
            if self.away:
                raise self.away
            return work(connection)

        return await super().read(watched)


@pytest.fixture
def engine(store_file: Path) -> Iterator[WatchedEngine]:
    """In the place of the plain one."""
    engine = WatchedEngine(store_file)
    yield engine
    engine.close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Begins at 1000 s."""
    return Clock()


@pytest.fixture
def discovery(engine: WatchedEngine, clock: Clock) -> Discovery:
    """With room for many projects."""
    return Discovery(engine, clock, Memory(1 << 20))


async def test_a_read_sees_what_was_published_before_it(discovery: Discovery, engine: WatchedEngine) -> None:
    assert (await discovery.read(PROJECT)).shared_json == b"[]\n"
    await share(engine, ALICE, a="1")
    board = await discovery.read(PROJECT)
    assert board.revision == 1
    assert ALICE.uuid.encode() in board.shared_json
    await leave(engine, ALICE)
    assert (await discovery.read(PROJECT)).shared_json == b"[]\n"


async def test_a_read_sees_what_was_published_through_another_server(
    discovery: Discovery, make_engine: MakeEngine
) -> None:
    """G3."""
    other = make_engine()
    for number in range(10):
        await share(other, ALICE, **{f"k{number}": "1"})
        assert (await discovery.read(PROJECT)).revision == number + 1


async def test_where_nothing_happened_the_same_board_serves(discovery: Discovery, engine: WatchedEngine) -> None:
    await share(engine, ALICE, a="1")
    board = await discovery.read(PROJECT)
    assert await discovery.read(PROJECT) is board
    assert engine.reads == 2  # asked every time, all the same


async def test_readers_that_wait_share_the_next_question(discovery: Discovery, engine: WatchedEngine) -> None:
    engine.may_answer.clear()
    first = asyncio.ensure_future(discovery.read(PROJECT))
    await engine.asked.wait()
    more = [asyncio.ensure_future(discovery.read(project)) for project in (PROJECT, "green", "p3") * 30]
    for _ in range(3):
        await asyncio.sleep(0)
    engine.may_answer.set()
    await asyncio.gather(first, *more)
    assert engine.reads == 2


async def test_a_question_that_is_on_its_way_does_not_serve_who_comes_later(
    discovery: Discovery, engine: WatchedEngine, make_engine: MakeEngine
) -> None:
    """Its snapshot may be older than what the later reader was promised."""
    engine.may_answer.clear()
    first = asyncio.ensure_future(discovery.read(PROJECT))
    await engine.asked.wait()
    await share(make_engine(), ALICE, a="1")
    second = asyncio.ensure_future(discovery.read(PROJECT))
    engine.may_answer.set()
    await first
    assert (await second).revision == 1


async def test_a_reader_that_goes_away_leaves_the_others_their_answer(
    discovery: Discovery, engine: WatchedEngine
) -> None:
    engine.may_answer.clear()
    first, second = (asyncio.ensure_future(discovery.read(PROJECT)) for _ in range(2))
    await engine.asked.wait()
    first.cancel()
    engine.may_answer.set()
    assert (await second).revision == 0
    assert first.cancelled()
    assert (await discovery.read(PROJECT)).revision == 0


async def test_a_store_that_is_away_is_told_and_never_an_old_board(discovery: Discovery, engine: WatchedEngine) -> None:
    """G5."""
    await share(engine, ALICE, a="1")
    await discovery.read(PROJECT)
    engine.away = StoreUnavailable("away")
    outcomes = await asyncio.gather(*(discovery.read(PROJECT) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 5
    engine.away = None
    assert (await discovery.read(PROJECT)).revision == 1


async def test_a_defect_reaches_every_reader_and_does_not_stop_the_next(
    discovery: Discovery, engine: WatchedEngine
) -> None:
    engine.away = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await discovery.read(PROJECT)
    engine.away = None
    assert (await discovery.read(PROJECT)).revision == 0


async def test_projects_are_kept_apart(discovery: Discovery, engine: WatchedEngine) -> None:
    """G9, asked in one question."""
    await share(engine, ALICE, a="blue")
    await share(engine, ZOE, z="green")
    blue, green = await asyncio.gather(discovery.read(PROJECT), discovery.read("green"))
    assert ZOE.uuid.encode() not in blue.shared_json
    assert ALICE.uuid.encode() not in green.shared_json


async def test_the_project_unread_for_longest_makes_room(engine: WatchedEngine, clock: Clock) -> None:
    await share(engine, ALICE, a="1")
    await share(engine, ZOE, z="1")
    one_board = (await Discovery(engine, clock, Memory(0)).read(PROJECT)).size
    discovery = Discovery(engine, clock, Memory(2 * one_board))
    blue = await discovery.read(PROJECT)
    green = await discovery.read("green")
    assert await discovery.read(PROJECT) is blue
    await discovery.read("p3")  # green goes
    assert await discovery.read(PROJECT) is blue
    again = await discovery.read("green")
    assert again is not green
    assert again.shared_json == green.shared_json


async def test_without_memory_every_answer_is_still_right(engine: WatchedEngine, clock: Clock) -> None:
    discovery = Discovery(engine, clock, Memory(0))
    for number in range(5):
        await share(engine, ALICE, **{f"k{number}": "1"})
        await share(engine, ZOE, **{f"k{number}": "1"})
        blue, green = await asyncio.gather(discovery.read(PROJECT), discovery.read("green"))
        assert blue.revision == green.revision == number + 1


async def test_a_project_is_quiet_since_this_server_saw_it_change(
    discovery: Discovery, engine: WatchedEngine, clock: Clock
) -> None:
    await share(engine, ALICE, a="1")
    assert discovery.quiet_s(await discovery.read(PROJECT)) == 0
    clock.now += 60
    assert discovery.quiet_s(await discovery.read(PROJECT)) == 60
    await keep(engine, BOB, secret="1")
    assert discovery.quiet_s(await discovery.read(PROJECT)) == 0


async def test_an_instance_reads_its_own_keys_shared_or_not(discovery: Discovery, engine: WatchedEngine) -> None:
    await share(engine, ALICE, a="1")
    await keep(engine, ALICE, secret="1")
    found = await discovery.read_own(ALICE)
    assert {key: entry.shared for key, entry in found.items()} == {"a": True, "secret": False}
    assert await discovery.read_own(BOB) == {}
    assert await own(engine, BOB) == {}


async def test_a_store_that_has_not_changed_is_not_asked_again(engine: WatchedEngine, make_engine: MakeEngine) -> None:
    engine.has_version = True
    discovery = Discovery(engine, Clock(), Memory(1_000_000))
    await share(engine, ALICE, k="1")
    board = await discovery.read(PROJECT)
    asked = engine.reads
    assert discovery.peek(PROJECT) is board is await discovery.read(PROJECT)
    assert engine.reads == asked
    await share(make_engine(), BOB, k="1")  # as another process would
    assert discovery.peek(PROJECT) is None
    assert len(await discovery.read(PROJECT)) == 2
    await share(engine, ZOE, k="1")  # another project's change costs one question and changes nothing
    assert len(await discovery.read(PROJECT)) == 2
    assert discovery.peek(PROJECT) is board


async def test_projects_that_are_read_together_do_not_push_each_other_out_while_they_are_brought_up_to_date(
    engine: WatchedEngine,
) -> None:
    discovery = Discovery(engine, Clock(), Memory(0))
    alice_in_green = Instance(ALICE.uuid, ZOE.project_id)
    await share(engine, ALICE, k="1")
    await share(engine, ZOE, k="1")
    await asyncio.gather(discovery.read(PROJECT), discovery.read(ZOE.project_id))
    for number in range(3):
        await share(engine, BOB, **{f"k{number}": "1"})
        await share(engine, alice_in_green, **{f"k{number}": "1"})
        boards = await asyncio.gather(*(discovery.read(project_id) for project_id in (ZOE.project_id, PROJECT) * 2))
        assert [len(board) for board in boards] == [2, 2, 2, 2]


async def test_a_board_that_makes_room_while_it_is_refreshed_loses_nobody(store_file: Path) -> None:
    """Its changes begin where it was; on an empty one they would be a list without the peers of before."""
    engine = WatchedEngine(store_file)
    memory = Memory(1 << 20)
    discovery = Discovery(engine, lambda: 0.0, memory)
    for instance in (ALICE, BOB):
        await share(engine, instance, a="1")
    assert len(await discovery.read(PROJECT)) == 2
    await share(engine, CAROL, a="1")
    read = engine.read

    async def read_and_evict(work: object) -> object:
        found: object = await read(work)  # type: ignore[arg-type]
        memory.use("somebody else", 1 << 20, lambda: None)
        return found

    engine.read = read_and_evict  # type: ignore[assignment]
    board = await discovery.read(PROJECT)
    assert len(board) == 3
    engine.read = read  # type: ignore[method-assign]
    assert len(await discovery.read(PROJECT)) == 3
    engine.close()


async def test_projects_that_make_room_for_each_other_in_one_question_stay_counted(store_file: Path) -> None:
    engine = WatchedEngine(store_file)
    memory = Memory(1)  # what was used last stays, and nothing else
    discovery = Discovery(engine, lambda: 0.0, memory)
    for _ in range(2):  # the second time one of them is held, and leaves while the others are noted
        boards = await discovery.read_all(["p1", "p2", "p3"])
        assert {type(board) for board in boards.values()} == {Board}, "none of them is an error"
    memory.use("somebody else", 1, lambda: None)  # what leaves now must be there to be dropped
    engine.close()


async def test_a_project_without_peers_keeps_its_revision_when_it_is_read_again(
    store_file: Path, make_engine: MakeEngine
) -> None:
    """Keys that are not shared move it on, and are nobody's to see."""
    engine = WatchedEngine(store_file)
    discovery = Discovery(engine, lambda: 0.0, Memory(1 << 20))
    await keep(engine, ALICE, a="1")
    assert (await discovery.read(PROJECT)).revision == 1
    await keep(make_engine(), ZOE, a="1")  # another project's, so that the store is asked again
    board = await discovery.read(PROJECT)
    assert (board.revision, len(board)) == (1, 0)
    engine.close()
