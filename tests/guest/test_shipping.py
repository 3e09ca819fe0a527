"""What is shipped to instances: old Pythons, the single file, the example."""

from __future__ import annotations

import ast
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from peerdata import testing

from .conftest import Run

ROOT = Path(__file__).parents[2]


def there(name: str) -> bool:
    """Whether that Python is on the PATH and runs; some tools put names there that lead nowhere."""
    return bool(shutil.which(name)) and subprocess.run([name, "-c", ""], capture_output=True).returncode == 0


OLD = "python3.9"
PYTHONS = [name for name in (OLD, "python3.10", "python3.11", "python3.12", "python3.13") if there(name)]

MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def single_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zipapp, as `make zipapp` makes it, of a copy: what a developer has in build/ stays."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "Makefile", copy)
    shutil.copytree(ROOT / "tools", copy / "tools")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["make", "-s", "zipapp", f"PYTHON={sys.executable}"], cwd=copy, check=True, capture_output=True)
    return copy / "build" / "peerdata.pyz"


def test_the_single_file_is_small_and_executable(single_file: Path) -> None:
    assert single_file.stat().st_size < MAX_BYTES
    assert single_file.stat().st_mode & stat.S_IXOTH
    with zipfile.ZipFile(single_file) as archive:
        names = archive.namelist()
    rooms = {name.split("/")[1] for name in names if name.startswith("peerdata/")}
    assert {room for room in rooms if "." not in room} == {"", "guest"}


@pytest.mark.parametrize("python", [sys.executable, *PYTHONS])
def test_the_single_file_holds_a_conversation(
    single_file: Path, cloud: testing.Cloud, environment: dict[str, str], python: str
) -> None:
    one = cloud.instance()
    alone = {"PEERDATA_STATE": environment["PEERDATA_STATE"], "PATH": os.environ["PATH"], "PEERDATA_URL": one.url}

    def ask(*words: str) -> str:
        command = [python, "-I", str(single_file), *words]
        return subprocess.run(command, env=alone, capture_output=True, text=True, timeout=30, check=True).stdout

    ask("publish", "addr=10.0.0.11")
    assert ask("peers", "--format", "etcd").startswith(f'ETCD_INITIAL_CLUSTER="{one.uuid}=http://10.0.0.11:2380"')
    assert ask("join", "db", "--size", "1") == "bootstrap\n"


@pytest.mark.skipif(OLD not in PYTHONS, reason="no python3.9 on PATH")
def test_library_fake_and_command_work_with_the_oldest_python(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "conversation.py"
    script.write_text(
        "from peerdata import testing\nfrom peerdata.guest import Guest\n"
        "with testing.Cloud() as cloud:\n"
        "    one, two = Guest(cloud.instance().url, state=''), Guest(cloud.instance().url, state='')\n"
        "    one.publish({'addr': '10.0.0.11'})\n"
        "    assert two.wait(1).peers[0].meta == {'addr': '10.0.0.11'}\n"
        "    assert one.join('db', 2).verdict == 'bootstrap'\n"
        "    one.formed('db', 1)\n"
        "    assert two.join('db', 2).verdict == 'join'\n"
    )
    done = subprocess.run(
        [OLD, str(script)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    with testing.Cloud() as cloud:
        one = cloud.instance()
        assert run(one, "publish", "--addresses", python=OLD).returncode == 0
        assert run(one, "peers", "--format", "hosts", python=OLD).stdout == f"127.0.0.1 {one.uuid}\n"
        assert "ok    identity" in run(one, "doctor", python=OLD).stdout
        done = run(one, "serve", python=OLD)
        assert (done.returncode, "Python 3.11 or later is needed" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "path",
    sorted([*(ROOT / "src/peerdata").glob("[gt]*/**/*.py"), ROOT / "src/peerdata/__main__.py"]),
    ids=lambda path: path.stem,
)
def test_the_code_of_the_guest_is_written_for_the_oldest_python(path: Path) -> None:
    """The grammar; that its names are there is seen where there is a python3.9."""
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


TOO_OLD = [name for name in ("python2.7", "python3.6", "python3.7", "python3.8") if there(name)]


@pytest.mark.parametrize("python", [*TOO_OLD, "pretended"])
@pytest.mark.parametrize("way", ["single file", "module"])
def test_a_python_that_is_too_old_reports_which_one_is_needed(single_file: Path, python: str, way: str) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    if python == "pretended":
        run = f"run_path({str(single_file)!r}" if way == "single file" else "run_module('peerdata'"
        code = f"import runpy, sys; sys.version_info = (3, 8, 18); runpy.{run}, run_name='__main__')"
        command, version = [sys.executable, "-c", code], "3.8"
    else:
        command = [python, *([str(single_file)] if way == "single file" else ["-m", "peerdata"]), "whoami"]
        version = python[len("python") :]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    message = f"peerdata needs Python 3.9 or later, this is {version}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_old_pythons_can_read_the_first_file() -> None:
    first = ast.parse((ROOT / "src/peerdata/__main__.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(first) if isinstance(node, (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign))]
    functions = [node for node in ast.walk(first) if isinstance(node, ast.FunctionDef)]
    assert functions
    assert not [node.name for node in functions if node.returns]


def test_the_example_of_the_library_runs(cloud: testing.Cloud, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "library.py")],
        env={**environment, "PEERDATA_URL": cloud.instance().url},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "bootstrap" in done.stdout
