"""A nova that is silent, slow, gone, cut, garbled or huge: our error body, nothing stored, peers still to be read."""

import asyncio
from collections.abc import Callable

import pytest

from .conftest import ALICE, BOB, Cloud
from .conversation import Heard
from .fake_nova import FakeNova, Seen, answer_bytes

Ill = Callable[[FakeNova], None]

DOCUMENT = b'{"uuid": "%s", "project_id": "blue"}' % ALICE.encode()

FAILED: dict[str, Ill] = {
    "hangs up": lambda nova: nova.say_bytes(b""),
    "not HTTP": lambda nova: nova.say_bytes(b"220 mail.example.org ESMTP\r\n\r\n"),
    "binary": lambda nova: nova.say_bytes(bytes(range(256))),
    "cut within the head": lambda nova: nova.say_bytes(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "cut within the body": lambda nova: nova.say_bytes(answer_bytes(200, DOCUMENT)[:-5]),
    "cut within a chunk": lambda nova: nova.say_bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
    "cut between chunks": lambda nova: nova.say_bytes(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
    ),
    "a chunk size that is none": lambda nova: nova.say_bytes(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    ),
    "two lengths": lambda nova: nova.say_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"),
    "a length that is none": lambda nova: nova.say_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}"),
    "a status that is none": lambda nova: nova.say_bytes(b"HTTP/1.1 2xx OK\r\nContent-Length: 2\r\n\r\n{}"),
    "an endless header": lambda nova: nova.say_bytes(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000),
    "endless headers": lambda nova: nova.say_bytes(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000),
    "huge": lambda nova: nova.say(200, b"x" * 70_000),
    "huge and packed": lambda nova: nova.say(200, b"x" * 70_000, (b"Content-Encoding", b"gzip")),
}
"""How nova can fail at the level of HTTP; whatever was asked."""

NO_DOCUMENT: dict[str, Ill] = {
    "empty": lambda nova: nova.say(200, b""),
    "not JSON": lambda nova: nova.say(200, b"<html>"),
    "cut JSON": lambda nova: nova.say(200, DOCUMENT[:-1]),
    "not UTF-8": lambda nova: nova.say(200, b'{"uuid": "\xff"}'),
    "a list": lambda nova: nova.say(200, b"[]"),
    "null": lambda nova: nova.say(200, b"null"),
    "no uuid": lambda nova: nova.say(200, b'{"project_id": "blue"}'),
    "a uuid that is a number": lambda nova: nova.say(200, b'{"uuid": 7, "project_id": "blue"}'),
    "no project": lambda nova: nova.say(200, b'{"uuid": "%s"}' % ALICE.encode()),
    "meta that is a list": lambda nova: nova.say(200, DOCUMENT[:-1] + b', "meta": []}'),
    "meta that is null": lambda nova: nova.say(200, DOCUMENT[:-1] + b', "meta": null}'),
    "a redirection": lambda nova: nova.say(302, b"", (b"Location", b"http://127.0.0.1:1/")),
    "a 500": lambda nova: nova.say(500, b"oops"),
    "a 401": lambda nova: nova.say(401, b""),
    "a 204": lambda nova: nova.say(204, b""),
    "packed": lambda nova: nova.say(200, b"\x1f\x8b\x08", (b"Content-Encoding", b"gzip")),
}
"""Answers that are HTTP, but no metadata document."""


def assert_failed(heard: Heard) -> None:
    assert (heard.status, heard.code) == (502, "upstream.failed")
    assert heard.error["message"].isprintable()


@pytest.fixture(autouse=True)
async def _bounded(behind_nova: Cloud) -> None:
    """Answers over 64 KiB are too long."""
    behind_nova.parts = await behind_nova.rebuild(nova={"max_answer_bytes": 65_536})


@pytest.fixture
async def impatient(behind_nova: Cloud, _bounded: None) -> Cloud:
    """Waits for nova for half a second."""
    behind_nova.parts = await behind_nova.rebuild(nova={"timeout": 0.5, "pass_through_timeout": 0.5})
    return behind_nova


@pytest.mark.parametrize("ill", FAILED.values(), ids=FAILED.keys())
async def test_a_nova_that_fails_is_a_502_and_nothing_is_stored(behind_nova: Cloud, ill: Ill) -> None:
    await behind_nova.alice.publish("a=1", shared=True)
    ill(behind_nova.nova)
    assert_failed(await behind_nova.alice.get("meta_data.json"))
    assert_failed(await behind_nova.alice.publish("b=1", shared=True))
    assert_failed(await behind_nova.alice.get("user_data"))
    assert_failed(await behind_nova.alice.ask("POST", "/openstack/latest/password", b"x"))
    assert_failed(await behind_nova.alice.get(""))
    behind_nova.nova.be_well()
    assert await behind_nova.bob.shared_keys() == {ALICE: {"from_server_a": "1"}}


@pytest.mark.parametrize("ill", [*FAILED.values(), *NO_DOCUMENT.values()], ids=[*FAILED, *NO_DOCUMENT])
async def test_while_nova_fails_a_new_instance_is_not_known_and_nothing_is_stored(behind_nova: Cloud, ill: Ill) -> None:
    ill(behind_nova.nova)
    assert_failed(await behind_nova.alice.publish("a=1", shared=True))
    assert_failed(await behind_nova.alice.get("shared.json"))  # G5: a failure is never an empty list
    behind_nova.nova.be_well()
    assert await behind_nova.bob.shared_keys() == {}


@pytest.mark.parametrize(
    "ill", [pytest.param(ill, id=name) for name, ill in NO_DOCUMENT.items() if name != "no project"]
)
async def test_without_a_document_a_known_instance_publishes_nothing(behind_nova: Cloud, ill: Ill) -> None:
    await behind_nova.alice.publish("a=1", shared=True)
    ill(behind_nova.nova)
    refused = await behind_nova.alice.publish("b=1", shared=True)
    assert_failed(refused)
    behind_nova.nova.be_well()
    assert await behind_nova.bob.shared_keys() == {ALICE: {"from_server_a": "1"}}


@pytest.mark.parametrize(
    "said", [b"[" * 50_000, DOCUMENT[:-1] + b', "meta": {"from_server_b": 7}}'], ids=["deep", "number in meta"]
)
async def test_a_document_that_cannot_be_novas_is_a_502_too(behind_nova: Cloud, said: bytes) -> None:
    behind_nova.nova.say(200, said)
    assert_failed(await behind_nova.alice.publish("b=1"))


async def test_a_silent_nova_is_a_504_and_nothing_is_stored(impatient: Cloud) -> None:
    await impatient.alice.publish("a=1", shared=True)
    impatient.nova.be_silent()
    alice = impatient.alice
    heard = await asyncio.gather(
        alice.get("meta_data.json"), alice.publish("b=1"), alice.get("user_data"), impatient.bob.get("shared.json")
    )
    assert [(one.status, one.code) for one in heard] == [(504, "upstream.silent")] * 4
    assert (await alice.last_error())["code"] == "peerdata.upstream.silent"
    impatient.nova.be_well()
    assert (await alice.get("meta_data.json")).meta == {"from_server_a": "1"}


async def test_a_nova_that_stops_in_the_middle_of_its_answer_is_a_504(impatient: Cloud) -> None:
    await impatient.alice.get("shared.json")
    impatient.nova.say_bytes(answer_bytes(200, DOCUMENT)[:-5], then="hang")
    heard = await impatient.alice.publish("a=1")
    assert (heard.status, heard.code) == (504, "upstream.silent")


async def test_a_nova_that_is_gone_is_a_502_and_recovers(behind_nova: Cloud) -> None:
    await behind_nova.alice.publish("a=1", shared=True)
    await behind_nova.nova.close()
    assert_failed(await behind_nova.alice.publish("b=1"))
    assert_failed(await behind_nova.alice.get("meta_data.json"))
    assert_failed(await behind_nova.bob.get("shared.json"))
    await behind_nova.nova.open()
    assert (await behind_nova.alice.publish("b=1")).status == 200


async def test_a_failure_can_be_read_again_by_who_is_known(behind_nova: Cloud) -> None:
    await behind_nova.alice.get("shared.json")
    await behind_nova.nova.close()
    await behind_nova.alice.publish("a=1")
    assert (await behind_nova.alice.last_error())["code"] == "peerdata.upstream.failed"


# Peers, while nova is away


@pytest.mark.parametrize("version", ["latest", "2018-08-27"])
async def test_a_known_instance_still_reads_its_peers(behind_nova: Cloud, version: str) -> None:
    await behind_nova.alice.publish("a=1", shared=True)
    await behind_nova.bob.get("shared.json")
    await behind_nova.nova.close()
    bob = behind_nova.bob
    assert [peer["uuid"] for peer in (await bob.get("shared.json", version=version)).json] == [ALICE]
    assert (await bob.get("peer_data.json", version=version)).json["revision"] == 1
    assert (await bob.get("peer_data/last_error.json", version=version)).status == 200


async def test_an_old_proof_serves_reads_of_peers_and_nothing_else(behind_nova: Cloud) -> None:
    parts = await behind_nova.rebuild(identity={"proof_lifetime": 0.0, "stale_proof_lifetime": 3600.0})
    alice, bob = behind_nova.guest(ALICE, parts), behind_nova.guest(BOB, parts)
    await alice.publish("a=1", shared=True)
    await bob.get("shared.json")
    await behind_nova.nova.close()
    assert await bob.shared_keys() == {ALICE: {"from_server_a": "1"}}
    assert (await bob.get("peer_data.json")).json["self"] == BOB
    assert await bob.last_error() is None
    assert_failed(await bob.get("meta_data.json"))
    assert_failed(await bob.publish("b=1"))


async def test_a_proof_that_is_too_old_serves_nothing(behind_nova: Cloud) -> None:
    parts = await behind_nova.rebuild(identity={"proof_lifetime": 0.0, "stale_proof_lifetime": 0.0})
    alice = behind_nova.guest(ALICE, parts)
    await alice.publish("a=1", shared=True)
    await behind_nova.nova.close()
    assert_failed(await alice.get("shared.json"))


async def test_an_old_proof_ends_when_nova_says_404(behind_nova: Cloud) -> None:
    parts = await behind_nova.rebuild(identity={"proof_lifetime": 0.0, "stale_proof_lifetime": 3600.0})
    alice = behind_nova.guest(ALICE, parts)
    await alice.get("shared.json")
    server = behind_nova.nova.servers.pop(ALICE)
    assert (await alice.get("shared.json")).status == 404
    behind_nova.nova.servers[ALICE] = server
    await behind_nova.nova.close()
    assert_failed(await alice.get("shared.json"))


async def test_a_signature_is_checked_while_nova_is_away(behind_nova: Cloud) -> None:
    await behind_nova.alice.get("shared.json")
    await behind_nova.nova.close()
    forged = behind_nova.alice
    forged.headers[-1] = (b"x-instance-id-signature", b"0" * 64)
    assert (await forged.get("shared.json")).status == 403


async def test_a_silent_nova_does_not_hold_up_every_read_of_peers(impatient: Cloud) -> None:
    """Agents of neutron 29 serve one request at a time: with [nova] timeout = 20 a host would get three in a minute."""
    await impatient.alice.get("shared.json")
    impatient.nova.be_silent()
    impatient.nova.seen.clear()
    for _ in range(3):
        assert (await impatient.alice.get("shared.json", version="2018-08-27")).status == 200
    assert len(impatient.nova.seen) <= 1


async def test_a_silent_nova_does_not_hold_up_every_reader_with_an_old_proof(impatient: Cloud) -> None:
    parts = await impatient.rebuild(
        nova={"timeout": 0.5}, identity={"proof_lifetime": 0.0, "stale_proof_lifetime": 3600.0}
    )
    alice = impatient.guest(ALICE, parts)
    await alice.get("shared.json")
    impatient.nova.be_silent()
    impatient.nova.seen.clear()
    for _ in range(3):
        assert (await alice.get("shared.json")).status == 200
    assert len(impatient.nova.seen) <= 1


@pytest.mark.parametrize("ill", FAILED.values(), ids=FAILED.keys())
async def test_a_failure_gives_its_connection_back(behind_nova: Cloud, ill: Ill) -> None:
    """With a single one to nova, the next request would wait for it."""
    parts = await behind_nova.rebuild(nova={"max_connections": 1, "max_answer_bytes": 65_536})
    alice = behind_nova.guest(ALICE, parts)
    ill(behind_nova.nova)
    for method in ("GET", "POST", "GET", "POST"):
        assert_failed(await alice.ask(method, "/openstack/latest/user_data"))
    behind_nova.nova.be_well()
    for method in ("GET", "POST"):
        assert (await alice.ask(method, "/openstack/latest/user_data")).status == 200


async def test_silence_and_a_guest_that_gives_up_give_their_connections_back(behind_nova: Cloud) -> None:
    parts = await behind_nova.rebuild(nova={"max_connections": 1, "pass_through_timeout": 0.5})
    alice = behind_nova.guest(ALICE, parts)
    for method in ("GET", "POST"):
        behind_nova.nova.be_silent()
        behind_nova.nova.asked.clear()
        given_up = asyncio.ensure_future(alice.ask(method, "/openstack/latest/user_data"))
        await behind_nova.nova.asked.wait()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert (await alice.ask(method, "/openstack/latest/user_data")).status == 504
        behind_nova.nova.be_well()
        assert (await alice.ask(method, "/openstack/latest/user_data")).status == 200


async def test_more_than_nova_has_connections_for_wait_their_turn(behind_nova: Cloud) -> None:
    alice = behind_nova.guest(ALICE, await behind_nova.rebuild(nova={"max_connections": 2}))
    heard = await asyncio.gather(*(alice.get("user_data") for _ in range(30)))
    assert [one.status for one in heard] == [200] * 30


async def test_instances_do_not_wait_for_each_others_nova(impatient: Cloud) -> None:
    """One whose question hangs does not keep another from its peers."""
    await impatient.bob.publish("b=1", shared=True)
    impatient.nova.be_silent()
    impatient.nova.asked.clear()
    hanging = asyncio.ensure_future(impatient.alice.get("shared.json"))
    await impatient.nova.asked.wait()
    assert BOB in await impatient.bob.shared_keys()
    assert not hanging.done()
    assert (await hanging).status == 504


async def test_a_guest_that_gives_up_and_asks_again_has_the_answer_to_its_first_question(behind_nova: Cloud) -> None:
    await behind_nova.alice.get("shared.json")
    answer, release = behind_nova.nova.mood, asyncio.Event()

    async def slow(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answer(seen, writer)

    behind_nova.nova.mood = slow
    behind_nova.nova.asked.clear()
    behind_nova.nova.seen.clear()
    task = asyncio.ensure_future(behind_nova.alice.publish("a=1"))
    await behind_nova.nova.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = asyncio.ensure_future(behind_nova.alice.publish("a=2"))
    await asyncio.sleep(0)
    release.set()
    assert (await again).meta == {"from_server_a": "2"}
    assert len(behind_nova.nova.seen) == 1


async def test_a_slow_nova_that_answers_in_time_is_well(behind_nova: Cloud) -> None:
    release = asyncio.Event()
    answer = behind_nova.nova.mood

    async def slow(seen: object, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answer(seen, writer)  # type: ignore[arg-type]

    behind_nova.nova.mood = slow
    publishing = asyncio.ensure_future(behind_nova.alice.publish("a=1"))
    await behind_nova.nova.asked.wait()
    release.set()
    assert (await publishing).status == 200
