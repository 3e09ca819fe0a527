# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The blocks of `deploy/haproxy` in a real haproxy, in front of a real service and a nova: what goes where, and what is
answered while no peerdata is up.

Two novas tell the ways apart: one that haproxy asks, one that the service asks.
"""

import asyncio
import http.client
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from peerdata.api.routes import PATHS
from tests.api.fake_nova import SECRET, FakeNova, through_neutron
from tests.api.fake_nova import Server as Instance
from tests.chain.peers import Peers
from tests.live.service import Service, free_port

from .haproxy import BLOCKS, Haproxy

ALICE = Instance("a11ce000-0000-4000-8000-000000000001", "blue", "10.0.0.1")

OURS = [
    *(f"/openstack/latest/{path}" for path in PATHS if path not in ("meta_data.json", "")),
    "/openstack/2018-08-27/shared.json",
    "/openstack/latest/cluster/db.json",
    "/openstack/latest/cluster/db/formed",
]
"""Calls that nova does not have."""
SHARED = ["/openstack/latest/meta_data.json", "/openstack/2018-08-27/meta_data.json", "/openstack/latest/"]
"""Calls of nova's to whose answers we add."""
NOVAS = [
    "/",
    "/openstack",
    "/latest/meta-data/",
    "/2009-04-04/user-data",
    "/openstack/latest/user_data",
    "/openstack/latest/network_data.json",
    "/openstack/latest/vendor_data2.json",
    "/openstack/latest/password",
]
"""All else."""
ODD = [
    "//openstack/latest/shared.json",
    "/openstack/latest/./shared.json",
    "/openstack//latest/shared.json/",
    "/openstack/latest/shared%2Ejson",
    "/latest/../openstack/latest/shared.json",
]
"""Other spellings of one of ours."""


class Cloud:
    """Haproxy in front of one of two controllers' services; the other is never up."""

    def __init__(self, directory: Path, block: str, direct: FakeNova, behind: FakeNova) -> None:
        self.direct, self.behind = direct, behind
        section = {"healthcheck_path": "/healthcheck", "drain": 12}
        self.service = Service(
            directory,
            {
                "instance_api": section,
                "nova": {"metadata_url": behind.url},
                "neutron": {"metadata_proxy_shared_secret": SECRET},
                "identity": {"inventory_file": ""},
            },
        )
        self.service.start()
        down = free_port()
        self.haproxy = Haproxy(block, directory, free_port(), (self.service.port, down), nova=direct.port)

    async def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status, and who answered: direct, behind, ours."""
        for nova in (self.direct, self.behind):
            nova.seen.clear()
        status = await asyncio.to_thread(self._ask, method, path)
        if [seen for seen in self.direct.seen if seen.target == path.encode() and seen.method == method]:
            return status, "direct"
        return status, "behind" if self.behind.seen else "ours"

    def _ask(self, method: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.haproxy.port, timeout=30)
        try:
            headers = {name.decode(): value.decode() for name, value in through_neutron(ALICE)}
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    async def until(self, path: str, who: str) -> None:
        """Return once *path* is answered so."""
        deadline = time.monotonic() + 30
        while (await self.ask(path))[1] != who:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)

    def end(self) -> None:
        self.haproxy.end()
        self.service.end()


@pytest.fixture(params=BLOCKS)
async def cloud(request: pytest.FixtureRequest, tmp_path: Path, cannot: Callable[[str], None]) -> AsyncIterator[Cloud]:
    if not Peers.default().tool("haproxy"):
        cannot("there is no haproxy; `python -m tests.chain.peers` unpacks it")
    novas = [FakeNova(), FakeNova()]
    for nova in novas:
        nova.servers[ALICE.uuid] = ALICE
        await nova.open()
    cloud = await asyncio.to_thread(Cloud, tmp_path, request.param, *novas)
    yield cloud
    await asyncio.to_thread(cloud.end)
    for nova in novas:
        await nova.close()


async def test_what_is_ours_passes_through_the_service_and_the_rest_as_the_block_says(
    cloud: Cloud, request: pytest.FixtureRequest
) -> None:
    split = request.node.callspec.params["cloud"].endswith("split")
    for path in (*OURS, *SHARED, *ODD):
        assert (await cloud.ask(path))[1] != "direct", path
    assert (await cloud.ask("/openstack/latest/metadata?shared=project&meta.a=1", "POST"))[0] == 200
    for path in NOVAS:
        assert (await cloud.ask(path))[1] == ("direct" if split else "behind"), path
    assert (await cloud.ask("/openstack/latest/password", "POST")) == (409, "direct" if split else "behind")


async def test_while_no_peerdata_is_up_nova_answers_what_is_nova_s_and_ours_is_a_503(cloud: Cloud) -> None:
    cloud.service.kill()
    # The first connection that is refused takes it out; haproxy itself repeats that request, and may answer it 503.
    await cloud.ask("/openstack/latest/meta_data.json")
    await cloud.until("/openstack/latest/meta_data.json", "direct")
    for path in (*NOVAS, *SHARED):
        assert (await cloud.ask(path))[1] == "direct", path
    assert (await cloud.ask("/openstack/latest/meta_data.json"))[0] == 200
    for path in OURS:
        assert await cloud.ask(path) == (503, "ours"), path
    assert (await cloud.ask("/openstack/latest/metadata?meta.a=1", "POST")) == (503, "ours")
    await asyncio.to_thread(cloud.service.start)
    await cloud.until("/openstack/latest/meta_data.json", "behind")
    assert (await cloud.ask("/openstack/latest/shared.json"))[0] == 200


async def test_a_service_that_is_stopped_in_its_own_way_costs_nova_s_part_nothing(cloud: Cloud) -> None:
    assert (await cloud.ask("/openstack/latest/meta_data.json"))[0] == 200
    cloud.service.signal(signal.SIGTERM)
    ended = asyncio.ensure_future(asyncio.to_thread(cloud.service.wait, 60))
    lost = []
    while not ended.done():
        status, who = await cloud.ask("/openstack/latest/meta_data.json")
        lost += [(status, who)] if status != 200 else []
        await asyncio.sleep(0.02)
    assert await ended == 0
    assert lost == []
    await cloud.until("/openstack/latest/meta_data.json", "direct")
