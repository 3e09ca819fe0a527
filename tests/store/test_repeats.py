"""What repeats what is there, and what it refuses, is answered from a read: while another program has the lock."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from peerdata.errors import ClusterTaken, KeyTaken, NotFounder, QuotaReached, StoreUnavailable
from peerdata.model import ClusterPlan, Founders, Instance, Quota
from peerdata.service import publish
from peerdata.service.clusters import Clusters
from peerdata.service.discover import Discovery
from peerdata.service.memory import Memory
from peerdata.service.publish import Publisher
from peerdata.service.rolls import Rolls
from peerdata.store import entries
from peerdata.store.clusters import Room

from .actions import ALICE, BOB, leave
from .conftest import MakeEngine

PLAN = ClusterPlan(size=1, founders=Founders.ONE, closed=False)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the file's write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
def publisher(make_engine: MakeEngine) -> Publisher:
    """With a quota of three keys, on a store that does not wait for a lock."""
    return Publisher(make_engine(busy_timeout_s=0), Quota(3, 10), max_value_chars=255)


async def put(publisher: Publisher, instance: Instance = ALICE, **meta: str) -> dict[str, str]:
    kept = await publisher.publish(instance, meta, shared=True, owned={}, now=0)
    return {key: entry.value for key, entry in kept.items()}


async def test_a_repeat_needs_no_lock_once_the_last_call_was_one(publisher: Publisher, store_file: Path) -> None:
    for _ in range(2):
        await put(publisher, a="1")
    with locked(store_file):
        assert await put(publisher, a="1") == {"a": "1"}
        with pytest.raises(KeyTaken):
            await put(publisher, a="2")
        with pytest.raises(KeyTaken):
            await put(publisher, a="2", b="new")
        with pytest.raises(StoreUnavailable):
            await put(publisher, b="new")


async def test_refusals_need_no_lock_once_the_last_call_was_one(publisher: Publisher, store_file: Path) -> None:
    await put(publisher, a="1", b="2")
    with pytest.raises(QuotaReached):
        await put(publisher, c="3", d="4")
    with locked(store_file):
        with pytest.raises(QuotaReached):
            await put(publisher, c="3", d="4")
        with pytest.raises(KeyTaken):
            await put(publisher, a="2")
    assert await put(publisher, c="3") == {"a": "1", "b": "2", "c": "3"}


async def test_something_new_is_not_looked_for_first(
    publisher: Publisher, store_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look is one more transaction, which a call that publishes must not pay for."""
    looks: list[object] = []
    judge_all = entries.judge_all

    def count(connection: Any, offers: Any) -> Any:
        looks.append(offers)
        return judge_all(connection, offers)

    monkeypatch.setattr(entries, "judge_all", count)
    await put(publisher, a="1")
    await put(publisher, b="1")
    assert looks == []
    await put(publisher, b="1")
    assert await put(publisher, c="1") == {"a": "1", "b": "1", "c": "1"}
    assert len(looks) == 1
    with pytest.raises(QuotaReached):
        await put(publisher, d="1")
    assert len(looks) == 1


async def test_what_was_there_and_is_gone_is_published_anew(publisher: Publisher, make_engine: MakeEngine) -> None:
    """The memory of the last call is a hint; another server may have taken the keys away."""
    for _ in range(3):
        await put(publisher, a="1")
    await leave(make_engine(), ALICE)
    assert await put(publisher, a="2") == {"a": "2"}


async def test_the_memory_of_last_calls_has_a_bound(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "IDLE_MAX", 1)
    for instance in (ALICE, BOB, ALICE, BOB):
        await put(publisher, instance, a="1")
    assert list(publisher._idle) == [BOB]


async def test_calls_of_a_cluster_that_change_nothing_need_no_lock(make_engine: MakeEngine, store_file: Path) -> None:
    engine = make_engine(busy_timeout_s=0)
    discovery = Discovery(engine, lambda: 0.0, Memory(1 << 20))
    publisher = Publisher(engine, Quota(3, 10), max_value_chars=255)

    async def is_gone(_instance: Instance) -> bool:
        return False

    clusters = Clusters(
        engine,
        Rolls(engine, discovery, Memory(1 << 20)),
        publisher,
        is_gone,
        lambda: 0.0,
        room=Room(of_project=1, of_instance=1),
    )

    async def enter(plan: ClusterPlan = PLAN, **meta: str) -> object:
        return await clusters.repeat(ALICE, "etcd", plan, meta=meta) or await clusters.enter(
            ALICE, "etcd", plan, meta=meta, owned={}, now=0
        )

    await enter(a="1")
    with pytest.raises(KeyTaken):
        await enter(a="2")
    await clusters.confirm(ALICE, "etcd", 1)
    with locked(store_file):
        await enter(a="1")
        await clusters.confirm(ALICE, "etcd", 1)
        with pytest.raises(KeyTaken):
            await enter(a="2")
        with pytest.raises(ClusterTaken):
            await enter(ClusterPlan(size=2, founders=Founders.ONE, closed=False))
        with pytest.raises(NotFounder):
            await clusters.confirm(BOB, "etcd", 1)
