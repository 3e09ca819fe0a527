# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The examples can be read: each script fits on a screen, and user-data is what the files beside it say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/start.sh"))
SCRIPTS = sorted((ROOT / "examples").glob("*/*.sh"))

MAX_LINES = 60
MAX_COLUMNS = 80
MAX_LINKS = 2
"""How many commands one line, or several that are one command, may join by ``;``, ``&&`` and ``||``."""


def script_id(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def chains(script: str) -> list[tuple[str, int]]:
    """Each line of commands, without comments and quoted text, and how many ``;``, ``&&`` and ``||`` join in it."""
    code = re.sub(r"(^|\s)#.*", "", script, flags=re.MULTILINE)
    code = re.sub(r"""'[^']*'|"[^"]*\"""", "''", code)
    # A line goes on where it ends in an operator or a backslash.
    code = re.sub(r"(&&|\|\||\||\\)\n\s*", r"\1 ", code)
    # Before a keyword of the shell a semicolon is only a line's end.
    code = re.sub(r";\s*(then|do|done|fi|else|elif|esac|\})(?!\w)|;;", "", code)
    return [(line, 1 + len(re.findall(r";|&&|\|\|", line))) for line in code.splitlines() if line.strip()]


def program(name: str) -> str:
    """Where a program is: beside Python, as PyPI's package has it, or on the path. Skips the test if nowhere."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


# What a reader sees


@pytest.mark.parametrize("script", SCRIPTS, ids=script_id)
def test_a_script_fits_on_a_screen(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= MAX_COLUMNS


@pytest.mark.parametrize("script", SCRIPTS, ids=script_id)
def test_a_script_has_no_long_chain_of_commands(script: Path) -> None:
    assert [line for line, links in chains(script.read_text()) if links > MAX_LINKS] == []


@pytest.mark.parametrize(
    ("line", "links"),
    [
        ("a && b || c", 3),
        ("a &&\n    b ||\n    c", 3),
        ("a; b; c", 3),
        ("a && b # c; d; e", 2),
        ("a 'b; c; d' || e", 2),
        ("until a; do b; done", 1),
        ("f() { a; }", 1),
        ("awk '\n    a && b && c\n    d'", 1),
        ("'it' # it's; a; b\na || b # it's", 2),
    ],
)
def test_a_chain_is_counted_by_its_commands(line: str, links: int) -> None:
    assert max(counted for _, counted in chains(line)) == links


@pytest.mark.parametrize("script", SCRIPTS, ids=script_id)
def test_a_script_states_what_it_is_before_its_first_command(script: Path) -> None:
    head = script.read_text().partition("\n\n")[0].splitlines()
    assert [line for line in head[3:] if line.startswith("# ")]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_a_start_script_ends_at_the_first_failure(example: Path) -> None:
    script = (example / "start.sh").read_text()
    assert script.startswith("#!/bin/sh\n")
    assert "\nset -eu\n" in script


def start(example: str, directory: Path, **commands: str) -> int:
    """Run a start script, with these commands in place of programs; return its exit status, a signal's as negative."""
    for name, command in commands.items():
        (directory / name).write_text(f"#!/bin/sh\n{command}\n")
        (directory / name).chmod(0o755)
    environment = {"PATH": f"{directory}:{os.environ['PATH']}", "RUNTIME_DIRECTORY": str(directory)}
    script = ROOT / "examples" / example / "start.sh"
    return subprocess.run([script], env=environment, capture_output=True, timeout=20).returncode


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_instance_without_an_address_publishes_nothing(example: Path, tmp_path: Path) -> None:
    """What is published stays for good, an empty address too."""
    status = start(
        example.name,
        tmp_path,
        hostname='[ "$1" = -I ] || echo node',
        peerdata='touch "$RUNTIME_DIRECTORY/called"',
    )
    assert status == 1
    assert not (tmp_path / "called").exists()


def test_prometheus_is_stopped_where_nobody_follows_its_peers_any_more(tmp_path: Path) -> None:
    """With a watch that has ended its targets would stay as they are for good."""
    hostname = "echo 10.0.0.11"
    assert (
        start("prometheus", tmp_path, hostname=hostname, peerdata='[ "$1" != watch ]', prometheus="exec sleep 60")
        == -15
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=script_id)
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run([program("shellcheck"), script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=script_id)
def test_shfmt_changes_nothing(script: Path) -> None:
    done = subprocess.run([program("shfmt"), "-i", "4", "-d", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


# User-data


def test_make_examples_would_change_nothing() -> None:
    generate = [sys.executable, str(ROOT / "examples" / "generate.py"), "--check"]
    done = subprocess.run(generate, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_user_data_holds_the_scripts_and_the_drop_in_unchanged(example: Path) -> None:
    text = (example / "user-data").read_text()
    assert text.startswith("#cloud-config\n")
    written = {file["path"]: file["content"] for file in yaml.safe_load(text)["write_files"]}
    (drop_in,) = example.glob("*.service.d/peerdata.conf")
    expected = {
        f"/usr/local/sbin/start-{example.name}": example / "start.sh",
        f"/etc/systemd/system/{drop_in.relative_to(example)}": drop_in,
    }
    for path, source in expected.items():
        assert written[path] == source.read_text()
    for script in set(example.glob("*.sh")) - {example / "start.sh"}:
        path = f"/usr/local/lib/{example.name}/{script.name}"
        assert written[path] == script.read_text()
        assert f"\n. {path}\n" in (example / "start.sh").read_text()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_user_data_starts_the_unit_once_its_script_is_there(example: Path) -> None:
    """It is masked before its package is installed, else Debian would start it without peers."""
    config = yaml.safe_load((example / "user-data").read_text())
    (drop_in,) = example.glob("*.service.d/peerdata.conf")
    unit = drop_in.parent.name.removesuffix(".d")
    assert [command[3:] for command in config["bootcmd"]] == [["systemctl", "mask", unit]]
    started = [command[1:] for command in config["runcmd"] if command[0] == "systemctl"]
    assert started == [["unmask", unit], ["enable", unit], ["start", "--no-block", unit]]
    assert f"\nExecStart=\nExecStart=/usr/local/sbin/start-{example.name}\n" in drop_in.read_text()
