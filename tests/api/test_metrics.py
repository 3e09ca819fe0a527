# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What `/metrics` tells of the store and of clusters. (The process is the same for all tests, so changes count.)"""

import asyncio
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from peerdata import app
from peerdata.service import clusters as service_clusters

from .conftest import ALICE, BOB, ZOE, Build, guest_of
from .conversation import Guest


async def scrape(parts: app.Parts) -> dict[str, float]:
    """The value of each series."""
    heard = await Guest(parts.operators, "").ask("GET", "/metrics")
    assert heard.status == 200
    lines = [line for line in heard.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_reads_and_writes_of_the_store_are_measured_and_reads_from_memory_are_not(build: Build) -> None:
    parts = await build()
    alice = guest_of(parts, ALICE)
    read, written = (f'peerdata_store_seconds_count{{kind="{kind}"}}' for kind in ("read", "write"))
    before = await scrape(parts)
    await alice.publish("a=1", shared=True)
    await alice.get("shared.json")
    between = await scrape(parts)
    assert between[written] == before.get(written, 0) + 1
    assert between[read] > before.get(read, 0)
    await alice.get("shared.json")
    assert (await scrape(parts))[read] == between[read]


async def test_failures_of_the_store_are_counted_by_kind(build: Build, store_file: Path) -> None:
    parts = await build(database={"busy_timeout": 0})
    before = await scrape(parts)
    with closing(sqlite3.connect(store_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await guest_of(parts, ALICE).publish("a=1")).status == 503
    failed = 'peerdata_store_failures_total{kind="write"}'
    after = await scrape(parts)
    assert after[failed] == before.get(failed, 0) + 1


async def test_clusters_are_counted_by_state_and_not_at_every_scrape(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = await build()
    forming, formed = (f'peerdata_clusters{{state="{state}"}}' for state in ("forming", "formed"))

    async def count() -> tuple[float, float]:
        found = await scrape(parts)
        return found[forming], found[formed]

    assert await count() == (0, 0)
    for uuid, name in ((ALICE, "a"), (BOB, "a"), (ALICE, "b"), (ZOE, "a")):
        heard = await guest_of(parts, uuid).ask("POST", f"/openstack/latest/cluster/{name}.json?size=2")
        assert heard.status == 200
    await guest_of(parts, ALICE).ask("POST", "/openstack/latest/cluster/a/formed?term=1")
    assert await count() == (0, 0), "it was counted just now"
    monkeypatch.setattr(service_clusters, "COUNT_AGAIN_S", 0.0)
    assert (await scrape(await build()))[formed] == 1, "another process of the store counts by itself"
    fresh = await build()
    found = await scrape(fresh)
    assert (found[forming], found[formed]) == (2, 1)


async def test_a_cluster_that_all_have_left_is_not_counted(build: Build, store_file: Path) -> None:
    parts = await build()
    await guest_of(parts, ALICE).ask("POST", "/openstack/latest/cluster/a.json?size=2")
    with closing(sqlite3.connect(store_file)) as other:
        other.execute("DELETE FROM member")
        other.commit()
    assert (await scrape(parts))['peerdata_clusters{state="forming"}'] == 0


async def test_metrics_are_there_while_the_store_is_not(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a store that fails nor one that does not answer holds them up for long."""
    monkeypatch.setattr(service_clusters, "COUNT_PATIENCE_S", 0.05)
    parts = await build()
    release = threading.Event()
    reading = asyncio.ensure_future(parts.store.read(lambda _: release.wait(30)))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert "peerdata_proofs" in await scrape(parts)
    release.set()
    await reading
    unopened = await build()
    unopened.store._opened = False
    assert "peerdata_proofs" in await scrape(unopened)


async def test_no_series_tells_when_it_was_created_and_requests_are_told_apart_up_to_a_minute(build: Build) -> None:
    parts = await build()
    await guest_of(parts, ALICE).get("shared.json")
    names = set(await scrape(parts))
    assert not any("_created" in name for name in names)
    bounds = {found[1] for name in names if (found := re.match(r'peerdata_request_seconds_bucket.*le="([^"]*)"', name))}
    assert {"25.0", "60.0", "+Inf"} <= bounds
