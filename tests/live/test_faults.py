"""What a crash, a full disk, a lock and a second process do to what was promised."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import MakeService
from .service import BLUE, Service


def test_what_was_answered_200_survives_kill_9(make_service: MakeService) -> None:
    """Several instances publish pairs of keys without pause while the service is killed, three times."""
    service = make_service()
    answered: list[tuple[str, str]] = []
    stop = threading.Event()

    def publish_for_ever(source: str) -> None:
        number = 0
        while not stop.is_set() and number < 60:
            key = f"k{number}"
            try:
                reply = service.publish(source, **{f"{key}a": "1", f"{key}b": "2"})
            except OSError:
                continue  # an answer that was lost: the same call again
            assert reply.status == 200, reply
            answered.append((BLUE[source], key))
            number += 1
            time.sleep(0.005)

    threads = [threading.Thread(target=publish_for_ever, args=(source,)) for source in list(BLUE)[:4]]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = len(answered)
            while len(answered) < before + 20 and any(thread.is_alive() for thread in threads):
                time.sleep(0.01)
            service.kill()
            service.start()
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    shared = service.shared()
    assert len(answered) > 60
    for uuid, key in answered:
        assert {f"from_server_{key}a", f"from_server_{key}b"} <= set(shared[uuid]), "an answered call was lost"
    for meta in shared.values():
        halves = Counter(name[:-1] for name in meta)
        assert set(halves.values()) == {2}, "half of a call was stored"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Leave not a byte of *place*."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break
    return filler


def test_a_full_disk_refuses_with_503_and_is_forgotten_once_there_is_room(
    make_service: MakeService, small_disk: Path
) -> None:
    service = make_service({"DEFAULT": {"state_path": small_disk}})
    assert service.publish("127.0.0.11", before="1").status == 200
    filler = fill(small_disk)
    refused = {}
    for number in range(40):  # the store may still have a little room of its own
        reply = service.publish("127.0.0.12", **{f"during{number}": "x" * 250})
        if reply.status != 200:
            refused[f"from_server_during{number}"] = reply
    assert refused
    assert {(reply.status, reply.json["error"]["code"]) for reply in refused.values()} == {
        (503, "peerdata.store.unavailable")
    }
    shared = service.shared("127.0.0.13")
    assert shared[BLUE["127.0.0.11"]] == {"from_server_before": "1"}
    assert not set(refused) & set(shared.get(BLUE["127.0.0.12"], {}))
    filler.unlink()
    assert service.publish("127.0.0.12", after="1").status == 200
    assert service.shared()[BLUE["127.0.0.12"]]["from_server_after"] == "1"


def test_a_locked_store_refuses_with_503_serves_readers_and_recovers(make_service: MakeService) -> None:
    service = make_service({"database": {"busy_timeout": 0.3}})
    assert service.publish("127.0.0.11", before="1").status == 200
    somebody = sqlite3.connect(service.directory / "state" / "peerdata.sqlite", isolation_level=None)
    somebody.execute("BEGIN IMMEDIATE")
    reply = service.publish("127.0.0.11", during="1")
    assert (reply.status, reply.json["error"]["code"]) == (503, "peerdata.store.unavailable")
    assert service.shared("127.0.0.12") == {BLUE["127.0.0.11"]: {"from_server_before": "1"}}
    somebody.execute("ROLLBACK")
    somebody.close()
    assert service.publish("127.0.0.11", after="1").status == 200
    assert set(service.shared()[BLUE["127.0.0.11"]]) == {"from_server_before", "from_server_after"}


def test_a_store_that_is_no_database_is_a_503_with_the_reason_in_the_log(make_service: MakeService) -> None:
    """In front of nova, ending would take nova's part away too, for a file that the operator can put right."""
    service = make_service(start=False)
    (service.directory / "state").mkdir()
    (service.directory / "state" / "peerdata.sqlite").write_bytes(b"\xff" * 4096)
    service.start()
    reply = service.ask("127.0.0.11", "GET", "shared.json")
    assert (reply.status, reply.json["error"]["code"]) == (503, "peerdata.store.unavailable")
    assert "file is not a database" in service.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_that_is_locked_at_the_start_is_waited_for(make_service: MakeService, workers: int) -> None:
    service = make_service({"database": {"busy_timeout": 0.2}, "instance_api": {"workers": workers}}, start=False)
    (service.directory / "state").mkdir()
    somebody = sqlite3.connect(service.directory / "state" / "peerdata.sqlite", isolation_level=None)
    somebody.execute("PRAGMA journal_mode = WAL")
    somebody.execute("BEGIN IMMEDIATE")
    service.start()
    reply = service.publish("127.0.0.11", during="1")
    assert (reply.status, reply.json["error"]["code"]) == (503, "peerdata.store.unavailable")
    somebody.execute("ROLLBACK")
    somebody.close()
    deadline = time.monotonic() + 20
    while service.log.read_text().count("is used from now on") < workers:
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.05)
    assert service.publish("127.0.0.11", after="1").status == 200
    assert service.shared() == {BLUE["127.0.0.11"]: {"from_server_after": "1"}}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_that_cannot_be_made_at_the_start_is_waited_for(
    make_service: MakeService, small_disk: Path, workers: int
) -> None:
    """Its disk is mounted read-only, say, after a fault: the log promises that the service goes on."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    service = make_service({"DEFAULT": {"state_path": small_disk}, "instance_api": {"workers": workers}}, start=False)
    service.start()
    reply = service.publish("127.0.0.11", during="1")
    assert (reply.status, reply.json["error"]["code"]) == (503, "peerdata.store.unavailable")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    deadline = time.monotonic() + 20
    while service.log.read_text().count("is used from now on") < workers:
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.05)
    assert service.publish("127.0.0.11", after="1").status == 200


def test_a_store_that_breaks_while_it_is_used_is_a_503_never_an_empty_list(make_service: MakeService) -> None:
    service = make_service()
    assert service.publish("127.0.0.11", key="1").status == 200
    with (service.directory / "state" / "peerdata.sqlite-wal").open("r+b") as wal:
        wal.truncate(0)
    with (service.directory / "state" / "peerdata.sqlite").open("r+b") as file:
        file.write(b"\xff" * 65536)
    replies = [service.ask("127.0.0.12", "GET", path) for path in ("shared.json", "peer_data.json", "meta_data.json")]
    assert {(reply.status, reply.json["error"]["code"]) for reply in replies} == {(503, "peerdata.store.unavailable")}


def test_two_processes_on_one_store_tell_the_same_story(make_service: MakeService) -> None:
    one, other = make_service(), make_service()
    for number in range(20):
        assert one.publish("127.0.0.11", **{f"k{number}": "1"}).status == 200
        assert f"from_server_k{number}" in other.shared()[BLUE["127.0.0.11"]], "a read after a 200 did not contain it"


def test_of_two_values_for_one_key_through_two_processes_one_wins(make_service: MakeService) -> None:
    services = [make_service(), make_service()]
    for number in range(15):
        statuses: list[int] = []

        def race(service: Service, value: str, key: str, statuses: list[int]) -> None:
            statuses.append(service.publish("127.0.0.12", **{key: value}).status)

        threads = [
            threading.Thread(target=race, args=(service, value, f"leader{number}", statuses))
            for service, value in zip(services, "ab", strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 409]
