"""The operator's commands, whose output is cut, full or closed, and who is told to stop."""

from __future__ import annotations

import fcntl
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peerdata import cli
from peerdata.errors import SettingsInvalid

from .conftest import MakeService
from .service import Service

PRINTING = ["sample", "settings", "--help", "serve --help", "instance list", "cluster list", "db current"]
"""Each prints something and changes nothing."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its store has something to list."""
    service = Service(tmp_path_factory.mktemp("service"))
    service.start()
    service.publish("127.0.0.11", a="1")
    assert service.ask("127.0.0.11", "POST", "cluster/db.json?size=3").status == 200
    yield service
    service.end()


def command(service: Service, words: str) -> list[str]:
    takes_settings = words != "sample" and "--help" not in words
    return service.command(*words.split())[: None if takes_settings else -2]


@pytest.mark.parametrize("words", PRINTING)
def test_a_reader_that_leaves_ends_a_command_without_a_word(service: Service, words: str) -> None:
    """As in `peerdata sample | head -1`: the reader wanted no more, and the code is the guest's for it."""
    process = subprocess.Popen(command(service, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.wait(30) == 1 or "--help" in words  # which argparse prints, whatever comes of it
    assert process.stderr.read() == b""


@pytest.mark.parametrize("words", PRINTING)
def test_a_full_disk_as_output_is_a_sentence_and_code_1(service: Service, words: str) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(command(service, words), stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr == b"peerdata: the output is lost: no space left on device\n"


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "2>&-", "2>/dev/full >/dev/full"])
def test_closed_and_full_standard_streams_are_survived(service: Service, redirection: str) -> None:
    quoted = " ".join(f"'{word}'" for word in command(service, "cluster list"))
    ended = subprocess.run(["sh", "-c", f"{quoted} {redirection}"], capture_output=True, text=True, timeout=30)
    assert ended.returncode == (0 if redirection == "2>&-" else 1)
    assert "Traceback" not in ended.stderr + ended.stdout


def test_the_service_starts_without_standard_streams(make_service: MakeService) -> None:
    service = make_service(start=False)
    quoted = " ".join(f"'{word}'" for word in service.command("serve", "--log-file", str(service.log)))
    service.process = subprocess.Popen(["sh", "-c", f"exec {quoted} <&- >&- 2>&-"])
    service.log.touch()
    service.wait_for("is ready")
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


def test_ctrl_c_ends_a_command_with_code_130_and_without_a_word(service: Service) -> None:
    process = subprocess.Popen(command(service, "sample"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)  # so it waits until somebody reads
    deadline = time.monotonic() + 30
    while not _is_writing(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr.read() == b""


def _is_writing(pid: int) -> bool:
    return "pipe" in Path(f"/proc/{pid}/wchan").read_text() or _blocked_in_write(pid)


def _blocked_in_write(pid: int) -> bool:
    """By the system call, where the kernel does not show where it waits."""
    try:
        number, first, *_ = Path(f"/proc/{pid}/syscall").read_text().split()
    except (OSError, ValueError):
        return False
    return number in ("1", "64") and first == "0x1"  # write, on x86_64 and aarch64


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("is-a-directory", None, "Is a directory: '.*is-a-directory'"),
        ("missing", b"", "missing"),
        ("not-utf-8", b"\xff\xfe[DEFAULT]", "can't decode"),
        ("no-section", b"listen = x\n", "no-section"),
    ],
)
def test_a_config_file_that_cannot_be_read_is_a_sentence_and_code_2(
    service: Service, tmp_path: Path, path: str, content: bytes | None, says: str
) -> None:
    at = tmp_path / path
    if content is None:
        at.mkdir()
    elif content:
        at.write_bytes(content)
    for words in ("settings", "instance list", "serve"):
        ended = subprocess.run(
            [*service.command(*words.split())[:-2], "--config-file", str(at)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert ended.returncode == 2
        assert re.fullmatch(f"peerdata: .*{says}.*\n", ended.stderr), ended.stderr


def test_a_default_config_file_that_this_user_may_not_see_is_not_taken_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """/etc/peerdata is the service's and root's alone. (What root may not see either is a name that is too long.)"""
    monkeypatch.setattr(cli, "DEFAULT_CONFIG_FILE", "/etc/" + 256 * "x")
    with pytest.raises(SettingsInvalid, match=r"cannot read '/etc/xxx.*run this as the service's user"):
        cli._default_config()


def test_only_what_the_service_itself_says_is_in_the_log_of_a_start(make_service: MakeService) -> None:
    """No line of the library that makes the tables; by the default of oslo.log's own option, which can be set."""
    service = make_service()
    assert "alembic" not in service.log.read_text()
    assert all(" INFO peerdata." in line for line in service.log.read_text().splitlines())
