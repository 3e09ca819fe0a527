"""Nova is killed: lists are served for a day all the same, by every worker, after a restart, and by a second server."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.api.fake_nova import SECRET, FakeNova, Server, through_neutron

from .conftest import MakeService
from .service import Reply, Service

GUESTS = [Server(f"00000000-0000-4000-8000-{number:012}", "blue", f"10.0.0.{number}") for number in range(1, 9)]

Together = Callable[..., Service]


class Nova:
    """A nova in a thread of this process; `kill` closes its port, and all connections."""

    def __init__(self) -> None:
        self._fake = FakeNova()
        self._fake.servers = {server.uuid: server for server in GUESTS}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    @property
    def url(self) -> str:
        return self._fake.url

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._fake.open(), self._loop).result(10)

    def kill(self) -> None:
        asyncio.run_coroutine_threadsafe(self._fake.close(), self._loop).result(10)

    def end(self) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def nova() -> Iterator[Nova]:
    """Knows `GUESTS`."""
    nova = Nova()
    yield nova
    nova.end()


@pytest.fixture
def in_front(nova: Nova, make_service: MakeService) -> Together:
    """A service before nova, on the one store; started once all its workers are ready."""

    def make(workers: int = 1) -> Service:
        sections: dict[str, dict[str, object]] = {
            "instance_api": {"workers": workers, "graceful_shutdown_timeout": 1},
            "identity": {"inventory_file": ""},
            "nova": {"metadata_url": nova.url},
            "neutron": {"metadata_proxy_shared_secret": SECRET},
        }
        service = make_service(sections, start=False)
        service.start()
        until(lambda: service.log.read_text().count("is ready") == workers)
        return service

    return make


def until(true: Callable[[], object]) -> None:
    """Wait until it is."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(service: Service, guest: Server, path: str, method: str = "GET") -> Reply:
    """One request, as neutron's agent hands it on, on a connection of its own: whatever worker is free takes it."""
    connection = service.connect("127.0.0.1")
    try:
        headers = {name.decode(): value.decode() for name, value in through_neutron(guest)}
        connection.request(method, f"/openstack/latest/{path}", headers=headers)
        response = connection.getresponse()
        return Reply(response.status, response.read())
    finally:
        connection.close()


def lists(service: Service, number: int = 200) -> Counter[object]:
    """What so many reads of shared.json were answered: the status, and how many peers."""
    replies = [ask(service, GUESTS[turn % len(GUESTS)], "shared.json") for turn in range(number)]
    return Counter((reply.status, len(reply.json) if reply.status == 200 else reply.body) for reply in replies)


ALL_LISTS = Counter({(200, len(GUESTS)): 200})


def publish_all(service: Service) -> None:
    """Every instance shares a key; once that is answered nova knows, and the service, who each is."""
    for guest in GUESTS:
        assert ask(service, guest, "metadata?shared=project&meta.a=1", "POST").status == 200


def kept(service: Service) -> int:
    """How many proofs the store has."""
    store = sqlite3.connect(service.directory / "state" / "peerdata.sqlite")
    try:
        return int(store.execute("SELECT count(*) FROM proof WHERE disowned_at = 0").fetchone()[0])
    finally:
        store.close()


def test_every_worker_serves_lists_while_nova_is_away(nova: Nova, in_front: Together) -> None:
    """Without a common place for proofs a fifth to a half of them were 502."""
    service = in_front(workers=2)
    publish_all(service)
    until(lambda: kept(service) == len(GUESTS))
    nova.kill()
    assert lists(service) == ALL_LISTS
    assert ask(service, GUESTS[0], "metadata?meta.b=1", "POST").status == 502
    nova.start()
    assert ask(service, GUESTS[0], "metadata?meta.b=1", "POST").status == 200


def test_what_nova_answered_just_before_the_end_survives_a_restart(nova: Nova, in_front: Together) -> None:
    service = in_front()
    publish_all(service)
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    nova.kill()
    service.start()
    assert lists(service) == ALL_LISTS


def test_what_nova_answered_survives_kill_9(nova: Nova, in_front: Together) -> None:
    service = in_front(workers=2)
    publish_all(service)
    until(lambda: kept(service) == len(GUESTS))
    service.kill()
    nova.kill()
    time.sleep(0.5)  # the workers see that the first process is gone
    service.start()
    assert lists(service) == ALL_LISTS


def test_a_second_server_on_the_store_serves_those_whom_the_first_knows(nova: Nova, in_front: Together) -> None:
    first, second = in_front(), in_front()
    publish_all(first)
    until(lambda: kept(first) == len(GUESTS))
    nova.kill()
    assert lists(second) == ALL_LISTS


def test_who_is_not_known_anywhere_gets_no_list(nova: Nova, in_front: Together) -> None:
    service = in_front(workers=2)
    publish_all(service)
    until(lambda: kept(service) == len(GUESTS))
    nova.kill()
    stranger = Server("00000000-0000-4000-8000-000000000099", "blue", "10.0.0.99")
    replies = [ask(service, stranger, "shared.json") for _ in range(20)]
    assert {(reply.status, json.loads(reply.body)["error"]["code"]) for reply in replies} == {
        (502, "peerdata.upstream.failed")
    }
