# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What systemd's own tools and logrotate say of `deploy/systemd`."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from peerdata.capacity import files_needed
from peerdata.settings import NovaSettings, Settings
from tests.live.service import Service

from . import build
from .conftest import DEPLOY

SYSTEMD = DEPLOY / "systemd"
LOW_PORT = SYSTEMD / "peerdata.service.d" / "low-port.conf"

Tool = Callable[[str], str]


def run(*command: str | Path) -> str:
    """What a command prints, once it has ended well."""
    words = [str(word) for word in command]
    done = subprocess.run(words, env=build.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout}"
    return done.stdout


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The root of a host on which everything lies where an operator puts it."""
    root = tmp_path / "host"
    places = {
        "peerdata.service": "etc/systemd/system/peerdata.service",
        "peerdata.sysusers": "etc/sysusers.d/peerdata.conf",
        "peerdata.tmpfiles": "etc/tmpfiles.d/peerdata.conf",
    }
    for name, place in places.items():
        (root / place).parent.mkdir(parents=True)
        shutil.copy(SYSTEMD / name, root / place)
    for program in ("opt/peerdata/bin/peerdata", "bin/kill"):
        (root / program).parent.mkdir(parents=True)
        (root / program).write_text("#!/bin/sh\n")
        (root / program).chmod(0o755)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    for directory in ("run", "var/lib", "var/log"):
        (root / directory).mkdir(parents=True)
    return root


def add_low_port(host: Path) -> None:
    (host / "etc/systemd/system/peerdata.service.d").mkdir()
    shutil.copy(LOW_PORT, host / "etc/systemd/system/peerdata.service.d")


@pytest.mark.parametrize("low_port", [False, True])
def test_the_service_is_exposed_by_2_0_at_most(tool: Tool, host: Path, low_port: bool) -> None:
    if low_port:
        add_low_port(host)
    told = run(
        tool("systemd-analyze"),
        "security",
        "--no-pager",
        "--offline=yes",
        "--threshold=20",
        f"--root={host}",
        "peerdata.service",
    )
    assert re.search(r"Overall exposure level for peerdata.service: [01]\.\d|2\.0", told)


@pytest.mark.parametrize("low_port", [False, True])
def test_systemd_finds_nothing_wrong_with_the_unit(tool: Tool, host: Path, low_port: bool) -> None:
    if low_port:
        add_low_port(host)
    told = run(
        tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", f"--root={host}", "peerdata.service"
    )
    # A key that it does not know, and a value that it cannot read, are lines and no failure.
    assert "peerdata" not in told


def test_user_and_directories_are_made_with_the_owners_that_keep_secrets(tool: Tool, host: Path) -> None:
    assert "peerdata" in run(tool("systemd-sysusers"), "--dry-run", f"--root={host}")
    assert "peerdata" not in (host / "etc/passwd").read_text()
    run(tool("systemd-sysusers"), f"--root={host}")
    (line,) = [line for line in (host / "etc/passwd").read_text().splitlines() if line.startswith("peerdata:")]
    _, _, uid, gid, _, home, shell = line.split(":")
    assert home == "/var/lib/peerdata"
    assert shell.endswith("nologin")
    if os.geteuid():
        pytest.skip("only root can give directories away")
    run(tool("systemd-tmpfiles"), "--create", f"--root={host}")
    made = {}
    for directory in ("etc/peerdata", "etc/peerdata/peerdata.conf.d", "var/lib/peerdata", "var/log/peerdata"):
        found = (host / directory).stat()
        made[directory] = (oct(found.st_mode & 0o777), found.st_uid, found.st_gid)
    assert made == {
        "etc/peerdata": ("0o750", 0, int(gid)),
        "etc/peerdata/peerdata.conf.d": ("0o750", 0, int(gid)),
        "var/lib/peerdata": ("0o700", int(uid), int(gid)),
        "var/log/peerdata": ("0o750", int(uid), int(gid)),
    }


def test_the_unit_permits_as_many_files_as_the_defaults_need() -> None:
    permitted = re.search(r"^LimitNOFILE=(\d+)$", (SYSTEMD / "peerdata.service").read_text(), re.MULTILINE)
    assert permitted
    assert int(permitted[1]) >= files_needed(Settings(nova=NovaSettings(metadata_url="http://nova")))


def logrotate_file(tmp_path: Path, logs: Path) -> Path:
    """Ours, for *logs*, and for the user that runs the tests: another is not on this machine."""
    text = (SYSTEMD / "peerdata.logrotate").read_text()
    assert "/var/log/peerdata/*.log" in text
    assert "su peerdata peerdata" in text
    path = tmp_path / "logrotate.conf"
    path.write_text(text.replace("/var/log/peerdata", str(logs)).replace("su peerdata peerdata", "su root root"))
    return path


def test_logrotate_finds_nothing_wrong(tool: Tool, tmp_path: Path) -> None:
    told = run(tool("logrotate"), "--debug", "--state", tmp_path / "state", logrotate_file(tmp_path, tmp_path))
    assert "error:" not in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the log's owner")
def test_a_log_is_rotated_under_a_running_service_and_no_line_goes_to_the_old_file(tool: Tool, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o755)
    service = Service(
        tmp_path,
        {"DEFAULT": {"log_file": logs / "peerdata.log", "state_path": tmp_path}, "instance_api": {"workers": 2}},
    )
    service.log = logs / "peerdata.log"
    config = logrotate_file(tmp_path, logs)
    try:
        service.start()
        service.wait_for("is ready", 2)
        run(tool("logrotate"), "--force", "--state", tmp_path / "state", config)
        assert (logs / "peerdata.log").read_text() == ""
        service.ask("127.0.0.31", "GET", "shared.json")  # unknown: a line
        service.wait_for("127.0.0.31")
        assert "is ready" in (logs / "peerdata.log.1").read_text()
        assert "127.0.0.31" not in (logs / "peerdata.log.1").read_text()
        assert b"\0" not in (logs / "peerdata.log").read_bytes()
    finally:
        service.end()
