"""The real app, stand-alone and in front of a nova, with instances of two projects that speak to it."""

import asyncio
import dataclasses
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from peerdata import app
from peerdata.settings import (
    DatabaseSettings,
    IdentitySettings,
    LimitsSettings,
    ServiceSettings,
    Settings,
)
from peerdata.store import migrate

from .conversation import Guest
from .fake_nova import SECRET, FakeNova, Server, through_neutron

ON_BOTH_LOOPS = {"test_connections.py"}
"""Modules whose tests run on asyncio's own loop and on uvloop."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Which event loops a test runs on."""
    both = item.path.name in ON_BOTH_LOOPS
    return {"asyncio": asyncio.new_event_loop} | ({"uvloop": uvloop.new_event_loop} if both else {})


ALICE = "a11ce000-0000-4000-8000-000000000001"
BOB = "b0b00000-0000-4000-8000-000000000002"
CAROL = "ca201000-0000-4000-8000-000000000003"
ZOE = "20e00000-0000-4000-8000-000000000009"

INVENTORY = f"""
instances:
  - {{uuid: {ALICE}, project_id: blue, addresses: [10.0.0.1], name: alice, hostname: alice.example.org,
      launch_index: 0, availability_zone: rack-1, meta: {{role: web, from_server_owned: by the owner}},
      public_keys: {{ops: ssh-ed25519 AAAA}}}}
  - {{uuid: {BOB}, project_id: blue, addresses: [10.0.0.2, "2001:db8::2"]}}
  - {{uuid: {CAROL}, project_id: blue, addresses: [10.0.0.3]}}
  - {{uuid: {ZOE}, project_id: green, addresses: [10.0.0.9]}}
"""
ADDRESSES = {ALICE: "10.0.0.1", BOB: "10.0.0.2", CAROL: "10.0.0.3", ZOE: "10.0.0.9"}

Build = Callable[..., Awaitable[app.Parts]]
"""Builds the app; ``section=dict`` changes settings of that section."""


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without entries, to be copied: making one anew takes longer than most conversations."""
    path = tmp_path_factory.mktemp("store") / "empty.sqlite"
    migrate.prepare(f"sqlite:///{path}", busy_timeout_s=1)
    return path


@pytest.fixture
def store_file(tmp_path: Path, empty_store: Path) -> Path:
    """The store of this test's apps."""
    path = tmp_path / "peerdata.sqlite"
    shutil.copy(empty_store, path)
    return path


@pytest.fixture
def settings(tmp_path: Path, store_file: Path) -> Settings:
    """Of a stand-alone service with small quotas."""
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(INVENTORY)
    return Settings(
        service=ServiceSettings(state_path=str(tmp_path)),
        identity=IdentitySettings(inventory_file=str(inventory), trusted_proxies=("192.0.2.80",)),
        limits=LimitsSettings(max_keys_per_instance=8, max_keys_per_project=12),
        database=DatabaseSettings(connection=f"sqlite:///{store_file}"),
    )


@pytest.fixture
async def build(settings: Settings) -> AsyncIterator[Build]:
    """Builds as many apps on the test's store as it wants; they end with it."""
    async with AsyncExitStack() as stack:

        async def build(**sections: dict[str, Any]) -> app.Parts:
            changed = {
                name: dataclasses.replace(getattr(settings, name), **options) for name, options in sections.items()
            }
            return await app.build(dataclasses.replace(settings, **changed), stack)

        yield build


@pytest.fixture
async def api(build: Build) -> app.Parts:
    """The app, stand-alone."""
    return await build()


def guest_of(parts: app.Parts, uuid: str) -> Guest:
    """An instance of the inventory, speaking to that app."""
    return Guest(parts.instances, uuid, client=ADDRESSES[uuid])


@pytest.fixture
def alice(api: app.Parts) -> Guest:
    """Of project blue; the owner has set its key ``from_server_owned``."""
    return guest_of(api, ALICE)


@pytest.fixture
def bob(api: app.Parts) -> Guest:
    """Of project blue."""
    return guest_of(api, BOB)


@pytest.fixture
def carol(api: app.Parts) -> Guest:
    """Of project blue."""
    return guest_of(api, CAROL)


@pytest.fixture
def zoe(api: app.Parts) -> Guest:
    """Of project green."""
    return guest_of(api, ZOE)


@pytest.fixture
def stranger(api: app.Parts) -> Guest:
    """Nobody that the inventory knows."""
    return Guest(api.instances, "", client="198.51.100.7")


@dataclass
class Cloud:
    """A service in front of a nova, and those that reach it through neutron."""

    nova: FakeNova
    parts: app.Parts
    rebuild: Callable[..., Awaitable[app.Parts]]

    def guest(self, uuid: str, parts: app.Parts | None = None) -> Guest:
        """An instance behind neutron."""
        return Guest((parts or self.parts).instances, uuid, through_neutron(self.nova.servers[uuid]))

    @property
    def alice(self) -> Guest:
        """Of project blue."""
        return self.guest(ALICE)

    @property
    def bob(self) -> Guest:
        """Of project blue."""
        return self.guest(BOB)

    @property
    def zoe(self) -> Guest:
        """Of project green, with the address that alice has in hers."""
        return self.guest(ZOE)


@pytest.fixture
async def nova() -> AsyncIterator[FakeNova]:
    """A nova that knows alice, bob and carol of project blue, and zoe of project green."""
    nova = FakeNova()
    for uuid, project, address in (
        (ALICE, "blue", "10.0.0.1"),
        (BOB, "blue", "10.0.0.2"),
        (CAROL, "blue", "10.0.0.3"),
        (ZOE, "green", "10.0.0.1"),
    ):
        nova.servers[uuid] = Server(uuid, project, address)
    await nova.open()
    yield nova
    await nova.close()


@pytest.fixture
async def behind_nova(build: Build, nova: FakeNova) -> Cloud:
    """The app in mode neutron."""

    async def rebuild(**sections: dict[str, Any]) -> app.Parts:
        base: dict[str, dict[str, Any]] = {
            "nova": {"metadata_url": nova.url},
            "neutron": {"metadata_proxy_shared_secret": SECRET},
            "identity": {"mode": "neutron", "inventory_file": ""},
        }
        return await build(**(sections | {name: told | sections.get(name, {}) for name, told in base.items()}))

    return Cloud(nova, await rebuild(), rebuild)
