"""The rolls of clusters in the store: one transaction a call, through several engines at once (promise G7)."""

import asyncio
from collections import Counter
from dataclasses import astuple

import pytest
from sqlalchemy import Connection

from peerdata.errors import KeyTaken, QuotaReached
from peerdata.model import Cluster, ClusterPlan, Entry, Founders, Instance, Verdict
from peerdata.service import verdict
from peerdata.store import clusters, entries
from peerdata.store.clusters import Roll
from peerdata.store.engine import Engine

from .actions import ALICE, BOB, PROJECT, changes, offer, share
from .conftest import MakeEngine

ONE = ClusterPlan(3, Founders.ONE, closed=False)
ALL = ClusterPlan(3, Founders.ALL, closed=True)


def instance(number: int) -> Instance:
    return Instance(f"00000000-0000-4000-8000-{number:012}", PROJECT)


async def enter(engine: Engine, who: Instance, name: str = "db", plan: ClusterPlan = ONE, **meta: str) -> Roll:
    """Ask as `service.clusters` does."""
    published = entries.Offer(who, offer(meta, shared=True), now=0) if meta else None

    def decide(cluster: Cluster | None) -> Cluster:
        return verdict.enter(cluster or verdict.begin(plan), plan, who.uuid)

    def work(connection: Connection) -> Roll:
        room = clusters.Room(50, 100)
        clusters.change(connection, PROJECT, name, decide, offer=published, entering=who, room=room)
        return clusters.read(connection, PROJECT, name)

    return await engine.write(work, PROJECT)


async def leave(engine: Engine, who: Instance) -> int:
    return len(await engine.write(lambda connection: clusters.leave_all(connection, who, verdict.leave), PROJECT))


async def confirm(engine: Engine, who: Instance, term: int, name: str = "db") -> Roll:
    def work(connection: Connection) -> Roll:
        clusters.change(connection, PROJECT, name, lambda cluster: verdict.confirm(cluster, who.uuid, term))
        return clusters.read(connection, PROJECT, name)

    return await engine.write(work, PROJECT)


async def read(engine: Engine, name: str = "db") -> Roll:
    return await engine.read(lambda connection: clusters.read(connection, PROJECT, name))


async def test_what_was_decided_is_what_is_read(engine: Engine) -> None:
    assert (await read(engine)).cluster is None
    for number in range(3):
        told = await enter(engine, instance(number), plan=ALL, addr=str(number))
        assert astuple(told) == astuple(await read(engine))
    assert told.cluster is not None
    assert told.cluster.plan == ALL
    assert [(member.ordinal, member.founder) for member in told.cluster.members] == [(0, True), (1, True), (2, True)]
    assert told.metas == {instance(number).uuid: {"addr": str(number)} for number in range(3)}
    formed = await confirm(engine, instance(2), 1)
    assert formed.cluster is not None
    assert formed.cluster.formed
    assert astuple(formed) == astuple(await read(engine))
    assert await leave(engine, instance(1)) == 1
    after = (await read(engine)).cluster
    assert after is not None
    assert [member.ordinal for member in after.members] == [0, 2]


async def test_a_refused_key_keeps_its_instance_off_the_roll(engine: Engine) -> None:
    await share(engine, ALICE, addr="old")
    revision = (await changes(engine)).revision
    with pytest.raises(KeyTaken):
        await enter(engine, ALICE, addr="new")
    assert (await read(engine)).cluster is None
    assert (await changes(engine)).revision == revision


async def test_a_refused_cluster_keeps_the_keys_out(engine: Engine) -> None:
    for number in range(50):
        await enter(engine, ALICE, f"db{number}")
    with pytest.raises(QuotaReached):
        await enter(engine, BOB, "one more", addr="1")
    assert (await changes(engine)).peers == ()
    await enter(engine, BOB, "db49", addr="1")


async def test_a_project_s_own_keys_are_untouched_by_a_repeat(engine: Engine) -> None:
    await enter(engine, ALICE, addr="1")
    before = await read(engine)

    def same(existing: object, _project: object) -> tuple[Entry, ...]:
        return ()

    await engine.write(
        lambda connection: clusters.change(
            connection, PROJECT, "db", lambda cluster: cluster, offer=entries.Offer(ALICE, same, now=9)
        )
    )
    assert astuple(await read(engine)) == astuple(before)


@pytest.mark.parametrize("plan", [ONE, ALL], ids=["one", "all"])
async def test_of_many_through_several_engines_at_once_one_set_founds(
    make_engine: MakeEngine, plan: ClusterPlan
) -> None:
    engines = [make_engine() for _ in range(3)]
    for number in range(8):
        name = f"db{number}"
        asking = [(engines[turn % 3], instance(turn // 2)) for turn in range(12)]  # each twice, through two engines
        rolls = await asyncio.gather(*(enter(engine, who, name, plan) for engine, who in asking))
        told: dict[frozenset[str], int] = Counter()
        for (_, who), roll in zip(asking, rolls, strict=True):
            assert roll.cluster is not None
            if verdict.judge(roll.cluster, who.uuid) is Verdict.BOOTSTRAP:
                told[frozenset(member.uuid for member in roll.cluster.founders)] += 1
        assert len(told) == 1
        assert all(len(founders) == (1 if plan is ONE else 3) for founders in told)
        seen = [astuple(await read(engine, name)) for engine in engines]
        assert seen[0] == seen[1] == seen[2]


async def test_a_founder_that_is_taken_out_as_it_confirms_is_one_or_the_other(make_engine: MakeEngine) -> None:
    """Never both: a new founder beside a confirmed one."""
    engines = [make_engine() for _ in range(3)]
    for number in range(10):
        name = f"db{number}"
        await enter(engines[0], ALICE, name)
        await enter(engines[1], BOB, name)
        confirmed, _, roll = await asyncio.gather(
            confirm(engines[0], ALICE, 1, name),
            leave(engines[1], ALICE),
            enter(engines[2], BOB, name),
            return_exceptions=True,
        )
        assert isinstance(roll, Roll)
        assert roll.cluster is not None
        last = (await enter(engines[2], BOB, name)).cluster
        assert last is not None
        said = verdict.judge(last, BOB.uuid)
        if isinstance(confirmed, Roll):
            assert (said, last.term) == (Verdict.JOIN, 1)
        else:
            assert (said, last.term) == (Verdict.BOOTSTRAP, 2)
        await leave(engines[0], BOB)
