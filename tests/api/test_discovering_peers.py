"""Reading what others share: shared.json for people and shell, peer_data.json for programs that follow."""

import json
from asyncio import ensure_future
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from peerdata.app import Parts
from peerdata.cli import main
from peerdata.httpd.messages import Answer, Request
from peerdata.settings import Settings

from .conftest import ALICE, BOB, CAROL, Build, guest_of
from .conversation import Guest, Heard


async def test_nothing_shared_is_an_empty_list(alice: Guest) -> None:
    await alice.publish("private=1")
    heard = await alice.get("shared.json")
    assert (heard.status, heard.body) == (200, b"[]\n")
    assert heard.content_type == b"application/json; charset=utf-8"


async def test_peers_stand_in_the_order_in_which_they_first_shared_the_caller_included(
    alice: Guest, bob: Guest, carol: Guest
) -> None:
    await carol.publish("private=1")
    await bob.publish("b=1", shared=True)
    await carol.publish("c=1", shared=True)
    await alice.publish("a=1", shared=True)
    await bob.publish("b2=1", shared=True)
    for guest in (alice, bob, carol):
        assert list(await guest.shared_keys()) == [BOB, CAROL, ALICE]


async def test_shared_json_is_compact_with_keys_in_alphabetical_order(alice: Guest) -> None:
    await alice.publish("b=2", "a=ü", shared=True)
    heard = await alice.get("shared.json")
    assert heard.body == f'[{{"meta":{{"from_server_a":"ü","from_server_b":"2"}},"uuid":"{ALICE}"}}]\n'.encode()


@pytest.mark.parametrize("version", ["latest", "2012-08-10", "2025-04-04"])
async def test_every_version_shows_the_same(alice: Guest, version: str) -> None:
    await alice.publish("a=1", shared=True)
    assert (await alice.get("shared.json", version=version)).json == (await alice.get("shared.json")).json
    assert (await alice.get("peer_data.json", version=version)).json["revision"] == 1


async def test_a_full_read_tells_everything_for_programs(alice: Guest, bob: Guest) -> None:
    await bob.publish("b=1", shared=True)
    await alice.publish("a=1", shared=True)
    await bob.publish("b2=2", shared=True)
    heard = (await alice.get("peer_data.json")).json
    assert 1 <= heard.pop("poll_after_s") <= 40
    assert heard == {
        "revision": 3,
        "full": True,
        "self": ALICE,
        "peers": [
            {"uuid": BOB, "revision": 3, "joined": 1, "meta": {"from_server_b": "1", "from_server_b2": "2"}},
            {"uuid": ALICE, "revision": 2, "joined": 2, "meta": {"from_server_a": "1"}},
        ],
        "removed": [],
    }


async def test_the_members_stand_in_the_order_of_the_documentation(alice: Guest) -> None:
    assert list((await alice.get("peer_data.json")).json) == [
        "revision",
        "full",
        "self",
        "poll_after_s",
        "peers",
        "removed",
    ]


async def test_since_tells_only_what_changed(alice: Guest, bob: Guest) -> None:
    await alice.publish("a=1", shared=True)
    await bob.publish("b=1", shared=True)
    await alice.publish("private=1")
    told = {}
    for since in range(4):
        heard = (await bob.get("peer_data.json", f"since={since}")).json
        assert (heard["revision"], heard["full"], heard["removed"]) == (3, False, [])
        told[since] = [peer["uuid"] for peer in heard["peers"]]
    assert told == {0: [ALICE, BOB], 1: [BOB], 2: [], 3: []}


async def test_a_revision_from_the_future_is_answered_in_full(alice: Guest) -> None:
    await alice.publish("a=1", shared=True)
    for since in (2, 2**63 - 1):
        heard = (await alice.get("peer_data.json", f"since={since}")).json
        assert heard["full"]
        assert [peer["uuid"] for peer in heard["peers"]] == [ALICE]


async def test_prefix_tells_only_keys_that_begin_so_and_instances_that_have_one(alice: Guest, bob: Guest) -> None:
    await alice.publish("etcd_a=1", "etcd_b=2", "etc=3", "serf=4", shared=True)
    await bob.publish("serf=5", shared=True)
    heard = (await bob.get("peer_data.json", "prefix=etcd_")).json
    assert [(peer["uuid"], peer["meta"]) for peer in heard["peers"]] == [
        (ALICE, {"from_server_etcd_a": "1", "from_server_etcd_b": "2"})
    ]
    assert heard["revision"] == 2
    everybody = (await bob.get("peer_data.json", "prefix=")).json
    assert len(everybody["peers"]) == 2
    assert (await bob.get("peer_data.json", "prefix=nothing&since=0")).json["peers"] == []


async def test_wait_is_accepted_and_answers_at_once(alice: Guest) -> None:
    """Off unless the operator turns it on, which this version cannot."""
    for wait in ("0", "10", "2.5"):
        heard = await alice.get("peer_data.json", f"since=0&wait={wait}")
        assert (heard.status, heard.json["revision"]) == (200, 0)


async def follow(guest: Guest, known: dict[str, Any], query: str) -> int:
    """One answer applied to what is *known*, as the documentation says; gives the revision."""
    heard = (await guest.get("peer_data.json", query)).json
    if heard["full"]:
        known.clear()
    for uuid in heard["removed"]:
        known.pop(uuid, None)
    known.update({peer["uuid"]: peer for peer in heard["peers"]})
    revision: int = heard["revision"]
    return revision


@pytest.mark.parametrize("prefix", ["", "etcd_"])
async def test_a_follower_knows_what_a_full_read_says_through_removals_and_returns(
    alice: Guest, bob: Guest, carol: Guest, settings: Settings, tmp_path: Any, prefix: str
) -> None:
    """G6; the removals are made by the operator's command, beside the running service."""
    config = tmp_path / "peerdata.conf"
    config.write_text(
        f"[database]\nconnection = {settings.database.connection}\n"
        f"[identity]\ninventory_file = {settings.identity.inventory_file}\n"
    )

    def remove(uuid: str) -> None:
        assert main(["instance", "remove", uuid, "--config-file", str(config)]) == 0

    known: dict[str, Any] = {}
    since = await follow(carol, known, f"prefix={prefix}")
    steps: list[Any] = [
        lambda: alice.publish("etcd_a=1", shared=True),
        lambda: bob.publish("serf=1", shared=True),
        lambda: alice.publish("serf=1", shared=True),
        lambda: remove(ALICE),
        lambda: alice.publish("etcd_a=2", shared=True),
        lambda: remove(BOB),
        lambda: remove(ALICE),
        lambda: alice.publish("serf=3", shared=True),
        lambda: bob.publish("private=1"),
        lambda: remove(BOB),
    ]
    for number, step in enumerate(steps):
        done = step()
        if done is not None:
            assert (await done).status == 200
        if number % 3:  # some changes are learned together
            since = await follow(carol, known, f"since={since}&prefix={prefix}")
            whole: dict[str, Any] = {}
            assert await follow(carol, whole, f"prefix={prefix}") == since
            assert known == whole
    since = await follow(carol, known, f"since={since}&prefix={prefix}")
    assert since == len(steps)
    assert set(known) == ({ALICE} if not prefix else set())


async def test_who_was_removed_may_publish_anew(alice: Guest, bob: Guest, settings: Settings, tmp_path: Any) -> None:
    config = tmp_path / "peerdata.conf"
    config.write_text(
        f"[database]\nconnection = {settings.database.connection}\n"
        f"[identity]\ninventory_file = {settings.identity.inventory_file}\n"
    )
    await alice.publish("a=1", shared=True)
    await alice.publish("private=1")
    assert main(["instance", "remove", ALICE, "--config-file", str(config)]) == 0
    assert (await bob.get("peer_data.json", "since=1")).json["removed"] == [ALICE]
    assert "from_server_private" not in (await alice.get("meta_data.json")).meta
    assert (await alice.publish("a=2", shared=True)).status == 200
    heard = (await bob.get("peer_data.json", "since=1")).json
    assert heard["removed"] == []
    assert [peer["meta"] for peer in heard["peers"]] == [{"from_server_a": "2"}]


def answered_at_once(guest: Guest, target: str, method: str = "GET") -> bytes | None:
    """The body, where nobody had to be waited for."""
    answer = guest.service.respond(Request(method, target.encode(), guest.headers, b"", None, guest.client))
    if isinstance(answer, Answer):
        assert isinstance(answer.body, bytes)
        return answer.body
    ensure_future(answer).cancel()
    return None


SHARED = "/openstack/latest/shared.json"


async def test_while_nobody_publishes_reads_are_answered_at_once_and_the_same(alice: Guest, bob: Guest) -> None:
    await alice.publish("a=1", "b=2", shared=True)
    for target in (SHARED, "/openstack/latest/peer_data.json", "/openstack/latest/peer_data.json?since=0&prefix=a"):
        later = (await bob.ask("HEAD", target)).body  # the longer way
        at_once = answered_at_once(bob, target)
        assert at_once is not None
        later_json, at_once_json = json.loads(later), json.loads(at_once)
        for told in (later_json, at_once_json):
            if isinstance(told, dict):
                del told["poll_after_s"]
        assert later_json == at_once_json


async def test_whatever_anybody_commits_the_next_read_asks_the_store(
    alice: Guest, bob: Guest, zoe: Guest, build: Build
) -> None:
    """G3: also what another server commits, and what concerns another project."""
    elsewhere = guest_of(await build(), ALICE)
    await bob.publish("here=1", shared=True)
    commits: list[Callable[[], Awaitable[Heard]]] = [
        lambda: alice.publish("a=1", shared=True),
        lambda: elsewhere.publish("b=1", shared=True),
        lambda: zoe.publish("z=1", shared=True),
        lambda: elsewhere.publish("private=1"),
    ]
    for commit in commits:
        await bob.get("shared.json")
        assert answered_at_once(bob, SHARED) is not None
        assert (await commit()).status == 200
        assert answered_at_once(bob, SHARED) is None
    assert (await bob.shared_keys())[ALICE] == {"from_server_a": "1", "from_server_b": "1"}


async def test_a_project_in_which_nobody_shares_yet_is_answered_at_once_too(bob: Guest) -> None:
    """It is the one that is asked most: everybody waits for the first."""
    await bob.get("shared.json")
    assert answered_at_once(bob, SHARED) == b"[]\n"


async def test_what_was_not_asked_before_or_is_wrong_is_not_answered_at_once(
    alice: Guest, bob: Guest, stranger: Guest, zoe: Guest
) -> None:
    await alice.publish("a=1", shared=True)
    await bob.get("shared.json")
    assert answered_at_once(zoe, SHARED) is None  # of a project that nobody has read
    assert answered_at_once(stranger, SHARED) is None
    assert answered_at_once(bob, SHARED + "?x=y") is None
    assert answered_at_once(bob, SHARED, "PUT") is None
    refused = await bob.get("shared.json", "x=y")
    assert refused.code == "parameter.unknown"
    assert (await bob.last_error())["code"] == "peerdata.parameter.unknown"  # told, and kept


async def test_callers_are_not_told_to_come_back_in_step(alice: Guest) -> None:
    paces = {(await alice.get("peer_data.json")).json["poll_after_s"] for _ in range(20)}
    assert len(paces) > 5


async def test_what_one_server_answered_200_another_shows_at_once(build: Build) -> None:
    """G3."""
    one, other = await build(), await build()
    for number in range(5):
        assert (await guest_of(one, ALICE).publish(f"k{number}=1", shared=True)).status == 200
        seen = (await guest_of(other, BOB).get("peer_data.json", f"since={number}")).json
        assert (seen["revision"], seen["full"]) == (number + 1, False)
        assert f"from_server_k{number}" in seen["peers"][0]["meta"]
        assert f"from_server_k{number}" in (await guest_of(other, ALICE).get("meta_data.json")).meta


@pytest.mark.parametrize("path", ["shared.json", "peer_data.json", "peer_data/last_error.json", "meta_data.json", ""])
async def test_head_works_wherever_get_does(alice: Guest, path: str) -> None:
    """The listener leaves the body out, and states the length of what GET would say."""
    await alice.publish("a=1", shared=True)
    got = await alice.get(path)
    asked = await alice.ask("HEAD", f"/openstack/latest/{path}")
    assert (asked.status, asked.content_type) == (got.status, got.content_type) == (200, got.content_type)
    if path not in ("peer_data.json", "meta_data.json"):  # whose pace and seed differ each time
        assert len(asked.body) == len(got.body)


@pytest.mark.parametrize(
    "target",
    [
        "/openstack/latest/shared.json/",
        "/openstack//latest///shared.json",
        "/openstack/latest/./shared.json",
        "/openstack/latest/x/../shared.json",
        "/openstack/latest/shared%2Ejson",
        "/%6fpenstack/latest/shared.json",
        "/openstack/latest/shared.json?",
        "//openstack/latest/shared.json",
        "///openstack/latest/shared.json",
    ],
)
async def test_a_path_is_normalised_as_nova_does(alice: Guest, target: str) -> None:
    await alice.publish("a=1", shared=True)
    heard = await alice.ask("GET", target)
    assert json.loads(heard.body)[0]["uuid"] == ALICE


async def test_no_call_needs_a_header_and_none_changes_its_answer(api: Parts, alice: Guest) -> None:
    await alice.publish("a=1", shared=True)
    plain = await alice.get("shared.json")
    for header in (
        (b"accept", b"text/html"),
        (b"accept-encoding", b"gzip"),
        (b"if-none-match", b"*"),
        (b"range", b"bytes=0-0"),
        (b"content-type", b"text/plain"),
        (b"x-http-method-override", b"DELETE"),
    ):
        heard = await alice.ask("GET", "/openstack/latest/shared.json", headers=[header])
        assert (heard.status, heard.body, heard.headers) == (200, plain.body, ())


async def test_a_long_answer_is_made_of_one_text_that_all_readers_share(build: Build) -> None:
    """Or a few slow readers of a large project would each hold a copy of it."""
    parts = await build(limits={"max_keys_per_instance": 200, "max_keys_per_project": 300})
    alice, bob = guest_of(parts, ALICE), guest_of(parts, BOB)
    await alice.publish(*(f"key{number}={'v' * 250}" for number in range(100)), shared=True)
    await bob.publish(*(f"key{number}={'v' * 250}" for number in range(100)), shared=True)

    def body(guest: Guest) -> tuple[bytes, ...]:
        target = b"/openstack/latest/peer_data.json"
        answer = parts.instances.respond(Request("GET", target, [], b"", None, guest.client))
        assert isinstance(answer, Answer)
        assert isinstance(answer.body, tuple)
        return answer.body

    heard = (await alice.get("peer_data.json")).json  # the project is in memory from now on
    assert len(heard["peers"]) == 2
    one, other = body(alice), body(bob)
    assert max(one, key=len) is max(other, key=len)
    assert len(max(one, key=len)) > 50_000
    said = json.loads(b"".join(one))
    assert {**said, "poll_after_s": 0} == {**heard, "poll_after_s": 0}
