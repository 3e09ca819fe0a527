"""What is held in memory: one budget for all of it, and estimates that are not far from what Python takes."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from peerdata.api import rolls
from peerdata.model import Changes, Cluster, ClusterPlan, Entry, Founders, Instance, Member, Peer
from peerdata.service.board import Board
from peerdata.service.memory import Memory
from peerdata.service.own import OwnEntries
from peerdata.service.rolls import _size
from peerdata.store.clusters import Roll
from peerdata.store.engine import Engine

NUMBER = 2000


def uuid(number: int) -> str:
    return f"7f3c0000-0000-4000-8000-{number:012x}"


def with_keys(names: Callable[[int], list[str]], value: str = "10.0.0.11:2380") -> Callable[[], Board]:
    def make() -> Board:
        peers = tuple(
            Peer(uuid(number), number, number, dict.fromkeys(sorted(names(number)), value))
            for number in range(1, NUMBER + 1)
        )
        board = Board(0)
        board.apply(Changes(NUMBER, full=True, peers=peers, removed=(), forgotten=0), 0)
        board.news(None, "etcd_")
        return board

    return make


def with_texts() -> Board:
    board = with_keys(lambda _: ["etcd_addr", "role"])()
    assert board.shared_json
    assert board.peers_json
    return board


def measured(make: Callable[[], object]) -> tuple[object, int]:
    """What *make* gives, and the bytes that it holds."""
    make()
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        return made, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(with_keys(lambda _: ["etcd_addr", "role"]), id="the same two keys"),
        pytest.param(with_keys(lambda number: [f"of-{number}", f"again-{number}"]), id="keys of their own"),
        pytest.param(with_keys(lambda _: ["etcd_addr"], "x" * 4000), id="long values"),
        pytest.param(with_keys(lambda number: [f"k{number}-{key}" for key in range(20)]), id="many keys of their own"),
        pytest.param(with_texts, id="with both texts"),
    ],
)
def test_the_estimate_of_a_board_is_near_what_it_takes(make: Callable[[], Board]) -> None:
    board, taken = measured(make)
    assert isinstance(board, Board)
    assert 0.8 * taken < board.size < 1.5 * taken, (board.size, taken)


def test_the_estimate_of_a_board_is_what_it_was_when_all_have_left() -> None:
    board = with_keys(lambda number: [f"of-{number}"])()
    left = tuple((uuid(number), NUMBER + number) for number in range(1, NUMBER + 1))
    board.apply(Changes(2 * NUMBER, full=False, peers=(), removed=left, forgotten=2 * NUMBER), 0)
    assert board.size == Board(0).size


@pytest.mark.parametrize("rendered", [False, True])
def test_the_estimate_of_a_roll_is_near_what_it_takes(rendered: bool) -> None:
    def make() -> Roll:
        members = tuple(Member(uuid(number), number, founder=False) for number in range(NUMBER))
        plan = ClusterPlan(NUMBER, Founders.ONE, closed=False)
        # As the store reads them: strings of its own for each row.
        metas = {
            uuid(number): {"".join(("etcd_", "addr")): f"10.0.0.{number}:2380", "".join(("ro", "le")): f"m{number}"}
            for number in range(NUMBER)
        }
        roll = Roll(Cluster(plan, 1, formed=True, next_ordinal=NUMBER, members=members), metas, 1)
        if rendered:
            rolls.render_roll("etcd", roll, uuid(1), 1.0)
        return roll

    roll, taken = measured(make)
    assert isinstance(roll, Roll)
    assert 0.8 * taken < _size(roll) < 1.5 * taken, (_size(roll), taken)


@pytest.mark.parametrize("keys", [0, 2, 20])
async def test_the_estimate_of_an_instances_own_entries_is_near_what_they_take(keys: int) -> None:
    class Store(Engine):
        """Gives each instance *keys* entries, as the statement does: with strings of its own for each."""

        def __init__(self) -> None:
            pass

        def version(self) -> int:
            return 1

        async def read(self, work: Any) -> Any:
            (instances,) = work.keywords.values()
            return {one: self._entries(one) for one in instances}

        def _entries(self, one: Instance) -> dict[str, Entry]:
            names = [f"{one.uuid[-6:]}_{place}" for place in range(keys)]
            return {name: Entry(name, f"10.0.{len(name)}.11", shared=True) for name in names}

    memory = Memory(1 << 40)
    own = OwnEntries(Store(), memory)
    await own.read(Instance(uuid(0), "warm"))
    before = memory.bytes
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1, NUMBER + 1):
            await own.read(Instance(uuid(number), f"{number:032x}"))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.8 * taken < memory.bytes - before < 1.5 * taken, (memory.bytes - before, taken)


def test_what_was_unused_for_longest_leaves() -> None:
    memory, gone = Memory(100), []
    for name in "abc":
        memory.use(name, 30, lambda name=name: gone.append(name))  # type: ignore[misc]
    memory.touch("a", 30)
    memory.use("d", 40, lambda: gone.append("d"))
    assert gone == ["b"]
    assert memory.bytes == 100


def test_what_grows_when_it_is_used_makes_others_leave() -> None:
    memory, gone = Memory(100), []
    for name in "ab":
        memory.use(name, 50, lambda name=name: gone.append(name))  # type: ignore[misc]
    memory.touch("b", 60)
    assert gone == ["a"]
    assert memory.bytes == 60


def test_what_was_used_last_stays_even_if_it_is_too_large() -> None:
    memory, gone = Memory(100), []
    memory.use("a", 500, lambda: gone.append("a"))
    assert gone == []
    memory.use("b", 500, lambda: gone.append("b"))
    assert gone == ["a"]
    memory.forget("b")
    assert memory.bytes == 0
