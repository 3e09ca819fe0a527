"""The command against the real service: what a start script does, from publish to a formed cluster."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..live.service import BLUE, Service
from .conftest import SOURCE

ONE, TWO, THREE = [*BLUE][:3]

ROOT = SOURCE.parent

Ask = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    service.start()
    yield service
    service.end()


@pytest.fixture
def ask(service: Service, environment: dict[str, str]) -> Ask:
    """Run the command as the instance with that address."""

    def ask(source: str, *words: str) -> object:
        return subprocess.run(
            [sys.executable, "-m", "peerdata", *words],
            env={**environment, "PEERDATA_URL": f"http://127.0.0.1:{service.port}", "PEERDATA_SOURCE": source},
            capture_output=True,
            text=True,
            timeout=30,
        )

    return ask  # type: ignore[return-value]


def test_start_scripts_publish_wait_and_read_the_same_everywhere(ask: Ask) -> None:
    for source in (ONE, TWO, THREE):
        assert ask(source, "publish", "--addresses", "nats_").returncode == 0
    words = ["wait", "--count", "3", "--prefix", "nats_", "--format", "nats", "--timeout", "10"]
    printed = [ask(source, *words).stdout for source in (ONE, THREE)]
    assert (
        printed[0]
        == printed[1]
        == f'routes: [\n{"".join(f"""  "nats-route://{one}:6222"{chr(10)}""" for one in (ONE, TWO, THREE))}]\n'
    )


def test_a_refusal_prints_its_reason_and_is_exit_code_3(ask: Ask) -> None:
    ask(ONE, "publish", "a=1")
    done = ask(ONE, "publish", "a=2")
    assert (done.returncode, "already holds another value" in done.stderr) == (3, True)
    done = ask("127.0.0.99", "whoami")
    assert (done.returncode, "no instance with the address" in done.stderr) == (3, True)


def test_one_instance_starts_galera_and_the_others_join(ask: Ask) -> None:
    def join(source: str) -> str:
        words = ["join", "galera", "--size", "3", "--until-ready", "--format", "galera", f"galera_addr={source}"]
        return ask(source, *words, "--timeout", "10").stdout

    assert join(ONE) == "gcomm://\n"
    assert ask(ONE, "formed", "galera").returncode == 0
    assert join(TWO) == f"gcomm://{ONE},{TWO}\n"
    assert join(ONE) == f"gcomm://{ONE},{TWO}\n", "a founder that starts again joins"


def test_the_demo_of_the_readme_works(service: Service, environment: dict[str, str]) -> None:
    """Every shell block of the five minutes, with the service on another port and the command from the source."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Five minutes\n")[2].partition("\n## ")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.S)).replace("make zipapp\n", "")
    for shown, here in (("8775", str(service.port)), ("build/peerdata.pyz", f"{sys.executable} -m peerdata")):
        assert shown in lines
        lines = lines.replace(shown, here)
    done = subprocess.run(["/bin/sh", "-ec", lines], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[-1][-len("bootstrap") :]) == (0, "bootstrap"), done


def test_the_doctor_finds_nothing_wrong(ask: Ask) -> None:
    done = ask(ONE, "doctor")
    assert done.returncode == 0, done.stdout
    assert json.loads(ask(ONE, "whoami", "--format", "json").stdout)["uuid"] == BLUE[ONE]


def test_a_restarted_service_is_found_again(ask: Ask, service: Service) -> None:
    assert ask(ONE, "publish", "a=1").returncode == 0
    assert ask(ONE, "peers", "--format", "json").returncode == 0
    service.kill()
    done = ask(ONE, "peers", "--format", "json", "--timeout", "0")
    assert (done.returncode, len(json.loads(done.stdout))) == (6, 1)
    service.start()
    assert ask(ONE, "peers", "--format", "json").returncode == 0
