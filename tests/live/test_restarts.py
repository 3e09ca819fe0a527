# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Nobody loses a request because a server is restarted: two behind haproxy under load, and one by itself.

Haproxy has the timeouts and checks that kolla-ansible gives it (roles/loadbalancer, haproxy_main.cfg.j2, and
``haproxy_health_check``), without ``retry-on``. Checks and drain are six times as fast here; with the real times, in
four minutes: ``PEERDATA_RESTARTS=real python -m pytest tests/live/test_restarts.py -k haproxy -s``.
"""

from __future__ import annotations

import http.client
import http.server
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chain.peers import Peers

from .conftest import MakeService
from .service import BLUE, Service, free_port

SLOWER = 6 if os.environ.get("PEERDATA_RESTARTS") == "real" else 1
CHECK_MS = 2000 * SLOWER // 6
DRAIN_S = 2 * SLOWER
RESTARTS = 6
NUMBER = 50
"""Of requests just before the end."""

GET = b"GET /openstack/latest/shared.json HTTP/1.1\r\nHost: a\r\n\r\n"

HAPROXY = """
global
    maxconn 4000
    stats socket {directory}/stats mode 600

defaults
    option redispatch
    retries 3
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout queue 1m
    timeout connect 10s
    timeout client 1m
    timeout server 1m
    timeout check 10s
    balance roundrobin
    maxconn 2000

frontend nova_metadata_front
    mode http
    option forwardfor
    bind 127.0.0.1:{port}
    default_backend nova_metadata_back

backend nova_metadata_back
    mode http
    option httpchk GET /healthcheck
{servers}
"""


class Haproxy:
    """A balancer in front of *services*."""

    def __init__(self, directory: Path, services: list[Service]) -> None:
        self.port = free_port()
        self._stats = directory / "stats"
        servers = "\n".join(
            f"    server s{number} 127.0.0.1:{service.port} check inter {CHECK_MS} rise 2 fall 5"
            for number, service in enumerate(services)
        )
        file = directory / "haproxy.cfg"
        file.write_text(HAPROXY.format(directory=directory, port=self.port, servers=servers))
        peers = Peers.default()
        with (directory / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [peers.tool("haproxy"), "-db", "-f", str(file)],
                env=os.environ | peers.environment(),
                stdout=log,
                stderr=log,
            )

    def states(self) -> list[str]:
        """``UP`` or ``DOWN``, of each server, as its checks have it."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self._stats))
            asking.sendall(b"show stat\n")
            text = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
        rows = [line.split(",") for line in text.splitlines() if re.match(r"nova_metadata_back,s\d", line)]
        return [row[17] for row in rows]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def until(true: Callable[[], object], within_s: float = 60) -> None:
    """Wait until it is."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Load:
    """Guests that ask without a pause through *port*, some on kept connections and some on new ones."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.lost: list[str] = []
        self.done: Counter[str] = Counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(12) as guests:
            calls = [
                guests.submit(self._ask, source, keep=number % 2 == 0, writes=number % 3 == 0)
                for number, source in enumerate(list(BLUE)[:6] * 2)
            ]
            try:
                yield
            finally:
                self._stop.set()
            for call in calls:
                call.result()

    def _ask(self, source: str, *, keep: bool, writes: bool) -> None:
        kind = "kept" if keep else "new"
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(0.01):
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30, source_address=(source, 0))
            path = f"metadata?shared=project&meta.k={source}" if writes else "shared.json"
            try:
                connection.request("POST" if writes else "GET", f"/openstack/latest/{path}")
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.lost.append(f"{kind}: {response.status}")
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"{kind}: {error!r}")
                connection = None
            self.done[kind] += 1
            if connection is not None and not keep:
                connection.close()
                connection = None


@pytest.mark.parametrize("workers", [1, 2])
def test_two_servers_behind_haproxy_are_restarted_under_load_and_no_request_is_lost(
    make_service: MakeService, tmp_path: Path, workers: int
) -> None:
    if Peers.default().missing(["debian"]):
        pytest.skip("not built: debian; `python -m tests.chain.peers debian` builds it")
    sections = {
        "instance_api": {"drain": DRAIN_S, "healthcheck_path": "/healthcheck", "workers": workers},
        "identity": {"trusted_proxies": "127.0.0.1"},
    }
    services = [make_service(sections) for _ in range(2)]
    haproxy = Haproxy(tmp_path, services)
    try:
        until(lambda: haproxy._stats.exists() and haproxy.states() == ["UP", "UP"])
        load = Load(haproxy.port)
        with load.running():
            for number in range(RESTARTS):
                service = services[number % 2]
                service.signal(signal.SIGTERM)
                assert service.wait(DRAIN_S + 30) == 0
                service.start()
                until(lambda: haproxy.states() == ["UP", "UP"])
    finally:
        haproxy.end()
    print(f"{workers} workers: {len(load.lost)} of {dict(load.done)} lost", load.lost[:5])
    assert load.lost == []
    assert min(load.done.values()) > 100


@pytest.fixture(params=[1, 2], ids=["1 worker", "2 workers"])
def service(make_service: MakeService, request: pytest.FixtureRequest) -> Service:
    """A service that does not drain, with one or two workers, all ready."""
    service = make_service({"instance_api": {"workers": request.param}})
    until(lambda: len(processes(service)) == request.param)
    return service


def processes(service: Service) -> set[int]:
    """Those that answer."""
    return {int(pid) for pid in re.findall(r"(\d+) INFO peerdata.serving .* is ready", service.log.read_text())}


@contextmanager
def connections(service: Service) -> Iterator[list[socket.socket]]:
    """Of `NUMBER` guests."""
    made: list[socket.socket] = []
    try:
        made += [
            socket.create_connection(("127.0.0.1", service.port), 10, source_address=("127.0.0.11", 0))
            for _ in range(NUMBER)
        ]
        yield made
    finally:
        for connection in made:
            connection.close()


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_requests_that_were_sent_just_before_sigterm_are_answered(service: Service) -> None:
    with connections(service) as guests:
        for guest in guests:
            guest.sendall(GET)
        service.signal(signal.SIGTERM)
        assert [answer(guest)[:12] for guest in guests] == [b"HTTP/1.1 200"] * NUMBER
    assert service.wait() == 0


def test_requests_that_were_sent_on_kept_connections_just_before_sigterm_are_answered(service: Service) -> None:
    with connections(service) as guests:
        for guest in guests:
            guest.sendall(GET)
        for guest in guests:
            assert guest.recv(65536).startswith(b"HTTP/1.1 200")
        for guest in guests:
            guest.sendall(GET)
        service.signal(signal.SIGTERM)
        assert [answer(guest)[:12] for guest in guests] == [b"HTTP/1.1 200"] * NUMBER
    assert service.wait() == 0


def test_connections_that_wait_in_the_listen_queue_at_sigterm_are_answered(service: Service) -> None:
    """Sent first, and sent only once the listener is closed."""
    assert service.process
    stopped = processes(service) | {service.process.pid}
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    with connections(service) as guests:
        for guest in guests[: NUMBER // 2]:
            guest.sendall(GET)
        service.signal(signal.SIGTERM)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)
        for guest in guests[NUMBER // 2 :]:
            guest.sendall(GET)
        assert [answer(guest)[:12] for guest in guests] == [b"HTTP/1.1 200"] * NUMBER
    assert service.wait() == 0


def test_while_it_drains_checks_fail_and_everybody_is_answered_for_the_last_time(make_service: MakeService) -> None:
    operator = free_port()
    sections = {
        "instance_api": {"drain": 2, "healthcheck_path": "/healthcheck"},
        "operator_api": {"listen": f"127.0.0.1:{operator}"},
    }
    service = make_service(sections)

    def status(port: int, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        return connection.getresponse().status

    checks = [(service.port, "/healthcheck"), (operator, "/healthz"), (operator, "/readyz")]
    assert [status(*check) for check in checks] == [200] * 3
    kept = service.connect()
    kept.request("GET", "/openstack/latest/shared.json")
    kept.getresponse().read()
    began = time.monotonic()
    service.signal(signal.SIGTERM)
    until(lambda: status(*checks[0]) == 503)
    assert [status(*check) for check in checks] == [503] * 3
    new = service.connect()
    for connection in (kept, new):
        connection.request("GET", "/openstack/latest/shared.json")
        response = connection.getresponse()
        assert (response.status, response.headers["connection"]) == (200, "close")
    assert service.wait() == 0
    assert time.monotonic() - began >= 2


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_is_not_waited_with(make_service: MakeService, workers: int, second: signal.Signals) -> None:
    """Neither for balancers nor for a request that does not end."""
    service = make_service({"instance_api": {"drain": 60, "workers": workers}}, start=False)
    service.start()
    until(lambda: len(processes(service)) == workers)
    with socket.create_connection(("127.0.0.1", service.port), source_address=("127.0.0.11", 0)) as guest:
        guest.sendall(b"POST /openstack/latest/metadata HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        service.signal(signal.SIGTERM)
        time.sleep(1)
        assert service.process
        assert service.process.poll() is None
        service.signal(second)
        assert service.wait(8) == 0


def test_a_terminals_ctrl_c_is_not_waited_with(make_service: MakeService) -> None:
    service = make_service({"instance_api": {"drain": 60}})
    service.signal(signal.SIGINT)
    assert service.wait(8) == 0


def test_the_option_that_drain_replaced_is_warned_of_and_does_not_keep_the_service_from_starting(
    make_service: MakeService,
) -> None:
    service = make_service({"instance_api": {"graceful_shutdown_timeout": 5}})
    warned = [line for line in service.log.read_text().splitlines() if "graceful_shutdown_timeout" in line]
    assert any(" WARNING " in line and "[nova] pass_through_timeout" in line for line in warned), warned


def test_what_nova_is_at_work_on_at_sigterm_is_answered(make_service: MakeService) -> None:
    """Longer than the service itself waits for anything; as dynamic vendordata takes."""
    with slow_nova(3) as url:
        sections = {
            "nova": {"metadata_url": url},
            "neutron": {"metadata_proxy_shared_secret": "secret"},
            "identity": {"inventory_file": ""},
        }
        service = make_service(sections)
        with socket.create_connection(("127.0.0.1", service.port), 10) as guest:
            guest.sendall(b"GET /openstack/latest/vendor_data2.json HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.5)
            service.signal(signal.SIGTERM)
            answered = answer(guest)
        assert answered.startswith(b"HTTP/1.1 200")
        assert answered.endswith(b"done")
        assert service.wait() == 0


@contextmanager
def slow_nova(seconds: float) -> Iterator[str]:
    """Something that answers every GET after *seconds*; its URL."""

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(seconds)
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"done")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
