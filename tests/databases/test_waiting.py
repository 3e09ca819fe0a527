# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""`wait` where the store is a server, which must be asked whether anything was committed."""

from __future__ import annotations

import asyncio

import pytest

from peerdata.errors import StoreUnavailable
from peerdata.service.discover import Discovery
from peerdata.service.memory import Memory
from peerdata.service.waiting import Waiting
from peerdata.store.engine import Engine
from tests.store.actions import ALICE, PROJECT, ZOE, share

from .postgresql import Postgresql
from .stores import MakeEngine


def waiting_on(engine: Engine) -> Waiting:
    discovery = Discovery(engine, asyncio.get_running_loop().time, Memory(10_000_000))
    return Waiting(discovery, most_s=20, most=1000, most_of_project=1000)


async def test_a_change_through_another_server_wakes_all_who_wait(make_engine: MakeEngine) -> None:
    here, elsewhere = make_engine(), make_engine()
    waiting = waiting_on(here)
    calls = [asyncio.ensure_future(waiting.read(PROJECT, 0, "", 20)) for _ in range(100)]
    await share(elsewhere, ZOE, other="1")
    await asyncio.sleep(0.5)
    assert not any(call.done() for call in calls)
    await share(elsewhere, ALICE, addr="10.0.0.11")
    boards = await asyncio.wait_for(asyncio.gather(*calls), 5)
    assert [board.revision for board in boards] == [1] * 100


async def test_who_waits_asks_the_server_once_for_all(make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    waiting = waiting_on(engine)
    asked = 0
    read = engine._read

    def count(work: object) -> object:
        nonlocal asked
        asked += 1
        return read(work)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "_read", count)
    await asyncio.gather(*(waiting.read(f"project{number}", 0, "", 1.0) for number in range(200)))
    assert asked < 20  # ten looks, and two for the first and the last read of all


async def test_a_server_that_goes_away_meanwhile_is_told_at_once(
    postgresql: Postgresql, make_engine: MakeEngine, store_urls: list[str]
) -> None:
    """And not when the time is over: a guest that waits must not take silence for «nothing new» (G5)."""
    if "postgresql" not in store_urls[0]:
        pytest.skip("one kind of server is enough")
    waiting = waiting_on(make_engine(busy_timeout_s=1))
    call = asyncio.ensure_future(waiting.read(PROJECT, 0, "", 20))
    await asyncio.sleep(0.3)
    postgresql.kill()
    try:
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(call, 10)
    finally:
        postgresql.mend()
