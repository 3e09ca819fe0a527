# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A schema upgrade under running servers of the version before: nothing that they do fails, and both versions serve.

The version before is the last whose schema is `migrate.OLDEST`, taken from the history.
"""

import io
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from peerdata.store import migrate
from tests.databases.server import Server
from tests.live.service import BLUE, Service

ROOT = Path(__file__).parents[2]
BEFORE = "2dc2f16"
"""A commit whose newest schema is 0003."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, cannot: Callable[[str], None]) -> Path:
    """The source of the version before, to be put in front of this one's."""
    archive = subprocess.run(["git", "archive", BEFORE, "src"], cwd=ROOT, capture_output=True)
    if archive.returncode:
        cannot(f"the history does not reach back to {BEFORE}: {archive.stderr.decode()}")
    place = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(place, filter="data")
    if not find_spec("httpcore"):  # it was imported, and is not used without a nova
        (place / "src" / "httpcore.py").write_text("def __getattr__(name):\n    return type(name, (Exception,), {})\n")
    return place / "src"


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store that is not made yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/peerdata.sqlite"
    server: Server = request.getfixturevalue(request.param)
    server.mend()
    return server.new_database()


class Versions:
    """A server of the version before and one of this, on one store; neither is started."""

    def __init__(self, directory: Path, url: str, before: Path) -> None:
        sections = {"database": {"connection": url.replace("$", "$$")}}
        self.new = Service(directory, sections)
        self.old = Service(directory, sections | {"instance_api": {"drain": None}})  # an option that it does not know
        self.old.environment["PYTHONPATH"] = str(before)

    def run_old(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = self.old.command(*words)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.old.environment)


@pytest.fixture
def versions(tmp_path: Path, url: str, before: Path) -> Iterator[Versions]:
    versions = Versions(tmp_path, url, before)
    yield versions
    versions.old.end()
    versions.new.end()


def test_the_schema_is_upgraded_under_the_version_before_and_both_serve(versions: Versions) -> None:
    old, new = versions.old, versions.new
    assert versions.run_old("db", "upgrade").stdout == f"the store has schema {migrate.OLDEST}\n"
    old.start()
    # This version does not start on the schema of before, and says what to do.
    refused = new.run("serve")
    assert (refused.returncode, "run `peerdata db upgrade`" in refused.stderr) == (2, True)

    statuses: list[int] = []
    stop = threading.Event()

    def publish_for_ever() -> None:
        while not stop.is_set():
            statuses.append(old.publish("127.0.0.11", **{f"during{len(statuses)}": "1"}).status)

    publishing = threading.Thread(target=publish_for_ever)
    publishing.start()
    try:
        upgraded = new.run("db", "upgrade")
        assert upgraded.returncode == 0, upgraded.stderr
        assert migrate.newest() in upgraded.stdout
        new.start()
        both_serve(old, new)
    finally:
        stop.set()
        publishing.join()
    assert set(statuses[:120]) == {200}  # then its quota is full
    assert new.shared() == old.shared()

    old.kill()
    assert new.publish("127.0.0.15", after="1").status == 200
    assert set(new.shared()) == {BLUE[f"127.0.0.{number}"] for number in (11, 12, 13, 15, 16, 17)}


def both_serve(old: Service, new: Service) -> None:
    """What is done through one is seen through the other, and they decide alike."""
    for number in range(10):
        assert old.publish("127.0.0.12", **{f"k{number}": "old"}).status == 200
        assert f"from_server_k{number}" in new.shared()[BLUE["127.0.0.12"]]
        assert new.publish("127.0.0.13", **{f"k{number}": "new"}).status == 200
        assert f"from_server_k{number}" in old.shared()[BLUE["127.0.0.13"]]
    for here, there in ((old, new), (new, old)):
        taken = there.publish("127.0.0.12" if here is old else "127.0.0.13", k0="other")
        assert (taken.status, taken.json["error"]["code"]) == (409, "peerdata.key.taken")
        reason = here.ask("127.0.0.12" if here is old else "127.0.0.13", "GET", "peer_data/last_error.json")
        assert reason.json["error"]["code"] == "peerdata.key.taken"
    first = old.ask("127.0.0.16", "POST", "cluster/db.json?size=2&meta.db_addr=10.0.0.16").json
    second = new.ask("127.0.0.17", "POST", "cluster/db.json?size=2&meta.db_addr=10.0.0.17").json
    assert (first["verdict"], second["verdict"]) == ("bootstrap", "wait")
    assert new.ask("127.0.0.16", "POST", f"cluster/db/formed?term={first['term']}").status == 200
    assert old.ask("127.0.0.17", "POST", "cluster/db.json?size=2").json["verdict"] == "join"
    revision = old.ask("127.0.0.18", "GET", "peer_data.json").json["revision"]
    assert new.ask("127.0.0.18", "GET", f"peer_data.json?since={revision}").json["full"] is False


def test_an_upgrade_that_is_done_twice_and_an_old_one_that_comes_late_change_nothing(versions: Versions) -> None:
    assert versions.new.run("db", "upgrade").returncode == 0
    assert versions.run_old("db", "upgrade").returncode == 2
    assert versions.new.run("db", "upgrade").returncode == 0
    assert migrate.newest() in versions.new.run("db", "current").stdout
