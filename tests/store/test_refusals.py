"""The last refusal of each instance, kept for a day."""

import asyncio

from peerdata.errors import StoreUnavailable
from peerdata.model import Instance, Refusal
from peerdata.service.refusals import Refusals
from peerdata.store import refusals
from peerdata.store.engine import Engine

from .actions import ALICE, BOB, share

DAY_S = 86_400


def refusal(code: str, at: int) -> Refusal:
    return Refusal({"code": code, "message": "ü", "key": None, "limit": 7}, "POST /openstack/latest/metadata", at)


async def remember(engine: Engine, instance: Instance, kept: Refusal) -> None:
    await engine.write(lambda connection: refusals.remember(connection, instance, kept))


async def last(engine: Engine, instance: Instance, now: int) -> Refusal | None:
    return await engine.read(lambda connection: refusals.read(connection, instance, now=now))


async def test_a_refusal_comes_back_as_it_was(engine: Engine) -> None:
    await remember(engine, ALICE, refusal("first", at=1000))
    assert await last(engine, ALICE, now=1000) == refusal("first", at=1000)


async def test_one_is_kept_for_each_instance_and_it_is_the_last(engine: Engine) -> None:
    await remember(engine, ALICE, refusal("first", at=1000))
    await remember(engine, BOB, refusal("bob's", at=1000))
    await remember(engine, ALICE, refusal("second", at=1001))
    assert await last(engine, ALICE, now=1001) == refusal("second", at=1001)
    assert await last(engine, BOB, now=1001) == refusal("bob's", at=1000)


async def test_nobody_sees_that_of_another_project(engine: Engine) -> None:
    await remember(engine, ALICE, refusal("first", at=1000))
    assert await last(engine, Instance(ALICE.uuid, "green"), now=1000) is None
    assert await last(engine, BOB, now=1000) is None


async def test_it_is_told_for_a_day_and_no_longer(engine: Engine) -> None:
    await remember(engine, ALICE, refusal("first", at=1000))
    assert await last(engine, ALICE, now=1000 + DAY_S) is not None
    assert await last(engine, ALICE, now=1001 + DAY_S) is None


async def test_what_is_too_old_makes_room_when_anybody_is_refused(engine: Engine) -> None:
    await remember(engine, ALICE, refusal("first", at=1000))
    await remember(engine, BOB, refusal("bob's", at=1001 + DAY_S))
    rows = await engine.read(lambda connection: connection.exec_driver_sql("SELECT uuid FROM refusal").scalars().all())
    assert rows == [BOB.uuid]


async def test_a_refusal_is_no_change_of_the_project(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    await remember(engine, ALICE, refusal("first", at=1000))
    assert await engine.read(
        lambda connection: connection.exec_driver_sql("SELECT revision, entries FROM project").all()
    ) == [(1, 1)]


async def test_many_at_once_keep_one(engine: Engine) -> None:
    await asyncio.gather(*(remember(engine, ALICE, refusal(str(number), at=1000)) for number in range(50)))
    assert (
        await engine.read(lambda connection: connection.exec_driver_sql("SELECT count(*) FROM refusal").scalar_one())
        == 1
    )


async def test_a_store_that_cannot_keep_it_does_not_make_a_refusal_worse(engine: Engine) -> None:
    class ReadOnly(Engine):
        def __init__(self) -> None:
            """Needs no file."""

        async def write_together(self, work: object, call: object, lane: str = "") -> object:  # type: ignore[override]
            raise StoreUnavailable("the store is away")

    await Refusals(ReadOnly()).remember(ALICE, {"code": "x"}, "GET /", now=1000)
