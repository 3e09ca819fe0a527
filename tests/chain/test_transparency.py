# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What is not ours: the same signed request straight to nova and through the service has the same answer, byte for byte.

Status, body, and every header but those of the connection itself. Nova is behind uWSGI, gunicorn and Apache in turn.
"""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import RemoteDisconnected

import pytest

from . import servers
from .cloud import Cloud, Tenants
from .guest import Answer
from .nova import CACHE_S
from .run import until
from .servers import Front, Upstream
from .service import Service
from .straight import ask

EC2 = [
    "/",
    "/latest",
    "/latest/",
    "/1.0/",
    "/2009-04-04/",
    "/ec2",
    "/ec2/latest/meta-data/hostname",
    "/latest/user-data",
    "/latest/meta-data",
    "/latest/meta-data/",
    *(
        f"/latest/meta-data/{item}"
        for item in (
            "ami-id",
            "ami-launch-index",
            "ami-manifest-path",
            "block-device-mapping/",
            "block-device-mapping/root",
            "hostname",
            "instance-action",
            "instance-id",
            "instance-type",
            "local-hostname",
            "local-ipv4",
            "placement/availability-zone",
            "public-hostname",
            "public-ipv4",
            "public-keys/",
            "public-keys/0/openssh-key",
            "reservation-id",
            "security-groups",
        )
    ),
]

OPENSTACK = [
    "/openstack",
    "/openstack/",
    *(
        f"/openstack/{version}/{name}"
        for version in ("latest", "2016-10-06", "2025-04-04")
        for name in ("user_data", "vendor_data.json", "vendor_data2.json", "network_data.json", "password")
    ),
    "/openstack/2012-08-10/user_data",
    "/openstack/2013-10-17/vendor_data.json",
]

UNKNOWN = [
    "/nothing",
    "/latest/nothing",
    "/latest/meta-data/nothing",
    "/1999-01-01/meta-data/",
    "/openstack/nothing",
    "/openstack/2012-08-10/password",
    "/openstack/2013-10-17/vendor_data2.json",
    "/openstack/1999-01-01",
    "/openstack/latest/nothing",
    "/openstack/latest/shared",
    "/openstack/latest/shared.json.bak",
    "/openstack/latest/shared.json/more",
    "/openstack/latest/meta_data.json/more",
    "/openstack/latest/metadata/more",
    "/openstack/latest/metadata",
    "/openstack/content/0000",
    "/openstack/latest/content/0000",
    "/shared.json",
    "/latest/shared.json",
    "/openstack/shared.json",
    "/metadata",
]

ODD = [
    "//",
    "///",
    "//latest/meta-data/",
    "//openstack/latest/user_data",
    "///openstack/latest/user_data",
    "/openstack//latest/user_data",
    "/openstack/latest//user_data",
    "/openstack/latest/user_data/",
    "/openstack/latest/user_data//",
    "/openstack/./latest/user_data",
    "/openstack/latest/../latest/user_data",
    "/openstack/../../openstack/latest/user_data",
    "/openstack/latest/..",
    "/../latest/meta-data/",
    "/openstack/latest/user%5fdata",
    "/%6Fpenstack/latest/user_data",
    "/openstack%2Flatest%2Fuser_data",
    "/openstack/latest/user_data%2F",
    "/openstack/latest/%2e%2e/latest/user_data",
    "/openstack/latest/user_data%zz",
    "/openstack/latest/user_data%",
    "/openstack/latest/user_data%00",
    "/openstack/latest/user_data%20",
    "/openstack/latest/user_data+",
    "/openstack/latest/%e2%82%ac",
    "/openstack/latest/user_data;x=1",
    "/openstack/latest/user_data?",
    "/openstack/latest/user_data?x=%e2&y=[1]&&=",
    "/openstack/latest/user_data?shared=project&meta.k=v",
    "/openstack/latest/user_data?x=a?b",
    "/openstack/latest/user_data%3Fx",
    "/openstack/latest/network_data.json?" + "x" * 3000,
]

METHODS = ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]

# Of the connection, or of the server that spoke last.
HOP = {"date", "server", "connection", "keep-alive", "transfer-encoding"}


def end_to_end(answer: Answer) -> tuple[int, bytes, Mapping[str, str]]:
    """What an answer is, without what belongs to the connection."""
    return answer.status, answer.body, {name: value for name, value in answer.headers.items() if name not in HOP}


def reads_something(url: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether there is anything at *path*."""
    return bool(ask(url, path, headers=headers).body)


class Both:
    """An instance that asks nova straight, and through the service."""

    def __init__(self, nova: Upstream, service: Service, headers: Mapping[str, str]) -> None:
        self.nova = nova.url
        self.service = service.url
        self.headers = headers

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Answer, Answer]:
        """Nova's answer, and the service's."""
        sent = self.headers if headers is None else headers
        straight, through = (
            ask(url, path, method=method, headers=sent, body=body) for url in (self.nova, self.service)
        )
        return straight, through

    def compare(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Nova's answer, which the service's must be too."""
        straight, through = self.ask(path, method, headers=headers)
        assert end_to_end(through) == end_to_end(straight)
        return straight


@dataclass(frozen=True)
class Pair:
    """A nova, and the service in front of it."""

    nova: Upstream
    service: Service


@pytest.fixture(scope="module")
def fronts(cloud: Cloud) -> Mapping[str, Front]:
    """Nova behind the other servers, which start while it is asked behind uWSGI."""
    if missing := cloud.peers.missing(servers.NEEDED):
        pytest.skip(f"not built: {', '.join(missing)}; `python -m tests.chain.peers {' '.join(missing)}` builds them")
    return {name: servers.start(name, cloud.run, cloud.peers, cloud.nova) for name in servers.NEEDED}


@pytest.fixture(scope="module", params=["uwsgi", *servers.NEEDED])
def pair(request: pytest.FixtureRequest, cloud: Cloud, started_service: Service, fronts: Mapping[str, Front]) -> Pair:
    """One server after the other, each with a service of its own in front of it."""
    if request.param == "uwsgi":
        return Pair(cloud.nova, started_service)
    front = fronts[request.param]
    servers.wait(front)
    service = Service(cloud.run, front, f"peerdata-{front.name}")
    service.start()
    return Pair(front, service)


@pytest.fixture
def both(cloud: Cloud, pair: Pair, residents: Tenants) -> Both:
    """An instance that has published a key, so that the service has something of it to mix in where it must not."""
    both = Both(pair.nova, pair.service, cloud.nova.headers(residents.a_old[0].instance))
    publish = "/openstack/latest/metadata?shared=project&meta.k=v"
    assert ask(both.service, publish, method="POST", headers=both.headers).status == 200
    return both


@pytest.mark.parametrize("path", [*EC2, *OPENSTACK])
def test_nova_s_documents_come_through_as_they_are(both: Both, path: str) -> None:
    assert both.compare(path).status == 200


@pytest.mark.parametrize("path", UNKNOWN)
def test_what_is_unknown_is_nova_s_to_refuse(both: Both, path: str) -> None:
    assert both.compare(path).status == 404


@pytest.mark.parametrize("path", ODD)
def test_an_odd_spelling_means_what_it_means_to_nova(both: Both, path: str) -> None:
    both.compare(path)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/", "/latest/meta-data/hostname", "/openstack", "/openstack/latest/user_data"])
def test_any_method_comes_through(both: Both, path: str, method: str) -> None:
    both.compare(path, method)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS"])
def test_the_password_refuses_other_methods_as_nova_does(both: Both, method: str) -> None:
    both.compare("/openstack/latest/password", method)


@pytest.mark.parametrize("path", ["/openstack/latest/user_data", "/latest/meta-data/hostname", "/openstack/latest"])
@pytest.mark.parametrize("change", [{"X-Instance-ID-Signature": "0" * 64}, {"X-Tenant-ID": "0" * 32}], ids=str)
def test_nova_refuses_a_wrong_identity_itself(both: Both, path: str, change: Mapping[str, str]) -> None:
    assert both.compare(path, headers={**both.headers, **change}).status in (403, 404)


@pytest.mark.parametrize("version", ["latest", "2013-04-04", "2015-10-15", "2025-04-04"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nova_refuses_the_metadata_of_another_project_itself(both: Both, version: str, method: str) -> None:
    """The signature fits, so it is nova that is asked: for the document, and with that for who it is."""
    headers = {**both.headers, "X-Tenant-ID": "0" * 32}

    assert both.compare(f"/openstack/{version}/meta_data.json", method, headers=headers).status == 404


@pytest.mark.parametrize("name", ["X-Instance-ID", "X-Tenant-ID", "X-Instance-ID-Signature"])
def test_nova_refuses_a_missing_identity_itself(both: Both, name: str) -> None:
    headers = {key: value for key, value in both.headers.items() if key != name}

    assert both.compare("/openstack/latest/user_data", headers=headers).status == 400


def test_a_password_is_posted_once_and_read_back(cloud: Cloud, service: Service, tenants: Tenants) -> None:
    """One instance posts straight to nova, its neighbour through the service; every answer is the same."""
    path = "/openstack/latest/password"
    cloud.rest()
    straight, through = (Both(cloud.nova, service, cloud.nova.headers(guest.instance)) for guest in tenants.a_old[:2])

    def same(method: str, body: bytes | None = None) -> Answer:
        of_nova = ask(straight.nova, path, method=method, headers=straight.headers, body=body)
        ours = ask(through.service, path, method=method, headers=through.headers, body=body)
        assert end_to_end(ours) == end_to_end(of_nova)
        return of_nova

    assert same("GET").body == b""
    assert same("POST", b"p" * 1100).status == 400
    assert same("POST", b"c2VjcmV0").status == 200
    for both in (straight, through):
        until("nova forgets its cache", partial(reads_something, both.nova, path, both.headers), within_s=CACHE_S + 5)
    assert same("GET").body == b"c2VjcmV0"
    assert same("POST", b"another").status == 409


def test_where_nova_closes_the_connection_there_is_a_502(both: Both) -> None:
    """A path that is not UTF-8 ends nova's request without an answer under uWSGI, and with a 500 elsewhere."""
    path = "/openstack/latest/%ff"
    try:
        expected = ask(both.nova, path, headers=both.headers).status
    except RemoteDisconnected:
        expected = 502

    assert expected >= 500
    assert ask(both.service, path, headers=both.headers).status == expected


@pytest.mark.parametrize("version", ["latest", "2012-08-10", "2013-04-04", "2025-04-04"])
@pytest.mark.parametrize("spelling", ["meta_data.json", "meta_data.json/", "/meta_data.json", "meta%5fdata.json?x=1"])
def test_the_metadata_document_without_keys_of_ours_is_nova_s(
    cloud: Cloud, pair: Pair, residents: Tenants, version: str, spelling: str
) -> None:
    both = Both(pair.nova, pair.service, cloud.nova.headers(residents.b_new[1].instance))
    straight, through = both.ask(f"/openstack/{version}/{spelling}")
    seeds = [answer.json.get("random_seed", "") for answer in (straight, through)]

    assert through.status == straight.status == 200
    assert through.body.replace(seeds[1].encode(), seeds[0].encode()) == straight.body
    assert through.headers["content-type"] == straight.headers["content-type"]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_in_the_metadata_document_only_our_keys_are_added(both: Both, method: str) -> None:
    straight, through = both.ask("/openstack/latest/meta_data.json", method)
    expected = straight.json
    expected["meta"]["from_server_k"] = "v"

    assert {**through.json, "random_seed": ""} == {**expected, "random_seed": ""}
    assert list(json.loads(through.body)) == list(expected)


def test_many_at_once_are_all_answered_as_nova_answers_them(both: Both) -> None:
    """Nova under uWSGI closes each connection after its answer, under Apache after a hundred: nobody may suffer."""
    path = "/openstack/latest/meta_data.json"

    def statuses(url: str) -> set[int]:
        with ThreadPoolExecutor(16) as pool:
            return set(pool.map(lambda _: ask(url, path, headers=both.headers).status, range(400)))

    assert statuses(both.nova) == {200}
    assert statuses(both.service) == {200}


def test_a_connection_that_nova_closed_while_it_was_unused_harms_nobody(both: Both) -> None:
    """Gunicorn closes an unused one after 2 s, just as the next call may use it."""
    path = "/latest/meta-data/hostname"
    for pause_s in (0.0, 1.9, 2.0, 2.1):
        time.sleep(pause_s)
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda _: ask(both.service, path, headers=both.headers).status, range(8))
            assert set(answers) == {200}


def test_user_data_reaches_the_guest_as_from_nova(cloud: Cloud, service: Service, residents: Tenants) -> None:
    for guest in (residents.a_old[0], residents.a_new[0]):
        cloud.send_to(service.url)
        through = guest.get("/openstack/latest/user_data")
        cloud.send_to(cloud.nova.url)
        assert end_to_end(guest.get("/openstack/latest/user_data")) == end_to_end(through)
