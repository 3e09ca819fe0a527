# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What a real process writes into its log, and what it does not."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from .conftest import MakeService
from .service import BLUE, Service

ROOT = Path(__file__).parents[2]


def lines_with(service: Service, text: str) -> list[str]:
    return [line for line in service.log.read_text().splitlines() if text in line]


def test_requests_are_logged_where_their_logger_is_turned_on_and_nothing_else_is(make_service: MakeService) -> None:
    service = make_service({"DEFAULT": {"default_log_levels": "peerdata.requests=DEBUG,alembic=WARNING"}})
    service.ask("127.0.0.11", "GET", "shared.json?x=s3cret")
    service.wait_for("shared.json 400")
    (line,) = lines_with(service, " DEBUG ")
    assert re.search(rf"GET /openstack/latest/shared\.json 400, \d+\.\d ms, instance {BLUE['127.0.0.11']}, req-", line)
    assert "s3cret" not in service.log.read_text()


def test_requests_are_not_logged_by_default(make_service: MakeService) -> None:
    service = make_service()
    service.ask("127.0.0.11", "GET", "shared.json")
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    assert lines_with(service, "shared.json") == []


def test_the_log_of_the_demo_is_a_line_for_each_call(tmp_path: Path) -> None:
    """`make serve` is the first that anybody sees of it."""
    shutil.copytree(ROOT / "demo", tmp_path / "demo")
    conf = tmp_path / "demo" / "peerdata.conf"
    service = Service(tmp_path)
    conf.write_text(
        conf.read_text().replace("127.0.0.1:8775", f"127.0.0.1:{service.port}") + "\n[operator_api]\nlisten =\n"
    )
    log = tmp_path / "log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "peerdata", "serve", "--config-file", str(conf)]
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 30
        while "is ready" not in log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        service.publish("127.0.0.11", web_addr="10.0.0.11:8080")
        service.ask("127.0.0.12", "GET", "shared.json")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
    first, *_ = told = log.read_text().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in told)
    assert "Listening for instances" in first
    assert sum("POST /openstack/latest/metadata 200, " in line for line in told) == 1
    assert sum("GET /openstack/latest/shared.json 200, " in line for line in told) == 1
    assert len(told) <= 8


def test_a_flood_is_a_few_lines_and_counted_to_the_last_without_another_call(make_service: MakeService) -> None:
    service = make_service({"database": {"busy_timeout": 0}})
    for file in (service.directory / "state").iterdir():
        file.unlink()
    for _ in range(50):
        assert service.publish("127.0.0.11", a="1").status == 503
    deadline = time.monotonic() + 30
    while told_of(service, "The store's file") < 50:
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.1)
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    assert told_of(service, "Refused instance") == 50
    assert len(service.log.read_text().splitlines()) < 30


def told_of(service: Service, fault: str) -> int:
    """How many times the log says that it happened."""
    counts = (re.search(r"(\d+) more like it", line) for line in lines_with(service, fault))
    return sum(int(found[1]) if found else 1 for found in counts)
