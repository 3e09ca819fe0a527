# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The promises of docs/protocol.md through several engines on one store, which on Galera are several nodes."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection

from peerdata.errors import KeyTaken, SettingsInvalid, StoreUnavailable
from peerdata.model import Entry, Instance
from peerdata.service.discover import Discovery
from peerdata.service.memory import Memory
from peerdata.service.own import OwnEntries
from peerdata.store import entries, migrate
from peerdata.store.engine import Engine
from tests.store.actions import ALICE, BOB, PROJECT, changes, keep, leave, own, share

from .mariadb import Mariadb
from .postgresql import Postgresql
from .stores import MakeEngine


def instance(number: int, project_id: str = PROJECT) -> Instance:
    return Instance(f"00000000-0000-4000-8000-{number:012}", project_id)


@pytest.fixture
def engines(make_engine: MakeEngine) -> list[Engine]:
    """As three servers of the service have them."""
    return [make_engine() for _ in range(3)]


async def test_a_read_through_any_server_contains_what_was_answered_before(engines: list[Engine]) -> None:
    """G3, while other projects keep the store busy."""
    discoveries = [Discovery(engine, asyncio.get_running_loop().time, Memory(10_000_000)) for engine in engines]
    done = asyncio.Event()

    async def keep_busy(number: int) -> None:
        key = 0
        while not done.is_set():
            key += 1
            await share(engines[number % 3], instance(number, f"busy{number}"), **{f"k{key}": "x" * 200})

    busy = [asyncio.ensure_future(keep_busy(number)) for number in range(4)]
    for number in range(60):
        await share(engines[number % 3], instance(number), k=str(number))
        boards = await asyncio.gather(*(discovery.read(PROJECT) for discovery in discoveries))
        assert [len(board) for board in boards] == [number + 1] * 3
    done.set()
    await asyncio.gather(*busy)


async def test_an_instance_reads_all_of_its_own_that_was_answered_before_through_any_server(
    engines: list[Engine],
) -> None:
    """G3, for unshared keys too, and where several who wait share a statement."""
    servers = [OwnEntries(engine, Memory(10_000_000)) for engine in engines]
    others = [instance(number) for number in range(20)]
    for number in range(20):
        put = share if number % 2 else keep
        await put(engines[number % 3], ALICE, **{f"k{number:02}": "1"})
        found = await asyncio.gather(*(server.read(one) for server in servers for one in (ALICE, *others)))
        assert [len(one) for one in found] == [number + 1, *[0] * 20] * 3
    await leave(engines[0], ALICE)
    assert await asyncio.gather(*(server.read(ALICE) for server in servers)) == [{}] * 3


async def test_of_two_that_publish_and_then_read_at_least_one_sees_the_other(engines: list[Engine]) -> None:
    for number in range(30):

        async def publish_then_read(engine: Engine, who: Instance, number: int = number) -> int:
            await share(engine, who, **{f"round{number}": "1"})
            found = await changes(engine)
            return sum(f"round{number}" in peer.meta for peer in found.peers)

        seen = await asyncio.gather(publish_then_read(engines[0], ALICE), publish_then_read(engines[1], BOB))
        assert max(seen) == 2


async def test_of_many_values_for_one_key_through_all_servers_one_wins(engines: list[Engine]) -> None:
    for number in range(10):
        outcomes = await asyncio.gather(
            *(share(engines[value % 3], ALICE, **{f"k{number}": str(value)}) for value in range(9)),
            return_exceptions=True,
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, dict)]
        assert len(won) == 1
        assert all(isinstance(outcome, KeyTaken) for outcome in outcomes if isinstance(outcome, Exception))
        assert (await own(engines[2], ALICE))[f"k{number}"] == won[0][f"k{number}"].value


async def test_revisions_have_no_gap_and_no_reader_sees_one_before_those_below_it(engines: list[Engine]) -> None:
    """G2: a reader at revision R knows every peer that joined up to R, whoever wrote it, whichever server is asked."""
    done = asyncio.Event()

    async def follow(engine: Engine) -> None:
        last = 0
        while not done.is_set():
            found = await changes(engine)
            assert [peer.joined for peer in found.peers] == list(range(1, found.revision + 1))
            assert found.revision >= last
            last = found.revision

    followers = [asyncio.ensure_future(follow(engine)) for engine in engines]
    await asyncio.gather(*(share(engines[number % 3], instance(number), k="1") for number in range(120)))
    done.set()
    await asyncio.gather(*followers)
    assert (await changes(engines[0])).revision == 120


async def test_a_write_that_waits_for_its_project_does_not_stop_another_project(engines: list[Engine]) -> None:
    """One write in flight holds the row of its own project, and nobody else's."""
    held, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: Connection) -> None:
        entries.publish_offer(connection, entries.Offer(ALICE, lambda *_: (Entry("k", "1", shared=True),), now=0))
        loop.call_soon_threadsafe(held.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)

    slow = asyncio.ensure_future(engines[0].write(hold, lane=PROJECT))
    await held.wait()
    await asyncio.wait_for(share(engines[0], instance(1, "other"), k="1"), 5)
    await asyncio.wait_for(share(engines[1], instance(2, "third"), k="1"), 5)
    go_on.set()
    await slow


async def test_removing_and_publishing_through_all_servers_loses_nothing(engines: list[Engine]) -> None:
    for number in range(20):
        await share(engines[number % 3], ALICE, **{f"k{number}": "1"})
        assert await leave(engines[(number + 1) % 3], ALICE) == 1
        assert await own(engines[(number + 2) % 3], ALICE) == {}
    assert (await changes(engines[0])).revision == 40


async def test_keys_differ_by_case_and_by_a_space_at_their_end(engine: Engine) -> None:
    meta = {"a": "1", "A": "2", "a ": "3", " a": "4", "a:": "5"}
    await share(engine, ALICE, **meta)
    assert await own(engine, ALICE) == meta


async def test_the_longest_value_and_every_character_come_back(engine: Engine) -> None:
    meta = {"long": "🙂" * 65_536, "odd": "\x01\t\r\n\\'\"%_\u2028\uffff", "empty": ""}
    await share(engine, ALICE, **meta)
    assert await own(engine, ALICE) == meta


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_a_server_that_is_away_is_refused_soon_and_used_again_when_it_is_back(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server: Postgresql | Mariadb = request.getfixturevalue(kind)
    server.mend()
    url = server.new_database()
    migrate.upgrade(url, busy_timeout_s=5)
    engine = Engine(url, busy_timeout_s=1, max_waiting_writes=100)
    await share(engine, ALICE, k="1")
    server.kill()
    for attempt in (share(engine, BOB, k="1"), own(engine, ALICE)):
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(attempt, 8)
    server.start()
    assert await own(engine, ALICE) == {"k": "1"}
    await share(engine, BOB, k="1")
    engine.close()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_an_empty_server_is_refused_until_it_was_upgraded(kind: str, request: pytest.FixtureRequest) -> None:
    server: Postgresql | Mariadb = request.getfixturevalue(kind)
    server.mend()
    url = server.new_database()
    with pytest.raises(SettingsInvalid, match="peerdata db upgrade"):
        migrate.prepare(url, busy_timeout_s=5)
    migrate.upgrade(url, busy_timeout_s=5)
    migrate.upgrade(url, busy_timeout_s=5)
    migrate.prepare(url, busy_timeout_s=5)
    assert migrate.current(url, busy_timeout_s=5) == migrate.newest()
