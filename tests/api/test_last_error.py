"""The last refusal can be read again, because neutron's old agents put a page of their own in its place."""

import re
import time

import pytest

from peerdata.app import Parts
from peerdata.errors import PeerdataError

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
    assert answer.body == b'{"error":{"code":"peerdata.server.error","message":"x"}}'
