"""What a service manager (systemd, Type=notify) is told of a real process, one worker and several."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import MakeService
from .manager import Manager
from .service import Service

MakeManager = Callable[..., Manager]


@pytest.fixture
def make_manager(tmp_path: Path) -> Iterator[MakeManager]:
    """Service managers that end with the test."""
    made: list[Manager] = []

    def make(address: str = "", *, watchdog_s: float | None = None) -> Manager:
        made.append(Manager(address or str(tmp_path / "notify"), watchdog_s=watchdog_s))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


def start(make_service: MakeService, manager: Manager, workers: int = 1) -> Service:
    """A service that *manager* has started; returns once it says that it is ready."""
    service = make_service({"instance_api": {"workers": workers, "graceful_shutdown_timeout": 1}}, start=False)
    service.environment |= manager.environment
    service.start()
    manager.wait(lambda: "READY" in manager.words)
    return service


def process_ids(service: Service) -> list[int]:
    """Of all that became ready."""
    return [int(pid) for pid in re.findall(r"(\d+) INFO peerdata.serving .* is ready", service.log.read_text())]


@pytest.mark.parametrize("workers", [1, 3])
def test_it_is_ready_once_everybody_listens_and_says_when_it_reloads_and_stops(
    make_service: MakeService, make_manager: MakeManager, workers: int
) -> None:
    manager = make_manager()
    service = start(make_service, manager, workers)
    assert len(process_ids(service)) == workers
    assert service.shared() == {}
    service.signal(signal.SIGHUP)
    manager.wait(lambda: len(manager.words) == 3)
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    assert manager.words == ["READY", "RELOADING", "READY", "STOPPING"]
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", manager.messages[1])


def test_it_is_told_on_a_socket_in_the_abstract_namespace_too(
    make_service: MakeService, make_manager: MakeManager
) -> None:
    start(make_service, make_manager(f"@peerdata-test-{os.getpid()}"))


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_not_ready_where_it_cannot_listen(
    make_service: MakeService, make_manager: MakeManager, workers: int
) -> None:
    manager = make_manager()
    service = make_service({"instance_api": {"workers": workers}}, start=False)
    with socket.create_server(("127.0.0.1", service.port)):
        service.environment |= manager.environment
        with pytest.raises(AssertionError, match="cannot listen"):
            service.start()
    assert manager.words == []


def test_a_manager_that_is_gone_does_not_matter(make_service: MakeService, make_manager: MakeManager) -> None:
    manager = make_manager(watchdog_s=0.2)
    service = start(make_service, manager)
    manager.close()
    (service.directory / "notify").unlink()
    assert service.publish("127.0.0.11", key="1").status == 200
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_signs_of_life_come_as_long_as_somebody_answers_and_no_longer(
    make_service: MakeService, make_manager: MakeManager, workers: int
) -> None:
    """With several workers the process above sends them, and it lives on where they do not."""
    manager = make_manager(watchdog_s=2 if workers == 1 else 3600)
    service = start(make_service, manager, workers)
    if workers == 1:
        manager.forget()
        manager.wait(lambda: manager.pings >= 2)
        service.signal(signal.SIGSTOP)
        manager.forget()
        with pytest.raises(AssertionError):
            manager.wait(lambda: manager.pings, within_s=2)
        service.signal(signal.SIGCONT)
        manager.wait(lambda: manager.pings)
    else:
        assert manager.pings >= 1


def test_a_worker_that_hangs_is_ended_and_started_again_while_the_others_go_on(
    make_service: MakeService, make_manager: MakeManager
) -> None:
    manager = make_manager(watchdog_s=3)
    service = start(make_service, manager, workers=2)
    hanging, other = process_ids(service)
    os.kill(hanging, signal.SIGSTOP)
    manager.wait(lambda: len(process_ids(service)) == 3, within_s=30)
    assert f"process {hanging}, has not responded" in service.log.read_text()
    assert not Path(f"/proc/{hanging}").exists()
    assert Path(f"/proc/{other}").exists()
    manager.forget()
    manager.wait(lambda: manager.pings)
    assert manager.words == []
    assert service.publish("127.0.0.11", key="1").status == 200


def test_a_process_that_is_ended_by_a_watchdog_tells_where_it_hung(make_service: MakeService) -> None:
    """Systemd's sends SIGABRT, as ours does."""
    service = make_service()
    service.signal(signal.SIGABRT)
    assert service.wait() == -signal.SIGABRT
    assert "most recent call first" in service.log.read_text()
