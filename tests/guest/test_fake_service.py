"""
The fake behaves as the real service: the same conversation with both gives the same statuses, members and codes.

Messages, times, random seeds and what depends on load (``poll_after_s``) may differ; nothing else may.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from peerdata import testing
from peerdata.guest import Guest, Refused, wire

from ..live.service import BLUE, GREEN, Service

DIFFERENT = (
    "poll_after_s",
    "random_seed",
    "time",
    "message",
    "why",
    "hostname",
    "name",
    "availability_zone",
    "launch_index",
)

SOURCES = [*[*BLUE][:3], *GREEN]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"))
    service.start()
    yield service
    service.end()


class Both:
    """The same four instances, three of one project, of the fake and of the real service."""

    def __init__(self, cloud: testing.Cloud, service: Service) -> None:
        self._instances = [cloud.instance() for _ in range(3)] + [cloud.instance(project="green")]
        self._service = service
        self.names = {instance.uuid: f"instance-{n}" for n, instance in enumerate(self._instances)}
        self.names |= {uuid: f"instance-{n}" for n, uuid in enumerate([*[*BLUE.values()][:3], *GREEN.values()])}

    def ask(self, number: int, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Return the common answer of both."""
        faked, real = self.answers(number, method, path, body)
        assert faked == real, f"{method} {path}"
        return faked

    def answers(self, number: int, method: str, path: str, body: bytes = b"") -> list[tuple[int, Any]]:
        """Return the answers of both, asked at the same time."""
        fake = wire.parse_url(self._instances[number].url)
        real = wire.Server("127.0.0.1", self._service.port, SOURCES[number])

        def answer_of(server: wire.Server) -> tuple[int, Any]:
            got = wire.exchange(server, method, f"/openstack/latest/{path}", 10, late_body=body)
            status = 403 if got.status == 413 else got.status  # the fake answers as through neutron
            return status, self._same(_read(got.body))

        with ThreadPoolExecutor(2) as both:
            return list(both.map(answer_of, (fake, real)))

    def _same(self, value: Any) -> Any:
        """*value* without what may differ, and with names in place of uuids."""
        if isinstance(value, dict):
            return {key: self._same(inner) for key, inner in value.items() if key not in DIFFERENT}
        if isinstance(value, list):
            return [self._same(inner) for inner in value]
        return self.names.get(value, value) if isinstance(value, str) else value


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    """A service of its own for each conversation: what was published stays."""
    service = Service(tmp_path)
    service.start()
    try:
        with testing.Cloud() as cloud:
            yield Both(cloud, service)
    finally:
        service.end()


def test_publishing_reading_and_following_are_alike(both: Both) -> None:
    both.ask(0, "GET", "")
    both.ask(0, "GET", "shared.json")
    both.ask(0, "GET", "peer_data.json")
    assert both.ask(0, "POST", "metadata?shared=project&meta.addr=10.0.0.11&meta.b=x%20y%2Bz")[0] == 200
    both.ask(0, "POST", "metadata?shared=project&meta.addr=10.0.0.11&meta.b=x%20y%2Bz")
    both.ask(1, "POST", "metadata?meta.secret=1")
    both.ask(1, "POST", "metadata?shared=project&meta.addr=10.0.0.12&meta.a=")
    both.ask(0, "POST", "metadata?shared=project&meta.c=3")
    for number in range(3):
        for path in ("shared.json", "meta_data.json", "peer_data.json", "peer_data.json?prefix=ad"):
            assert both.ask(number, "GET", path)[0] == 200
        for since in range(7):
            both.ask(number, "GET", f"peer_data.json?since={since}&wait=0&prefix=addr")
            both.ask(number, "GET", f"peer_data.json?since={since}")


@pytest.mark.parametrize(
    "call",
    [
        "POST metadata?shared=project&meta.a=2",
        "POST metadata?meta.a=1",
        "POST metadata?shared=project&meta.b=1&meta.a=2",
        "POST metadata",
        "POST metadata?shared=project",
        "POST metadata?shared=all&meta.a=1",
        "POST metadata?shared=project&shared=project&meta.a=1",
        "POST metadata?meta.x=1&meta.x=2",
        "POST metadata?meta.=1",
        "POST metadata?meta.a%2Fb=1",
        "POST metadata?metal=1",
        "POST metadata?meta.x=%00",
        f"POST metadata?meta.x={'x' * 256}",
        f"POST metadata?meta.{'x' * 244}=1",
        "GET peer_data.json?since=-1",
        "GET peer_data.json?since=99999999999999999999",
        "GET peer_data.json?prefix=a%2Fb",
        "GET peer_data.json?wait=x",
        "GET peer_data.json?since=1&since=1",
        "GET peer_data.json?x=1",
        "GET shared.json?x=1",
        "POST shared.json",
        "PUT metadata",
        "GET nothing.json",
    ],
)  # fmt: skip
def test_a_refusal_and_the_last_error_are_alike(service: Service, call: str) -> None:
    with testing.Cloud() as cloud:
        both = Both(cloud, service)
        both.ask(0, "POST", "metadata?shared=project&meta.a=1")
        method, _, path = call.partition(" ")
        status, _ = both.ask(0, method, path)
        assert status in (400, 404, 409)
        if status != 404:  # what is not there is not remembered
            both.ask(0, "GET", "peer_data/last_error.json")


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"{", b"\xff", b'{"meta":{}}', b'{"meta":[]}', b'{"meta":{"x":1}}', b'{"meta":{"x":"1"},"y":1}',
     b'{"meta":{"a":"1"}}'],
)  # fmt: skip
def test_a_body_is_parsed_alike(service: Service, body: bytes) -> None:
    with testing.Cloud() as cloud:
        both = Both(cloud, service)
        both.ask(0, "POST", "metadata?shared=project&meta.a=1")
        both.ask(0, "POST", "metadata?shared=project", body)


def test_an_answer_without_news_is_held_alike(tmp_path: Path) -> None:
    """Until another instance publishes a key, with the prefix if there is one, and no longer than was asked for."""
    service = Service(tmp_path, {"limits": {"max_wait": 5}})
    service.start()
    try:
        with testing.Cloud(max_wait_s=5) as cloud, ThreadPoolExecutor(1) as other:
            both = Both(cloud, service)
            began = time.monotonic()
            both.ask(0, "GET", "peer_data.json?wait=5")  # without since there is always news
            assert time.monotonic() - began < 2
            both.ask(0, "GET", "peer_data.json?since=0&wait=0.3")
            assert time.monotonic() - began > 0.3
            for number, wakes in ((1, "a"), (2, "b")):
                held = other.submit(
                    both.answers, 0, "GET", f"peer_data.json?since={number * 2 - 2}&wait=5&prefix={wakes}"
                )
                time.sleep(0.3)
                both.ask(1, "POST", f"metadata?shared=project&meta.x{number}=1")
                time.sleep(0.3)
                assert not held.done()
                began = time.monotonic()
                both.ask(1, "POST", f"metadata?shared=project&meta.{wakes}=1")
                answers = held.result()
                assert answers[0] == answers[1]
                assert f"from_server_{wakes}" in str(answers[0])
                assert time.monotonic() - began < 3
    finally:
        service.end()


def test_the_fake_releases_held_answers_when_an_instance_is_removed_and_at_its_end(tmp_path: Path) -> None:
    with testing.Cloud(max_wait_s=25) as cloud, ThreadPoolExecutor(1) as other:
        one, two = cloud.instance(), cloud.instance()
        Guest(two.url, state="").publish({"a": "1"})

        def wait(since: int) -> Any:
            asked = other.submit(
                wire.exchange,
                wire.parse_url(one.url),
                "GET",
                f"/openstack/latest/peer_data.json?since={since}&wait=25",
                30,
            )
            time.sleep(0.2)
            return asked

        asked = wait(1)
        two.remove()
        assert json.loads(asked.result(5).body)["removed"] == [two.uuid]
        asked = wait(2)
        cloud.__exit__(None, None, None)
        assert json.loads(asked.result(5).body)["peers"] == []


def test_each_instance_has_a_url_of_its_own_without_a_path() -> None:
    cloud = testing.Cloud()
    early = cloud.instance("early")
    with cloud:
        instances = [early, cloud.instance("one"), cloud.instance("two")]
        assert [Guest(instance.url, state="").whoami().uuid for instance in instances] == [it.uuid for it in instances]
        urls = [instance.url for instance in instances]
        assert len({cloud.url, *urls}) == 4
        assert all(url.count("/") == 2 for url in urls)
        assert [instance.requests for instance in instances] == [["GET /openstack/latest/meta_data.json"]] * 3
        assert len(cloud.requests) == 3
        early.remove()
        for url in (cloud.url, early.url):
            with pytest.raises(Refused) as caught:
                Guest(url, state="").whoami()
            assert caught.value.code == "peerdata.identity.unknown"


def test_too_many_keys_are_refused_alike(both: Both) -> None:
    for part in range(4):
        query = "&".join(f"meta.k{part}-{number}=" for number in range(32))
        assert both.ask(0, "POST", f"metadata?{query}")[0] == 200
    assert both.ask(0, "POST", "metadata?meta.more=")[0] == 403


def test_clusters_form_alike(both: Both) -> None:
    one = "cluster/db.json?size=2"
    conversation = [
        (0, "GET", "cluster/db.json"),
        (0, "POST", f"{one}&meta.db_addr=10.0.0.1"),
        (0, "POST", f"{one}&meta.db_addr=10.0.0.1"),
        (1, "POST", one),
        (1, "POST", "cluster/db.json?size=3"),
        (1, "POST", f"{one}&founders=all"),
        (1, "POST", f"{one}&closed=true"),
        (0, "POST", f"{one}&meta.db_addr=other"),
        (1, "POST", "cluster/db/formed?term=1"),
        (0, "POST", "cluster/db/formed?term=2"),
        (0, "POST", "cluster/db/formed?term=1"),
        (0, "POST", "cluster/db/formed?term=1"),
        (0, "POST", one),
        (1, "POST", f"{one}&meta.x=1"),
        (2, "POST", one),
        (2, "GET", "cluster/db.json"),
        *((number, "POST", "cluster/etcd.json?size=2&founders=all") for number in range(3)),
        (0, "POST", "cluster/etcd.json?size=2&founders=all"),
        (2, "POST", "cluster/etcd/formed?term=1"),
        (1, "POST", "cluster/etcd/formed?term=1"),
        *((number, "POST", "cluster/etcd.json?size=2&founders=all") for number in range(3)),
        *((number, "POST", "cluster/shut.json?size=2&founders=one&closed=true") for number in range(3)),
        (0, "POST", "cluster/shut/formed?term=1"),
        *((number, "POST", "cluster/shut.json?size=2&founders=one&closed=true") for number in range(3)),
        (3, "GET", "cluster/db.json"),
        (0, "POST", "cluster/db.json"),
        (0, "POST", "cluster/x.json?size=0"),
        (0, "POST", "cluster/x.json?size=1001"),
        (0, "POST", "cluster/x.json?size=1&founders=two"),
        (0, "POST", "cluster/x.json?size=1&closed=perhaps"),
        (0, "POST", "cluster/x.json?size=1&x=1"),
        (0, "POST", "cluster/x%20y.json?size=1"),
        (0, "POST", "cluster/x/formed"),
        (0, "POST", "cluster/x/formed?term=x"),
        (0, "GET", "cluster/x/formed?term=1"),
        (0, "GET", "peer_data.json"),
        (0, "GET", "peer_data/last_error.json"),
    ]
    for call in conversation:
        both.ask(*call)
