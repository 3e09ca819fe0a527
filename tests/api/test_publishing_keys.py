"""Publishing, as instances live it: once, whole, private or shared; stand-alone, where nobody else has a say."""

import asyncio
import json

import pytest

from peerdata.app import Parts

from .conftest import ALICE, BOB, Build, guest_of
from .conversation import Guest


async def test_a_private_key_is_answered_in_the_whole_document_and_seen_by_nobody_else(
    alice: Guest, bob: Guest
) -> None:
    heard = await alice.publish("token=s3cret")
    assert heard.status == 200
    assert heard.content_type == b"application/json; charset=utf-8"
    assert heard.json["uuid"] == ALICE
    assert heard.json["hostname"] == "alice.example.org"
    assert heard.meta == {"role": "web", "from_server_owned": "by the owner", "from_server_token": "s3cret"}
    assert (await alice.get("meta_data.json")).meta == heard.meta
    assert await bob.shared_keys() == {}
    assert "from_server_token" not in (await bob.get("meta_data.json")).meta


async def test_a_shared_key_is_seen_by_every_instance_of_the_project_and_by_no_other(
    alice: Guest, bob: Guest, zoe: Guest
) -> None:
    assert (await alice.publish("etcd_addr=10.0.0.1:2380", shared=True)).status == 200
    expected = {ALICE: {"from_server_etcd_addr": "10.0.0.1:2380"}}
    assert await alice.shared_keys() == expected
    assert await bob.shared_keys() == expected
    assert await zoe.shared_keys() == {}
    assert (await zoe.get("peer_data.json")).json["revision"] == 0


async def test_a_body_says_the_same_as_parameters(alice: Guest, bob: Guest) -> None:
    by_body = await alice.post({"meta": {"a b": "c+d & ü🙂", "empty": ""}}, "shared=project")
    by_parameters = await bob.publish("a b=c+d & ü🙂", "empty=", shared=True)
    assert by_body.status == by_parameters.status == 200
    shared = await alice.shared_keys()
    assert shared[ALICE] == shared[BOB] == {"from_server_a b": "c+d & ü🙂", "from_server_empty": ""}


async def test_a_guest_that_lost_the_answer_asks_again(alice: Guest) -> None:
    first = await alice.publish("a=1", "b=2", shared=True)
    again = await alice.publish("a=1", "b=2", shared=True)
    in_other_order_by_body = await alice.post({"meta": {"b": "2", "a": "1"}}, "shared=project")
    one_of_them = await alice.publish("b=2", shared=True)
    assert first.status == again.status == in_other_order_by_body.status == one_of_them.status == 200
    assert first.meta == again.meta == one_of_them.meta
    assert (await alice.get("peer_data.json")).json["revision"] == 1


@pytest.mark.parametrize(
    ("pairs", "shared"),
    [
        (["leader=other"], True),
        (["leader=alice"], False),
        (["leader="], True),
        (["aaa=new", "leader=other", "zzz=new"], True),
    ],
)
async def test_a_key_is_set_once_and_a_call_that_meets_it_stores_nothing(
    alice: Guest, bob: Guest, pairs: list[str], shared: bool
) -> None:
    await alice.publish("leader=alice", shared=True)
    refused = await alice.publish(*pairs, shared=shared)
    assert refused.status == 409
    assert refused.code == "key.taken"
    assert refused.error["key"] == "leader"
    assert await bob.shared_keys() == {ALICE: {"from_server_leader": "alice"}}
    assert set((await alice.get("meta_data.json")).meta) == {"role", "from_server_owned", "from_server_leader"}
    assert (await bob.get("peer_data.json")).json["revision"] == 1


async def test_the_same_key_of_two_instances_is_two_keys(alice: Guest, bob: Guest) -> None:
    await alice.publish("addr=1", shared=True)
    assert (await bob.publish("addr=2", shared=True)).status == 200
    assert await alice.shared_keys() == {ALICE: {"from_server_addr": "1"}, BOB: {"from_server_addr": "2"}}


async def test_what_the_owner_set_counts_as_set_unshared(alice: Guest, bob: Guest) -> None:
    other_value = await alice.publish("owned=mine")
    shared = await alice.publish("owned=by the owner", shared=True)
    same = await alice.publish("owned=by the owner")
    assert (other_value.status, shared.status, same.status) == (409, 409, 200)
    assert "owner" in other_value.error["message"]
    assert await bob.shared_keys() == {}
    assert (await bob.publish("owned=mine")).status == 200  # bob's owner set nothing


@pytest.mark.parametrize("version", ["2012-08-10", "2013-10-17", "2018-08-27", "2025-04-04", "latest"])
async def test_every_version_can_publish_and_answers_with_its_own_document(
    alice: Guest, bob: Guest, version: str
) -> None:
    heard = await alice.publish("a=1", shared=True, version=version)
    assert heard.meta["from_server_a"] == "1"
    assert ("project_id" in heard.json) == (version >= "2015-10-15")
    assert ("random_seed" in heard.json) == (version >= "2013-04-04")
    assert BOB not in await bob.shared_keys()


async def test_quotas_of_instance_and_project_refuse_the_whole_call(
    alice: Guest, bob: Guest, carol: Guest, zoe: Guest
) -> None:
    """8 keys an instance, 12 a project."""
    await alice.publish(*(f"k{number}=1" for number in range(6)), shared=True)
    refused = await alice.publish("x=1", "y=1", "z=1")
    assert refused.status == 413
    assert refused.code == "quota.reached"
    assert (refused.error["scope"], refused.error["limit"]) == ("instance", 8)
    assert (await alice.publish("x=1", "y=1")).status == 200
    assert (await alice.publish("x=1", "y=1")).status == 200  # the same again is not more
    refused = await bob.publish(*(f"k{number}=1" for number in range(5)))
    assert (refused.status, refused.error["scope"], refused.error["limit"]) == (413, "project", 12)
    assert (await bob.publish(*(f"k{number}=1" for number in range(4)))).status == 200
    assert (await carol.publish("one=1")).status == 413
    assert (await zoe.publish("one=1")).status == 200


async def test_quotas_of_bytes_refuse_the_whole_call_and_say_which_it_is(build: Build) -> None:
    parts = await build(limits={"max_bytes_per_instance": 1024, "max_bytes_per_project": 1500})
    alice, bob = guest_of(parts, ALICE), guest_of(parts, BOB)
    long = "v" * 250
    assert (await alice.publish(*(f"key-{number}={long}" for number in range(4)), shared=True)).status == 200  # 1020
    refused = await alice.publish("k=1234", shared=True)
    assert (refused.status, refused.code) == (413, "quota.reached")
    assert (refused.error["scope"], refused.error["limit"]) == ("instance_bytes", 1024)
    assert "1020 bytes and may have 1024: 5 more" in refused.error["message"]
    assert (await alice.publish("k=123", shared=True)).status == 200
    refused = await bob.publish("a=1", *(f"key-{number}={long}" for number in range(2)))
    assert (refused.status, refused.error["scope"], refused.error["limit"]) == (413, "project_bytes", 1500)
    assert (await bob.publish("a=1", f"key-0={long}")).status == 200


async def test_a_key_that_is_set_is_reported_before_a_full_quota(alice: Guest) -> None:
    await alice.publish(*(f"k{number}=1" for number in range(8)))
    refused = await alice.publish("k0=other", *(f"x{number}=1" for number in range(8)))
    assert refused.status == 409


async def test_the_longest_keys_and_values_come_through_whole(alice: Guest, bob: Guest) -> None:
    key, value = "k" * 243, "ü" * 255
    assert (await alice.publish(f"{key}={value}", shared=True)).status == 200
    assert await bob.shared_keys() == {ALICE: {f"from_server_{key}": value}}


async def test_of_many_calls_at_once_exactly_one_wins_and_its_whole_call(alice: Guest, build: Build) -> None:
    """G1, through two servers on one store."""
    others = [guest_of(await build(), ALICE) for _ in range(2)]
    heard = await asyncio.gather(
        *(others[number % 2].publish(f"leader={number}", f"of={number}", shared=True) for number in range(20))
    )
    assert sorted(one.status for one in heard) == [200] + [409] * 19
    (winner,) = (number for number, one in enumerate(heard) if one.status == 200)
    assert await alice.shared_keys() == {ALICE: {"from_server_leader": str(winner), "from_server_of": str(winner)}}


async def test_of_two_that_publish_and_then_read_at_least_one_sees_the_other(alice: Guest, bob: Guest) -> None:
    """G3: the reason why read-your-writes is worth its price."""

    async def publish_and_read(guest: Guest) -> set[str]:
        await guest.publish("here=1", shared=True)
        return set(await guest.shared_keys())

    seen_by_alice, seen_by_bob = await asyncio.gather(publish_and_read(alice), publish_and_read(bob))
    assert ALICE in seen_by_alice
    assert BOB in seen_by_bob
    assert BOB in seen_by_alice or ALICE in seen_by_bob


async def test_a_value_is_never_taken_for_an_instruction(alice: Guest, bob: Guest) -> None:
    nasty = [
        '"},{"uuid":"x',
        "'; DROP TABLE entry; --",
        "${state_path}",
        "{{7*7}}",
        "%s%n",
        "../../etc/passwd",
        "\r\nX: y",
    ]
    meta = {f"k{number}": value for number, value in enumerate(nasty)}
    assert (await alice.post({"meta": meta}, "shared=project")).status == 200
    assert list((await bob.shared_keys())[ALICE].values()) == nasty


async def test_the_author_is_who_asks_and_nothing_in_the_body(alice: Guest, bob: Guest) -> None:
    """G10."""
    refused = await alice.post({"meta": {"a": "1"}, "uuid": BOB}, "shared=project")
    assert (refused.status, refused.code) == (400, "body.member_unknown")
    await alice.post({"meta": {"uuid": BOB}}, "shared=project")
    assert await bob.shared_keys() == {ALICE: {"from_server_uuid": BOB}}


async def test_revisions_grow_by_one_with_each_accepted_call_and_never_else(alice: Guest, bob: Guest) -> None:
    async def revision() -> int:
        found: int = (await bob.get("peer_data.json")).json["revision"]
        return found

    seen = [await revision()]
    for call in (
        alice.publish("a=1", "b=1", shared=True),
        alice.publish("a=1", shared=True),
        alice.publish("a=2", shared=True),
        alice.publish("private=1"),
        alice.post(b"{"),
        bob.publish("a=1", shared=True),
        bob.get("meta_data.json"),
    ):
        await call
        seen.append(await revision())
    assert seen == [0, 1, 1, 1, 2, 2, 3, 3]


async def test_documents_and_lists_are_valid_json_whatever_was_published(api: Parts, alice: Guest, bob: Guest) -> None:
    strange = '\u2028\u2029\x7f\u200f\ufeff"\\/<script>&'
    await alice.post({"meta": {"k": strange}}, "shared=project")
    assert json.loads((await bob.get("shared.json")).body)[0]["meta"]["from_server_k"] == strange
    assert (await alice.get("meta_data.json")).meta["from_server_k"] == strange
    peer = (await bob.get("peer_data.json")).json["peers"][0]
    assert peer["meta"]["from_server_k"] == strange
