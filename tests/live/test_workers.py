"""Several processes in one unit: `[instance_api] workers`."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import MakeService
from .service import BLUE, Service, free_port

WORKERS = 3


@pytest.fixture
def service(make_service: MakeService) -> Service:
    """A service of three workers that lets instances wait."""
    service = make_service(
        {
            "instance_api": {"workers": WORKERS, "drain": 0},
            "operator_api": {"listen": f"127.0.0.1:{free_port()}"},
            "limits": {"max_wait": 20},
        },
        start=False,
    )
    service.start()
    until(lambda: len(ready(service)) == WORKERS)
    return service


def until(true: Callable[[], object]) -> None:
    """Wait until it is."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ready(service: Service) -> list[int]:
    """The process ids of all workers that became ready, in that order."""
    return [int(pid) for pid in re.findall(r"(\d+) INFO peerdata.serving .* is ready", service.log.read_text())]


def metrics(service: Service) -> dict[str, float]:
    """What /metrics tells, by name and labels."""
    address = re.search(r"listen = (127\.0\.0\.1:\d+)\n", service.config_file.read_text().split("[operator_api]")[1])
    assert address
    with urllib.request.urlopen(f"http://{address[1]}/metrics") as response:
        lines = response.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]


def test_a_200_of_one_worker_is_in_every_later_answer_of_the_others(service: Service) -> None:
    """G3, each call on a connection of its own, which any worker may accept."""
    addresses = list(BLUE)
    with ThreadPoolExecutor(len(addresses)) as guests:
        for number in range(15):
            list(guests.map(lambda address, key=number: service.publish(address, **{f"k{key}": "v"}), addresses))
            for seen in guests.map(lambda _: service.shared(), range(8)):
                assert all(f"from_server_k{number}" in seen[uuid] for uuid in BLUE.values())


def test_of_many_who_want_the_same_key_at_once_one_wins(service: Service) -> None:
    """G1, through whatever worker."""

    def publish(key: int, value: int) -> int:
        return service.publish("127.0.0.11", **{f"k{key}": str(value)}).status

    with ThreadPoolExecutor(8) as guests:
        for key in range(10):
            assert sorted(guests.map(publish, [key] * 8, range(8))) == [200, *[409] * 7]


def test_a_change_through_one_worker_wakes_who_waits_at_the_others(service: Service) -> None:
    with ThreadPoolExecutor(12) as guests:
        calls = [guests.submit(service.ask, "127.0.0.11", "GET", "peer_data.json?since=0&wait=20") for _ in range(12)]
        time.sleep(0.5)
        began = time.monotonic()
        assert service.publish("127.0.0.12", a="1").status == 200
        assert all(len(call.result().json["peers"]) == 1 for call in calls)
    assert time.monotonic() - began < 10


def test_a_worker_that_is_killed_is_started_again_and_the_others_go_on(service: Service) -> None:
    assert service.publish("127.0.0.11", a="1").status == 200
    (killed, *others) = ready(service)
    os.kill(killed, signal.SIGKILL)
    until(lambda: not is_alive(killed))
    assert all(map(is_alive, others))
    assert len(service.shared()) == 1
    until(lambda: len(ready(service)) == WORKERS + 1)


def test_workers_tell_of_what_they_share_once_and_not_once_each(service: Service) -> None:
    assert service.ask("127.0.0.11", "POST", "cluster/db.json?size=3").status == 200
    for _ in range(12):  # whichever of them answers
        told = metrics(service)
        (build,) = [value for name, value in told.items() if name.startswith("peerdata_build_info{")]
        assert build == 1
        assert told['peerdata_clusters{state="forming"}'] == 1
        assert told['peerdata_clusters{state="formed"}'] == 0
    assert told['peerdata_store_seconds_count{kind="write"}'] >= 1
    assert not [name for name in told if "_created" in name]


def test_a_worker_that_was_started_again_goes_on_counting_where_the_one_before_ended(service: Service) -> None:
    for number in range(30):
        service.publish("127.0.0.11", **{f"k{number}": "v"})
    counted = 'peerdata_requests_total{call="metadata",status="200"}'
    assert metrics(service)[counted] == 30
    assert metrics(service)["peerdata_published_keys_total"] == 30
    for pid in ready(service):
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(ready(service)) == 2 * WORKERS)
    service.publish("127.0.0.11", last="v")
    assert metrics(service)[counted] == 31


def test_open_connections_and_their_limit_are_those_of_all_workers(service: Service) -> None:
    open_now = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(20)]
    until(lambda: metrics(service)['peerdata_connections{listener="instances"}'] == len(open_now))
    assert metrics(service)['peerdata_max_connections{listener="instances"}'] == 4096 * WORKERS
    for connection in open_now:
        connection.close()


def test_sighup_reaches_every_worker(service: Service) -> None:
    service.signal(signal.SIGHUP)
    until(lambda: service.log.read_text().count("The inventory was read again") == WORKERS)


def test_sigterm_ends_all_of_them_and_who_waits_is_answered(service: Service) -> None:
    with ThreadPoolExecutor(4) as guests:
        calls = [guests.submit(service.ask, "127.0.0.11", "GET", "peer_data.json?since=0&wait=20") for _ in range(4)]
        time.sleep(0.5)
        service.signal(signal.SIGTERM)
        assert [call.result().status for call in calls] == [200] * 4
    assert service.wait() == 0
    assert not any(map(is_alive, ready(service)))
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", service.port))


def test_workers_do_not_outlive_the_first_process(service: Service) -> None:
    service.kill()
    until(lambda: not any(map(is_alive, ready(service))))


def test_what_workers_counted_in_is_removed_once_nobody_counts_there(make_service: MakeService, tmp_path: Path) -> None:
    """By the end of the service; or, where a kill -9 left it, by the next start, which leaves alone what is in use."""

    def counting() -> set[Path]:
        return set(temporary.glob("peerdata-metrics-*"))

    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (temporary / "peerdata-metrics-strange").mkdir()  # nobody knows whose
    (strange,) = counting()
    one, two, three = services = [make_service({"instance_api": {"workers": 2}}, start=False) for _ in range(3)]
    for service in services:
        service.environment["TMPDIR"] = str(temporary)
    one.start()
    (left,) = counting() - {strange}
    two.start()
    (used,) = counting() - {strange, left}
    assert list(used.glob("*.db"))
    one.kill()
    until(lambda: not any(map(is_alive, ready(one))))
    assert counting() == {strange, left, used}
    three.start()
    (new,) = counting() - {strange, used}
    assert new != left
    assert list(used.glob("*.db"))
    for service in (two, three):
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    assert counting() == {strange}


@pytest.mark.parametrize("sections", [{"identity": {"inventory_file": "bad.yaml"}}, {"instance_api": {"workers": 0}}])
def test_what_cannot_work_ends_the_start_and_is_not_tried_again(
    make_service: MakeService, tmp_path: Path, sections: dict[str, dict[str, object]]
) -> None:
    (tmp_path / "bad.yaml").write_text("instances: [{uuid: no}]")
    told = {section: dict(options) for section, options in sections.items()}
    if "identity" in told:
        told["identity"]["inventory_file"] = tmp_path / "bad.yaml"
    ended = make_service({"instance_api": {"workers": 2}} | told, start=False).run("serve")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
