# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The service starts before its database: it is up, passes nova's part on, and uses the store once it is there."""

import asyncio
import http.client
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peerdata.store import migrate
from tests.api.fake_nova import SECRET, FakeNova, through_neutron
from tests.api.fake_nova import Server as Instance
from tests.live.service import Service, free_port

from .server import Server

ALICE = Instance("a11ce000-0000-4000-8000-000000000001", "blue", "10.0.0.1")
WITHIN_S = 40.0
"""Longer than the longest pause between two tries, and a start of the database, on a busy machine."""


class InFront:
    """A service of some workers in front of a nova, on a store that may not be there."""

    def __init__(self, directory: Path, nova: FakeNova, url: str, workers: int) -> None:
        self.operator_port = free_port()
        self.service = Service(
            directory,
            {
                "instance_api": {"workers": workers},
                "operator_api": {"listen": f"127.0.0.1:{self.operator_port}"},
                "nova": {"metadata_url": nova.url},
                "neutron": {"metadata_proxy_shared_secret": SECRET},
                "identity": {"inventory_file": ""},
                "database": {"connection": url.replace("$", "$$"), "busy_timeout": 2},
            },
        )

    async def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """As alice, through neutron."""
        headers = {name.decode(): value.decode() for name, value in through_neutron(ALICE)}
        return await asyncio.to_thread(_ask, self.service.port, method, f"/openstack/latest/{path}", headers)

    async def look(self, path: str) -> tuple[int, Any]:
        """As the operator."""
        status, body = await asyncio.to_thread(_ask, self.operator_port, "GET", path, {})
        return status, json.loads(body)

    async def becomes_ready(self) -> None:
        await self.until(lambda: _ask(self.operator_port, "GET", "/readyz", {})[0] == 200)

    async def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not await asyncio.to_thread(true):
            assert time.monotonic() < deadline, self.service.log.read_text()
            await asyncio.sleep(0.1)

    async def serves_without_its_store(self) -> None:
        """Nova's part as nova has it, ours not at all, and health says which."""
        assert (await self.ask("user_data")) == (200, bytes(range(256)))
        for path, method in (("shared.json", "GET"), ("peer_data.json", "GET"), ("metadata?meta.a=1", "POST")):
            status, body = await self.ask(path, method)
            assert (status, json.loads(body)["error"]["code"]) == (503, "peerdata.store.unavailable"), path
        assert (await self.look("/healthz"))[0] == 200
        assert await self.look("/readyz") == (503, {"ready": False, "store": False, "nova": True})

    async def serves_all(self) -> None:
        assert (await self.ask("metadata?shared=project&meta.a=1", "POST"))[0] == 200
        status, body = await self.ask("shared.json")
        assert (status, json.loads(body)[0]["meta"]) == (200, {"from_server_a": "1"})


def _ask(port: int, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture
async def nova() -> AsyncIterator[FakeNova]:
    """It knows alice."""
    nova = FakeNova()
    nova.servers[ALICE.uuid] = ALICE
    await nova.open()
    yield nova
    await nova.close()


@pytest.fixture
def start(tmp_path: Path, nova: FakeNova) -> Iterator[Callable[..., InFront]]:
    """Starts a service; it ends with the test."""
    made: list[InFront] = []

    def start(url: str, workers: int = 1) -> InFront:
        made.append(InFront(tmp_path, nova, url, workers))
        return made[-1]

    yield start
    for one in made:
        one.service.end()


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Whole again afterwards."""
    server: Server = request.getfixturevalue(request.param)
    server.mend()
    yield server
    server.mend()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_database_that_is_down_at_the_start_is_waited_for(
    server: Server, start: Callable[..., InFront], workers: int
) -> None:
    url = server.new_database()
    migrate.upgrade(url, busy_timeout_s=10)
    server.stop()
    front = start(url, workers)
    await asyncio.to_thread(front.service.start)
    await front.serves_without_its_store()
    await asyncio.to_thread(server.start)
    await front.becomes_ready()
    # Each worker opens it by itself.
    await front.until(lambda: front.service.log.read_text().count("is used from now on") == workers)
    await front.serves_all()


async def test_a_database_that_accepts_and_does_not_respond_holds_nobody_up(
    server: Server, start: Callable[..., InFront]
) -> None:
    url = server.new_database()
    migrate.upgrade(url, busy_timeout_s=10)
    server.pause()
    front = start(url)
    await asyncio.to_thread(front.service.start)
    await front.serves_without_its_store()
    server.resume()
    await front.becomes_ready()
    await front.serves_all()


async def test_a_database_whose_schema_is_found_wrong_later_is_an_error_in_the_log_until_it_is_right(
    server: Server, start: Callable[..., InFront]
) -> None:
    url = server.new_database()
    server.stop()
    front = start(url)
    await asyncio.to_thread(front.service.start)
    await asyncio.to_thread(server.start)
    await front.until(lambda: "the store is empty: run `peerdata db upgrade`" in front.service.log.read_text())
    await front.serves_without_its_store()
    assert front.service.run("db", "upgrade").returncode == 0
    await front.becomes_ready()
    await front.serves_all()


async def test_a_schema_that_is_found_wrong_at_the_start_ends_it(server: Server, start: Callable[..., InFront]) -> None:
    ended = await asyncio.to_thread(start(server.new_database()).service.run, "serve")
    assert ended.returncode == 2
    assert "run `peerdata db upgrade` once" in ended.stderr


async def test_the_service_ends_at_once_while_it_waits(server: Server, start: Callable[..., InFront]) -> None:
    url = server.new_database()
    server.pause()
    front = start(url)
    await asyncio.to_thread(front.service.start)
    assert front.service.process
    front.service.process.terminate()
    assert await asyncio.to_thread(front.service.wait, 15) == 0
