# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The unit as it is shipped, under a real systemd: hardened, ready when it answers, restarted where that is of use."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.live.service import BLUE, free_port, inventory_text

from . import systemd
from .conftest import DEPLOY
from .systemd import Systemd

UNIT = "peerdata.service"
DROP_IN = "/etc/systemd/system/peerdata.service.d/test.conf"


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, cannot: Callable[[str], None]) -> Iterator[Systemd]:
    """Systemd, with everything of `deploy/systemd` where an operator puts it."""
    if reason := systemd.why_not():
        cannot(reason)
    booted = Systemd(tmp_path_factory.mktemp("systemd") / "log")
    try:
        files = DEPLOY / "systemd"
        booted.install(files / "peerdata.service", f"/etc/systemd/system/{UNIT}")
        booted.install(files / "peerdata.sysusers", "/etc/sysusers.d/peerdata.conf")
        booted.install(files / "peerdata.tmpfiles", "/etc/tmpfiles.d/peerdata.conf")
        booted.run("systemd-sysusers")
        booted.run("systemd-tmpfiles", "--create", "peerdata.conf")
        yield booted
    finally:
        booted.end()


class Unit:
    """The service, stopped and with its settings anew."""

    def __init__(self, booted: Systemd, directory: Path) -> None:
        self.booted = booted
        self.port = free_port()
        self._directory = directory
        self.settings(self.listening("workers = 2\n"))

    def listening(self, more: str = "") -> str:
        """Settings with which it listens on `port`, and ends without waiting for a balancer."""
        return f"[operator_api]\nlisten =\n[instance_api]\nlisten = 127.0.0.1:{self.port}\ndrain = 0\n{more}"

    def settings(self, text: str, drop_in: str = "") -> None:
        """Let these be its settings, and *drop_in* what its unit has besides."""
        (self._directory / "inventory.yaml").write_text(inventory_text({"blue": BLUE}))
        (self._directory / "peerdata.conf").write_text(
            f"{text}\n[identity]\ninventory_file = /etc/peerdata/inventory.yaml\n"
        )
        (self._directory / "drop-in").write_text(drop_in)
        self.booted.run("systemctl", "stop", UNIT, check=False)
        self.booted.run("systemctl", "reset-failed", UNIT, check=False)
        for name in ("inventory.yaml", "peerdata.conf"):
            self.booted.install(self._directory / name, f"/etc/peerdata/{name}")
            self.booted.run("chgrp", "peerdata", f"/etc/peerdata/{name}")
            self.booted.run("chmod", "0640", f"/etc/peerdata/{name}")
        self.booted.install(self._directory / "drop-in", DROP_IN)
        self.booted.run("systemctl", "daemon-reload")

    def systemctl(self, word: str) -> str:
        """What it says on standard error; empty where it did what it was told."""
        done = self.booted.run("systemctl", word, UNIT, check=False)
        return done.stderr + self.log() if done.returncode else ""

    def show(self, name: str) -> str:
        return self.booted.show(UNIT, name)

    def log(self) -> str:
        return self.booted.run("journalctl", "--no-pager", "--boot", "--unit", UNIT).stdout

    def ask(self, method: str, path: str) -> tuple[int, object]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10, source_address=("127.0.0.11", 0))
        try:
            connection.request(method, f"/openstack/latest/{path}")
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@pytest.fixture
def unit(booted: Systemd, tmp_path: Path) -> Unit:
    return Unit(booted, tmp_path)


def test_it_is_started_once_it_answers_and_keeps_what_was_published_over_a_restart(unit: Unit) -> None:
    assert unit.systemctl("start") == ""
    assert unit.ask("POST", "metadata?shared=project&meta.a=1")[0] == 200
    assert unit.systemctl("restart") == ""
    assert unit.ask("GET", "shared.json") == (
        200,
        [{"meta": {"from_server_a": "1"}, "uuid": BLUE["127.0.0.11"]}],
    )
    assert unit.systemctl("stop") == ""
    assert (unit.show("Result"), unit.show("NRestarts")) == ("success", "0")


def test_it_runs_with_all_taken_away_that_it_does_not_need(unit: Unit) -> None:
    assert unit.systemctl("start") == ""
    for pid in unit.booted.processes(UNIT):
        status = dict(
            line.split(":\t", 1)
            for line in unit.booted.run("cat", f"/proc/{pid}/status").stdout.splitlines()
            if ":\t" in line
        )
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
        assert status["Uid"].split()[0] != "0"


def test_a_reload_is_over_when_every_worker_has_read_its_settings(unit: Unit) -> None:
    assert unit.systemctl("start") == ""
    assert unit.systemctl("reload") == ""
    unit.booted.until(lambda: unit.log().count("The inventory was read again") == 2)
    unit.booted.until(lambda: unit.show("ActiveState") == "active")


def test_it_is_started_again_after_five_seconds_when_it_was_killed(unit: Unit) -> None:
    assert unit.systemctl("start") == ""
    main = unit.booted.processes(UNIT)[0]
    began = time.monotonic()
    unit.booted.run("kill", "-9", str(main))
    unit.booted.until(lambda: unit.show("NRestarts") == "1" and unit.show("ActiveState") == "active")
    assert time.monotonic() - began > 4.5
    assert unit.ask("GET", "shared.json")[0] == 200


def test_it_is_tried_again_for_ever_while_its_address_is_taken(unit: Unit) -> None:
    """Systemd's own default gives up after five times in ten seconds."""
    unit.settings(
        unit.listening(),
        "[Service]\nRestartSec=100ms\n",
    )
    with socket.create_server(("127.0.0.1", unit.port)):
        unit.systemctl("start")
        unit.booted.until(lambda: int(unit.show("NRestarts")) > 5)
    unit.booted.until(lambda: unit.show("ActiveState") == "active")
    assert unit.show("StartLimitIntervalUSec") in ("0", "infinity")


def test_a_wrong_setting_is_not_tried_again(unit: Unit) -> None:
    unit.settings("[instance_api]\nlisen = 127.0.0.1:1\n", "[Service]\nRestartSec=100ms\n")
    assert unit.systemctl("start") != ""
    time.sleep(1)
    assert (unit.show("ActiveState"), unit.show("ExecMainStatus"), unit.show("NRestarts")) == ("failed", "2", "0")
    assert "[instance_api] has no option 'lisen'" in unit.log()


def test_a_process_that_hangs_is_replaced(unit: Unit) -> None:
    unit.settings(
        unit.listening(),
        "[Service]\nWatchdogSec=2\nRestartSec=100ms\nTimeoutAbortSec=1\n",
    )
    assert unit.systemctl("start") == ""
    time.sleep(3)
    assert unit.show("NRestarts") == "0"
    unit.booted.run("kill", "-STOP", str(unit.booted.processes(UNIT)[0]))
    unit.booted.until(lambda: unit.show("NRestarts") == "1" and unit.show("ActiveState") == "active")
    assert unit.ask("GET", "shared.json")[0] == 200


def test_a_port_below_1024_needs_the_drop_in_and_gets_along_with_it(unit: Unit) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 1024:
        pytest.skip("here everybody may listen on every port")
    unit.port = next(port for port in range(1023, 512, -1) if _is_free(port))
    text = unit.listening()
    unit.settings(text, "[Service]\nRestart=no\n")
    assert unit.systemctl("start") != ""
    assert "not allowed a port below 1024" in unit.log()
    unit.settings(text, (DEPLOY / "systemd" / "peerdata.service.d" / "low-port.conf").read_text())
    assert unit.systemctl("start") == ""
    assert unit.ask("GET", "shared.json")[0] == 200


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_nothing_of_it_is_left_on_the_machine(booted: Systemd) -> None:
    """What systemd does when it brings a machine up must not reach this one."""
    here = Path(f"/tmp/peerdata-systemd-test-{os.getpid()}")
    here.write_text("")
    booted.run("systemd-tmpfiles", "--create", "--remove", "--boot")
    assert here.exists()
    here.unlink()
    assert booted.run("touch", "/usr/peerdata-test", check=False).returncode != 0
    assert not Path("/etc/systemd/system/peerdata.service").exists()
