"""The command with stdout or stderr closed or full."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from peerdata import testing
from peerdata.guest import Guest

from .conftest import SOURCE

RunShell = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def run_to(environment: dict[str, str]) -> RunShell:
    """Run the command as an instance, with what a shell calls redirections."""

    def run_to(where: str, instance: testing.Instance, *words: str, **more: str) -> object:
        return subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" {where}', "sh", sys.executable, "-m", "peerdata", *words],
            env={**environment, "PEERDATA_URL": instance.url, **more},
            capture_output=True,
            timeout=20,
        )

    return run_to  # type: ignore[return-value]


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
@pytest.mark.parametrize("words", [["whoami"], ["peers"], ["watch"], ["doctor"], ["join", "db", "--size", "1"]])
def test_lost_output_is_one_message_and_exit_code_1(
    cloud: testing.Cloud, run_to: RunShell, where: str, words: list[str]
) -> None:
    done = run_to(where, cloud.instance(), *words)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done
    assert b"the output is lost" in done.stderr


def test_a_help_that_cannot_be_printed_is_reported_too(cloud: testing.Cloud, run_to: RunShell) -> None:
    done = run_to(">/dev/full", cloud.instance(), "peers", "--help")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)


def test_a_command_that_prints_nothing_needs_no_stdout(cloud: testing.Cloud, run_to: RunShell) -> None:
    done = run_to(">&-", cloud.instance(), "publish", "a=1")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "0<&- 2>&-"])
def test_a_lost_message_does_not_change_the_exit_code(cloud: testing.Cloud, run_to: RunShell, where: str) -> None:
    one = cloud.instance()
    Guest(one.url, state="").publish({"a": "1", "addr": "no address"})
    assert run_to(where, one, "publish", "a=2").returncode == 3
    assert run_to(where, one, "peers", "--nonsense").returncode == 2
    assert run_to(where, one, "formed", "db", "--term", "1").returncode == 3
    done = run_to(where, one, "peers", "--format", "addresses")
    assert (done.returncode, done.stdout) == (0, b""), "the warning is lost"
    cloud.fail(503)
    assert run_to(where, one, "whoami").stdout == f"{one.uuid}\n".encode()


def test_a_socket_never_gets_the_descriptor_of_a_closed_standard_stream(
    cloud: testing.Cloud, environment: dict[str, str]
) -> None:
    """Otherwise output would be sent over the connection."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 0<&- >&- 2>&-', "sh", sys.executable, "-c",
         "import sys, socket; sys.argv[1:] = ['publish', 'a=1']\n"
         "real = socket.create_connection\n"
         "def connect(*arguments):\n"
         "    made = real(*arguments)\n"
         "    assert made.fileno() > 2\n"
         "    return made\n"
         "socket.create_connection = connect\n"
         "from peerdata.__main__ import main; sys.exit(main())"],
        env={**environment, "PEERDATA_URL": cloud.instance().url, "PYTHONPATH": str(SOURCE)}, timeout=20,
    )  # fmt: skip
    assert done.returncode == 0


@pytest.mark.parametrize("form", ["table", "json", "env"])
def test_output_is_utf8_whatever_the_locale(cloud: testing.Cloud, run_to: RunShell, form: str) -> None:
    one = cloud.instance()
    Guest(one.url, state="").publish({"name": "Zürich \U0001f600"})
    done = run_to("", one, "peers", "--format", form, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert form == "json" or "Zürich \U0001f600" in done.stdout.decode()
