"""The last refusal can be read again, because neutron's old agents put a page of their own in its place."""

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import Connection

from peerdata import app
from peerdata.app import Parts
from peerdata.errors import PeerdataError
from peerdata.model import Instance, Refusal
from peerdata.service import refusals as service
from peerdata.settings import Settings
from peerdata.store import refusals as store

from .conftest import ALICE, Build, guest_of
from .conversation import Guest


async def test_who_was_never_refused_reads_null(alice: Guest) -> None:
    await alice.publish("a=1")
    heard = await alice.get("peer_data/last_error.json")
    assert heard.json == {"error": None}


async def test_a_refusal_is_told_again_with_its_time_and_its_call(alice: Guest) -> None:
    before = int(time.time())
    await alice.publish("leader=alice", shared=True)
    refused = await alice.publish("leader=other", shared=True)
    again = await alice.last_error()
    assert {name: again[name] for name in refused.error} == refused.error
    assert set(again) - set(refused.error) == {"time", "call"}
    assert again["call"] == "POST /openstack/latest/metadata"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", again["time"])
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before)) <= again["time"]


async def test_the_query_with_its_values_is_not_kept(alice: Guest) -> None:
    await alice.publish("a=1")
    await alice.publish("a=s3cret")
    assert "s3cret" not in str(await alice.last_error())


async def test_the_last_one_counts_and_success_does_not_clear_it(alice: Guest) -> None:
    await alice.post(b"{")
    await alice.ask("PUT", "/openstack/latest/shared.json")
    assert (await alice.publish("a=1", shared=True)).status == 200
    await alice.get("shared.json")
    again = await alice.last_error()
    assert again["code"] == "peerdata.method.unsupported"
    assert again["call"] == "PUT /openstack/latest/shared.json"


async def test_each_instance_sees_its_own(alice: Guest, bob: Guest, zoe: Guest) -> None:
    await alice.post(b"{")
    await zoe.post(b"[]")
    assert (await alice.last_error())["code"] == "peerdata.body.not_json"
    assert (await zoe.last_error())["code"] == "peerdata.body.not_object"
    assert await bob.last_error() is None


async def test_asking_for_it_wrongly_does_not_overwrite_it(alice: Guest) -> None:
    await alice.post(b"{")
    for heard in (
        await alice.get("peer_data/last_error.json", "x=y"),
        await alice.ask("POST", "/openstack/latest/peer_data/last_error.json"),
        await alice.ask("DELETE", "/openstack/latest/peer_data/last_error.json"),
    ):
        assert heard.status == 400
    assert (await alice.last_error())["code"] == "peerdata.body.not_json"


async def test_a_caller_whose_identity_was_refused_has_none(alice: Guest, stranger: Guest) -> None:
    await stranger.post(b"{")
    refused = await stranger.get("peer_data/last_error.json")
    assert (refused.status, refused.code) == (404, "identity.unknown")
    assert await alice.last_error() is None


async def test_it_can_be_read_through_another_server(build: Build, alice: Guest) -> None:
    await alice.post(b"{")
    assert (await guest_of(await build(), ALICE).last_error())["code"] == "peerdata.body.not_json"


WINDOW_S = service.WINDOW_S


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that were refused, as they are written to the store from now on."""
    written: list[str] = []
    remember_all = store.remember_all

    def count(connection: Connection, refused: Sequence[tuple[Instance, Refusal]]) -> list[None]:
        written.extend(refusal.call for _, refusal in refused)
        return remember_all(connection, refused)

    monkeypatch.setattr(store, "remember_all", count)
    return written


async def test_however_often_an_instance_is_refused_the_store_is_written_to_once_a_second(
    build: Build, api: Parts, alice: Guest, bob: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last is told at once by the server that refused it, and by all once its window has ended."""
    monkeypatch.setattr(service, "WINDOW_S", 1000.0)
    assert service.AT_ONCE + 1 <= WINDOW_S
    written = count_writes(monkeypatch)
    for number in range(100):
        await alice.ask("POST", f"/openstack/latest/cluster/{number}.json")
        assert (await alice.last_error())["call"].endswith(f"/{number}.json")
    assert len(written) == service.AT_ONCE
    await bob.post(b"{")
    assert len(written) == service.AT_ONCE + 1, "each instance by itself"
    elsewhere = guest_of(await build(), ALICE)
    assert (await elsewhere.last_error())["call"].endswith("/3.json")
    api.instances._refusals._end_window()
    until = time.monotonic() + 10
    while not (await elsewhere.last_error())["call"].endswith("/99.json"):
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    assert len(written) == service.AT_ONCE + 2
    await alice.ask("POST", "/openstack/latest/cluster/anew.json")
    assert (await elsewhere.last_error())["call"].endswith("/anew.json")


async def test_a_refusal_for_which_the_store_has_no_time_is_told_all_the_same(
    alice: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PATIENCE_S", 0.0)
    await alice.post(b"{")
    assert (await alice.last_error())["code"] == "peerdata.body.not_json"


async def test_a_refusal_that_is_not_written_yet_is_when_the_service_stops(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        alice = guest_of(await app.build(settings, stack), ALICE)
        for number in range(10):
            await alice.ask("POST", f"/openstack/latest/cluster/{number}.json")
    async with AsyncExitStack() as stack:
        alice = guest_of(await app.build(settings, stack), ALICE)
        assert (await alice.last_error())["call"].endswith("/9.json")


async def test_path_of_the_call_is_told_normalised(alice: Guest) -> None:
    await alice.ask("POST", "/openstack//2018-08-27/x/../metadata/?x=y")
    assert (await alice.last_error())["call"] == "POST /openstack/2018-08-27/metadata"


@pytest.mark.parametrize("over", ["instance", "project"])
async def test_a_full_quota_is_told_again_with_its_limit(alice: Guest, bob: Guest, over: str) -> None:
    await bob.publish(*(f"k{number}=1" for number in range(8)))
    refused = await alice.publish(*(f"k{number}=1" for number in range(9 if over == "instance" else 5)))
    again = await alice.last_error()
    assert (again["scope"], again["limit"]) == (over, refused.error["limit"])


async def test_a_malformed_request_has_an_answer_of_the_same_form(api: Parts) -> None:
    """What never reaches a handler is refused by the same table."""
    answer = api.instances.refuse(PeerdataError("x"))
    assert answer.status == 500
    assert answer.body == b'{"error":{"code":"peerdata.server.error","message":"x"}}\n'


async def test_a_path_that_cannot_be_printed_reaches_neither_the_log_nor_the_page_as_it_is(
    alice: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    """A guest would forge lines of the operator's log, or fill it."""
    with caplog.at_level("INFO"):
        await alice.ask("POST", "/openstack/latest/cluster/x%0a2026-11-22%20ERROR%20forged%1b%5B31m.json?size=1")
        await alice.ask("POST", f"/openstack/latest/cluster/{'x' * 5000}.json?size=1")
    refused = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Refused instance")]
    assert len(refused) == 2
    assert all(text.isprintable() and len(text) < 1000 for text in refused)
    call = (await alice.get("peer_data/last_error.json")).json["error"]["call"]
    assert len(call) < 500
