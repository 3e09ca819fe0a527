"""Waiting for a change: `peer_data.json?since=R&wait=S`, where the operator allows it."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from peerdata import app
from peerdata.service import verdict
from peerdata.service.board import Board, News
from peerdata.settings import Settings
from peerdata.store import repairs
from peerdata.store.engine import Engine

from .conftest import ALICE, BOB, CAROL, ZOE, Build, guest_of
from .conversation import Guest, Heard

SOON_S = 1.0
"""Within this a change must wake; it takes a tenth of a second, and this machine may be busy."""


@pytest.fixture
async def waiting(build: Build) -> app.Parts:
    """The app, letting instances wait for up to 5 s."""
    return await build(limits={"max_wait": 5.0, "max_waiting": 3, "max_waiting_per_project": 2})


@pytest.fixture
def alice(waiting: app.Parts) -> Guest:
    """Of project blue."""
    return guest_of(waiting, ALICE)


@pytest.fixture
def bob(waiting: app.Parts) -> Guest:
    """Of project blue."""
    return guest_of(waiting, BOB)


async def revision(guest: Guest) -> int:
    return int((await guest.get("peer_data.json")).json["revision"])


async def begun(waits: Awaitable[Heard]) -> asyncio.Future[Heard]:
    """*waits*, under way, and not answered at once."""
    call = asyncio.ensure_future(waits)
    await asyncio.sleep(0.15)
    assert not call.done()
    return call


async def soon(call: asyncio.Future[Heard]) -> Any:
    """What it hears, within the time a change may take to wake it."""
    heard = await asyncio.wait_for(call, SOON_S)
    assert heard.status == 200, heard.body
    return heard.json


async def at_once(call: Awaitable[Heard]) -> Any:
    """What it hears without waiting."""
    return await soon(asyncio.ensure_future(call))


async def test_a_change_wakes_who_waits_and_tells_just_that(alice: Guest, bob: Guest) -> None:
    await alice.publish("a=1", shared=True)
    call = await begun(alice.get(f"peer_data.json?since={await revision(alice)}&wait=5"))
    await bob.publish("b=2", shared=True)
    heard = await soon(call)
    assert [peer["uuid"] for peer in heard["peers"]] == [BOB]
    assert heard["full"] is False


async def test_a_change_through_another_server_wakes_too(alice: Guest, build: Build) -> None:
    call = await begun(alice.get("peer_data.json?since=0&wait=5"))
    await guest_of(await build(), CAROL).publish("c=3", shared=True)
    assert [peer["uuid"] for peer in (await soon(call))["peers"]] == [CAROL]


async def test_nothing_new_is_told_when_the_time_is_over(alice: Guest) -> None:
    began = time.monotonic()
    heard = await at_once(alice.get("peer_data.json?since=0&wait=0.3"))
    assert time.monotonic() - began >= 0.3
    assert heard["peers"] == []
    assert heard["revision"] == 0


async def test_nobody_waits_longer_than_the_operator_allows(build: Build) -> None:
    alice = guest_of(await build(limits={"max_wait": 0.2}), ALICE)
    assert (await at_once(alice.get("peer_data.json?since=0&wait=100")))["peers"] == []


async def test_waiting_is_off_unless_the_operator_turns_it_on(build: Build) -> None:
    alice = guest_of(await build(), ALICE)
    assert (await at_once(alice.get("peer_data.json?since=0&wait=5")))["peers"] == []


@pytest.mark.parametrize("query", ["wait=5", "since=0&wait=5", "since=7000&wait=5", "since=0&wait=0", "wait=5&since=0"])
async def test_what_is_there_already_is_told_at_once(alice: Guest, bob: Guest, query: str) -> None:
    await bob.publish("b=2", shared=True)
    assert [peer["uuid"] for peer in (await at_once(alice.get(f"peer_data.json?{query}")))["peers"]] == [BOB]


@pytest.mark.parametrize("unseen", ["other=1", "private"])
async def test_a_change_of_which_there_is_nothing_to_tell_wakes_nobody(alice: Guest, bob: Guest, unseen: str) -> None:
    """With a prefix, a key that has another; and without, a key that is not shared."""
    prefix = "&prefix=etcd_" if unseen == "other=1" else ""
    call = await begun(alice.get(f"peer_data.json?since=0&wait=5{prefix}"))
    await bob.publish("other=1", shared=unseen == "other=1")
    call = await begun(call)
    await bob.publish("etcd_addr=2", shared=True)
    heard = await soon(call)
    assert heard["revision"] == 2
    assert heard["peers"][0]["meta"]["from_server_etcd_addr"] == "2"


async def test_another_project_wakes_nobody(alice: Guest, waiting: app.Parts) -> None:
    call = await begun(alice.get("peer_data.json?since=0&wait=1.5"))
    await guest_of(waiting, ZOE).publish("z=1", shared=True)
    await begun(call)
    assert (await call).json["peers"] == []


async def test_one_who_leaves_is_told_to_who_waits(alice: Guest, bob: Guest, settings: Settings) -> None:
    await bob.publish("b=2", shared=True)
    call = await begun(alice.get("peer_data.json?since=1&wait=5"))
    await asyncio.to_thread(
        repairs.remove_instance, settings.database.connection, BOB, leave=verdict.leave, busy_timeout_s=1
    )
    assert (await soon(call))["removed"] == [BOB]


async def test_more_of_a_project_than_may_wait_are_answered_at_once(alice: Guest, bob: Guest) -> None:
    quiet = "peer_data.json?since=0&wait=5"
    held = [await begun(alice.get(quiet)), await begun(bob.get(quiet))]
    assert (await at_once(alice.get(quiet)))["peers"] == []
    await alice.publish("a=1", shared=True)
    for call in held:
        assert len((await soon(call))["peers"]) == 1
    await begun(alice.get("peer_data.json?since=1&wait=5"))  # there is room again


async def test_more_than_may_wait_in_all_are_answered_at_once(build: Build) -> None:
    few = await build(limits={"max_wait": 5.0, "max_waiting": 1})
    call = await begun(guest_of(few, ALICE).get("peer_data.json?since=0&wait=5"))
    assert (await at_once(guest_of(few, ZOE).get("peer_data.json?since=0&wait=5")))["peers"] == []
    await guest_of(few, BOB).publish("b=2", shared=True)
    await soon(call)


async def test_a_store_that_goes_away_meanwhile_is_a_503_and_never_an_empty_list(
    alice: Guest, bob: Guest, store_file: Path
) -> None:
    """G5."""
    await bob.publish("b=2", shared=True)
    call = await begun(alice.get("peer_data.json?since=1&wait=5"))
    with closing(sqlite3.connect(store_file)) as other:
        other.execute("DROP TABLE project")
        other.commit()
    heard = await asyncio.wait_for(call, SOON_S)
    assert (heard.status, heard.code) == (503, "store.unavailable")


async def test_who_waits_is_answered_when_the_service_stops_and_then_nobody_waits(
    alice: Guest, waiting: app.Parts
) -> None:
    call = await begun(alice.get("peer_data.json?since=0&wait=5"))
    waiting.waiting.close()
    assert (await soon(call))["peers"] == []
    assert (await at_once(alice.get("peer_data.json?since=0&wait=5")))["peers"] == []


async def test_the_metrics_tell_how_many_wait_and_not_how_long(alice: Guest, bob: Guest) -> None:
    before = REGISTRY.get_sample_value("peerdata_request_seconds_count", {"call": "peer_data.json"})
    call = await begun(alice.get("peer_data.json?since=0&wait=5"))
    assert REGISTRY.get_sample_value("peerdata_waiting") == 1
    await bob.publish("a=1", shared=True)
    await soon(call)
    assert REGISTRY.get_sample_value("peerdata_waiting") == 0
    assert REGISTRY.get_sample_value("peerdata_request_seconds_count", {"call": "peer_data.json"}) == before


@pytest.mark.parametrize("wrong", ["-1", "1s", "", "1e3", "nan", "inf", "1234567", "%31&wait=1"])
async def test_a_wait_that_is_no_number_of_seconds_is_a_400(alice: Guest, wrong: str) -> None:
    heard = await alice.get(f"peer_data.json?since=0&wait={wrong}")
    assert heard.status == 400
    assert heard.error["parameter"] == "wait"


async def test_many_who_wait_ask_the_store_nothing_while_nothing_is_committed(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = guest_of(await build(limits={"max_wait": 5.0}), ALICE)
    await alice.publish("a=1", shared=True)
    await alice.get("peer_data.json")
    asked: list[object] = []
    monkeypatch.setattr(Engine, "_read_once", lambda _self, work: asked.append(work))
    calls = [asyncio.ensure_future(alice.get("peer_data.json?since=1&wait=0.4")) for _ in range(50)]
    assert [heard.json["peers"] for heard in await asyncio.gather(*calls)] == [[]] * 50
    assert asked == []


async def test_what_changed_is_looked_at_once_for_all_who_wait_and_only_in_that_project(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of a look must not grow with waiters times peers, nor with what other projects hold."""
    parts = await build(limits={"max_wait": 5.0, "max_keys_per_project": 1000, "max_keys_per_instance": 100})
    alice, bob, zoe = (guest_of(parts, uuid) for uuid in (ALICE, BOB, ZOE))
    for number in range(10):
        await bob.publish(f"old{number}=1", shared=True)
    await zoe.publish("z=1", shared=True)
    calls = [asyncio.ensure_future(alice.get("peer_data.json?since=10&wait=5&prefix=etcd_")) for _ in range(50)]
    others = [asyncio.ensure_future(zoe.get("peer_data.json?since=1&wait=1")) for _ in range(50)]
    await asyncio.sleep(0.3)
    asked: list[tuple[int | None, str]] = []
    news = Board.news

    def count(board: Board, since: int | None, prefix: str) -> News:
        asked.append((since, prefix))
        return news(board, since, prefix)

    monkeypatch.setattr(Board, "news", count)
    await bob.publish("other=1", shared=True)
    await asyncio.sleep(0.3)
    assert not any(call.done() for call in calls)
    assert asked == [(10, "etcd_")], "once for all of them"
    await bob.publish("etcd_addr=1", shared=True)
    assert all(heard.json["revision"] == 12 for heard in await asyncio.gather(*calls))
    assert asked.count((11, "etcd_")) == 1, "from what the last look saw"
    assert all(heard.json["peers"] == [] for heard in await asyncio.gather(*others))
