"""What goes wrong inside: the store, and our own defects."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from peerdata import repeats
from peerdata.api.instance import REFUSED_BURST
from peerdata.service.board import Board
from peerdata.store import entries

from .conftest import ALICE, Build, Cloud, guest_of
from .conversation import Guest


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the store's write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_a_locked_store_is_a_503_and_recovers_by_itself(build: Build, bob: Guest, store_file: Path) -> None:
    alice = guest_of(await build(database={"busy_timeout": 0.05}), ALICE)
    await bob.publish("b=1", shared=True)
    with locked(store_file):
        refused = await alice.publish("a=1", shared=True)
        assert (refused.status, refused.code) == (503, "store.unavailable")
        assert len(await alice.shared_keys()) == 1  # reading goes on
    assert (await alice.publish("a=2", shared=True)).status == 200


async def test_a_refusal_that_cannot_be_kept_is_still_told(build: Build, store_file: Path) -> None:
    alice = guest_of(await build(database={"busy_timeout": 0.05}), ALICE)
    with locked(store_file):
        refused = await alice.post(b"{")
    assert (refused.status, refused.code) == (400, "body.not_json")
    assert (await alice.last_error())["code"] == "peerdata.body.not_json", "by the server that remembers it"


@pytest.mark.parametrize("path", ["shared.json", "peer_data.json", "peer_data/last_error.json", "meta_data.json"])
async def test_a_store_that_cannot_be_read_is_a_503_and_never_an_empty_list(
    alice: Guest, store_file: Path, path: str
) -> None:
    """G5."""
    await alice.publish("a=1", shared=True)
    await alice.get(path)
    with closing(sqlite3.connect(store_file)) as other:
        for table in ("project", "entry", "refusal"):
            other.execute(f"DROP TABLE {table}")
        other.commit()
    heard = await alice.get(path)
    assert (heard.status, heard.code) == (503, "store.unavailable")


async def test_a_defect_is_a_500_with_a_request_id_that_the_log_has_too(
    alice: Guest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object) -> NoReturn:
        raise ZeroDivisionError("between us")

    with monkeypatch.context() as broken:
        broken.setattr(entries, "_read_entries", break_down)
        heard = await alice.publish("a=s3cret", shared=True)
    assert (heard.status, heard.code) == (500, "server.error")
    request_id = heard.error["request_id"]
    assert re.fullmatch(r"req-[0-9a-f-]{36}", request_id)
    (record,) = (record for record in caplog.records if request_id in record.getMessage())
    assert record.levelname == "ERROR"
    assert record.exc_info
    assert "ZeroDivisionError" in caplog.text
    assert b"between us" not in heard.body
    assert "s3cret" not in record.getMessage()
    assert (await alice.publish("a=1", shared=True)).status == 200


async def test_a_defect_stores_nothing(
    alice: Guest, bob: Guest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_args: object, **_kwargs: object) -> NoReturn:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(entries, "_touch", break_down)  # after the entries were written
        assert (await alice.publish("a=1", shared=True)).status == 500
    assert await bob.shared_keys() == {}
    assert (await bob.get("peer_data.json")).json["revision"] == 0
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("path", ["shared.json", "peer_data.json"])
async def test_a_defect_in_an_answer_that_comes_at_once_has_a_request_id_too(
    alice: Guest, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    await alice.publish("a=1", shared=True)
    await alice.get(path)

    def break_down(*_args: object) -> NoReturn:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(Board, "shared_json", property(break_down))
        broken.setattr(Board, "news", break_down)
        heard = await alice.get(path)
    assert (heard.status, heard.code) == (500, "server.error")
    assert heard.error["request_id"]


async def test_an_instance_that_is_refused_again_and_again_has_a_few_lines(
    alice: Guest, bob: Guest, zoe: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    """And hides neither another reason nor another project."""
    caplog.set_level("INFO", logger="peerdata")
    for _ in range(100):
        await alice.get("shared.json", "x=1")
    await bob.get("peer_data.json", "since=x")
    await zoe.get("shared.json", "x=1")
    repeats.flush_all(at_end=True)
    told = [message for message in caplog.messages if "Refused" in message]
    assert sum(message.startswith("Refused instance") for message in told) == REFUSED_BURST + 2
    assert sum(message.startswith(f"{100 - REFUSED_BURST} more like it") for message in told) == 1
    assert {record.levelname for record in caplog.records if "Refused" in record.getMessage()} == {"INFO"}


async def test_while_the_store_is_away_refusals_of_all_projects_have_a_few_lines(
    alice: Guest, zoe: Guest, store_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="peerdata")
    repeats.flush_all(at_end=True)
    caplog.clear()
    await asyncio.to_thread(store_file.unlink)
    for guest in (alice, zoe):
        for _ in range(50):
            assert (await guest.publish("a=1")).status == 503
    repeats.flush_all(at_end=True)
    assert len(caplog.messages) == REFUSED_BURST + 1 + 1 + 1, caplog.messages


async def test_a_refusal_is_logged_with_instance_project_and_reason(
    alice: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="peerdata")
    await alice.publish("a=s3cret")
    await alice.publish("a=0ther")
    (record,) = (record for record in caplog.records if "Refused" in record.getMessage())
    assert ALICE in record.getMessage()
    assert "blue" in record.getMessage()
    assert "'a'" in record.getMessage()
    assert "s3cret" not in caplog.text
    assert "0ther" not in caplog.text


async def test_what_a_guest_sends_cannot_begin_a_line_of_the_log(
    alice: Guest, stranger: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="peerdata")
    await alice.ask("POST", "/openstack/latest/metadata?meta.a%0Ab%1b[31m=v")
    await alice.ask("POST", "/openstack/latest/metadata?x%0d%0ay=v")
    await alice.ask("POST", "/openstack/latest/metadata?shared=%0A")
    await alice.post(b'{"meta": {"k": "v"}, "\\nx": 1}')
    assert caplog.records
    for record in caplog.records:
        assert record.getMessage().isprintable()


# The operator's listener


async def operator(build: Build) -> Guest:
    parts = await build()
    return Guest(parts.operators, "")


async def test_health_readiness_and_metrics(build: Build) -> None:
    guest = await operator(build)
    assert (await guest.ask("GET", "/healthz")).json == {"alive": True}
    ready = await guest.ask("GET", "/readyz")
    assert (ready.status, ready.json) == (200, {"ready": True, "store": True})
    metrics = await guest.ask("GET", "/metrics")
    assert b"peerdata_requests_total" in metrics.body
    assert (await guest.ask("HEAD", "/healthz")).status == 200


async def test_readiness_says_what_is_away(build: Build, behind_nova: Cloud, store_file: Path) -> None:
    guest = Guest(behind_nova.parts.operators, "")
    assert (await guest.ask("GET", "/readyz")).json == {"ready": True, "store": True, "nova": True}
    await behind_nova.nova.close()
    heard = await guest.ask("GET", "/readyz")
    assert (heard.status, heard.json) == (503, {"ready": False, "store": True, "nova": False})
    with closing(sqlite3.connect(store_file)) as other:
        other.execute("DROP TABLE entry")
        other.commit()
    assert (await guest.ask("GET", "/readyz")).json == {"ready": False, "store": False, "nova": False}
    assert (await guest.ask("GET", "/healthz")).status == 200


async def test_the_operators_listener_answers_nothing_else(build: Build) -> None:
    guest = await operator(build)
    assert (await guest.ask("POST", "/healthz")).status == 400
    for target in ("/", "/openstack/latest/shared.json", "/metrics/x"):
        assert (await guest.ask("GET", target)).status == 404


async def test_instances_do_not_reach_what_is_the_operators(alice: Guest) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await alice.ask("GET", path)).code == "path.unknown"
