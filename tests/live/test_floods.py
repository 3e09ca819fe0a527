# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Clients that hold what they can: the process goes on for operators and for everybody else."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from .conftest import MakeService
from .service import BLUE, Service, free_port

FILES = 300
"""Descriptors of the process, in the test that takes them all."""


@contextmanager
def held(service: Service, number: int, data: bytes = b"") -> Iterator[list[socket.socket]]:
    """That many connections, from all addresses of a project in turn, each with *data* sent and nothing read."""
    made: list[socket.socket] = []
    try:
        for index in range(number):
            guest = socket.socket()
            guest.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            guest.bind((list(BLUE)[index % len(BLUE)], 0))
            guest.settimeout(10)
            guest.connect(("127.0.0.1", service.port))
            made.append(guest)
            guest.sendall(data)
        yield made
    finally:
        for guest in made:
            guest.close()


class Operator:
    """Asks on the operators' listener, on a new connection each time."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.M)
        return float(found[1]) if found else 0

    def rejected(self, reason: str) -> float:
        return self.metric(f'peerdata_turned_away_total{{listener="instances",reason="{reason}"}}')


def until(true: Callable[[], object]) -> None:
    """Wait until it is."""
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def operator() -> Operator:
    """Of the service that is made with `settings`."""
    return Operator(free_port())


def settings(operator: Operator, **api: object) -> dict[str, dict[str, object]]:
    return {"instance_api": api, "operator_api": {"listen": f"127.0.0.1:{operator._port}"}}


def test_however_many_connect_operators_and_the_store_have_descriptors(
    make_service: MakeService, operator: Operator
) -> None:
    """With far too few for max_connections, which is lowered. The first write is made under the flood."""
    service = make_service(settings(operator), start=False)
    limited = ["sh", "-c", f'ulimit -n {FILES} && exec "$@"', "sh", *service.command("serve")]
    with service.log.open("ab") as log:
        service.process = subprocess.Popen(limited, stdout=log, stderr=log)
    until(lambda: "is ready" in service.log.read_text())
    with held(service, 1, b"") as (one,):
        with held(service, 2 * FILES):
            for _ in range(5):
                assert operator.get("/readyz")[0] == 200
            one.sendall(b"POST /openstack/latest/metadata?shared=project&meta.a=1 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert one.recv(65536).startswith(b"HTTP/1.1 200")
            until(lambda: operator.metric('peerdata_connections{listener="instances"}') > 50)
            limit = operator.metric('peerdata_max_connections{listener="instances"}')
            assert operator.metric('peerdata_connections{listener="instances"}') <= limit + 64 < FILES
            assert operator.rejected("max_connections") + operator.rejected("dropped") >= FILES
        until(lambda: service.publish("127.0.0.12", b="1").status == 200)
    assert "Too many open files" not in service.log.read_text()


def test_an_address_that_takes_all_connections_it_gets_leaves_some_for_others(
    make_service: MakeService, operator: Operator
) -> None:
    service = make_service(settings(operator, max_connections=50, max_connections_per_address=20))
    flood = [socket.create_connection(("127.0.0.1", service.port), source_address=("127.0.0.11", 0)) for _ in range(60)]
    until(lambda: operator.rejected("address") == 40)
    assert service.publish("127.0.0.12", a="1").status == 200
    for guest in flood:
        guest.close()


def test_requests_that_are_never_whole_are_bounded_together(make_service: MakeService, operator: Operator) -> None:
    service = make_service(settings(operator, max_incoming_bytes=4 * 1024 * 1024))
    part = b"POST /openstack/latest/metadata HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"x" * 59_000
    with held(service, 200, part):
        until(lambda: operator.rejected("incoming_bytes") > 100)
        until(lambda: 0 < operator.metric('peerdata_incoming_bytes{listener="instances"}') <= 4 * 1024 * 1024)
        assert service.publish("127.0.0.12", a="1").status == 200


def test_lists_that_a_project_does_not_read_are_bounded_for_it_and_others_read_theirs(
    make_service: MakeService, operator: Operator
) -> None:
    service = make_service(settings(operator, max_unwritten_bytes_per_project=4 * 1024 * 1024))
    for address in list(BLUE)[:8]:
        keys = {f"k{number}": "v" * 250 for number in range(120)}
        for half in (list(keys.items())[:60], list(keys.items())[60:]):
            assert service.publish(address, **dict(half)).status == 200
    # The kernel takes the first ones, up to 4 MB for each connection; then one answer waits in the process. The answer
    # to a prefix is each reader's own; a full list is one text for all, and counts once.
    with held(service, 30, b"GET /openstack/latest/peer_data.json?prefix=k HTTP/1.1\r\nHost: a\r\n\r\n" * 20):
        until(lambda: operator.rejected("unwritten_bytes") > 5)
        until(lambda: operator.metric('peerdata_unwritten_bytes{listener="instances"}') <= 4 * 1024 * 1024)
        assert len(service.ask("127.0.0.11", "GET", "peer_data.json").json["peers"]) == 8
        assert service.ask("127.0.0.21", "GET", "peer_data.json").status == 200
