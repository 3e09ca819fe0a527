"""Ctrl-C and SIGTERM at any point: the command ends with the right exit code, and ends what it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peerdata import testing
from peerdata.guest import Guest, hooks

# Each presses Ctrl-C at one point and then runs the command, as Python does when the signal falls just there.
IN_PLACE = """
import os, signal, sys
real = os.replace
def replace(old, new):
    real(old, new)
    if new.endswith(WHICH):
        os.kill(os.getpid(), signal.SIGINT)
os.replace = replace
"""
IN_AN_IMPORT = """
import sys
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "peerdata.guest.library":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Press())
"""
IN_A_FINALIZER = """
import sys
class Pressed:
    def __del__(self):
        raise KeyboardInterrupt
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "peerdata.guest.library":
            Pressed()
sys.meta_path.insert(0, Press())
"""
IN_THE_ARGUMENTS = """
import argparse, sys
def press(*_):
    raise KeyboardInterrupt
argparse.ArgumentParser.parse_intermixed_args = press
"""
AND_RUN = """
signal = __import__("signal")
signal.signal(signal.SIGINT, signal.default_int_handler)
from peerdata.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    "press",
    [
        IN_PLACE.replace("WHICH", "'/hosts'"),
        IN_PLACE.replace("WHICH", "'/peers.json'"),
        IN_AN_IMPORT,
        IN_A_FINALIZER,
        IN_THE_ARGUMENTS,
    ],
    ids=["when the file is in place", "when the state is", "in an import", "in a finalizer", "in the arguments"],
)
def test_one_ctrl_c_ends_the_command_at_any_point(
    cloud: testing.Cloud, environment: dict[str, str], tmp_path: Path, press: str
) -> None:
    one = cloud.instance()
    Guest(one.url, state="").publish({"addr": "10.0.0.11"})
    done = subprocess.run(
        [sys.executable, "-c", press + AND_RUN, "watch", "--format", "addresses", "--out", str(tmp_path / "hosts")],
        env={**environment, "PEERDATA_URL": one.url}, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("option", ["--exec", "--reload"])
def test_a_signal_to_a_watch_ends_its_hook_with_all_its_children(
    cloud: testing.Cloud, environment: dict[str, str], tmp_path: Path, option: str, number: signal.Signals
) -> None:
    one = cloud.instance()
    Guest(one.url, state="").publish({"addr": "10.0.0.11"})
    out = [] if option == "--exec" else ["--format", "addresses", "--out", str(tmp_path / "hosts")]
    with subprocess.Popen(
        [sys.executable, "-m", "peerdata", "watch", *out, option, "sleep 60 & echo runs; wait; true"],
        env={**environment, "PEERDATA_URL": one.url}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        assert watching.stdout
        assert watching.stdout.readline() == "runs\n"
        watching.send_signal(number)
        assert watching.communicate(timeout=20)[0] == "", "and nobody holds it any more"
        assert watching.returncode == 128 + number


def test_a_hook_that_cannot_be_run_is_a_warning_and_ctrl_c_meanwhile_still_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pressed = False

    def fail(*_: object, **__: object) -> None:
        if pressed:
            os.kill(os.getpid(), signal.SIGINT)
        raise OSError(12, "no memory")

    monkeypatch.setattr(subprocess, "Popen", fail)
    warnings: list[str] = []
    assert hooks.run("true", warnings.append, environment={}) == 1
    assert warnings == ["the command cannot be run: cannot allocate memory: true"]
    pressed = True
    with pytest.raises(KeyboardInterrupt):
        hooks.run("true", warnings.append, environment={})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_hook_leaves_ignored_signals_ignored(cloud: testing.Cloud, environment: dict[str, str]) -> None:
    """Under nohup SIGHUP is ignored, and stays so."""
    one = cloud.instance()
    with subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-m", "peerdata", "watch",
         "--exec", "kill -HUP $PPID; echo sent"],
        env={**environment, "PEERDATA_URL": one.url}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        assert watching.stdout
        assert watching.stdout.readline() == "sent\n"
        Guest(one.url, state="").publish({"addr": "10.0.0.11"})
        assert watching.stdout.readline() == "sent\n", "it goes on"
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(10) in (-signal.SIGTERM, 128 + signal.SIGTERM)  # between two commands it has no handler
