"""How many questions a call costs nova, and whose answer reaches the guest."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

import pytest

from peerdata.api.instance import REFUSED_BURST

from .conftest import ALICE, BOB, Cloud
from .conversation import Guest
from .fake_nova import Server, answer_bytes, through_neutron

OLD, NEW = "2013-04-04", "2015-10-15"
"""Before and since nova names the project."""


def asked(cloud: Cloud) -> list[str]:
    """The versions of which nova was asked for the document; and of what else it was asked, since the last time."""
    targets = [seen.target.decode() for seen in cloud.nova.seen]
    cloud.nova.seen.clear()
    return [target.removeprefix("/openstack/").removesuffix("/meta_data.json") for target in targets]


@pytest.fixture
async def told(behind_nova: Cloud) -> Cloud:
    """A service that knows nova's versions, and none of its instances but zoe."""
    await behind_nova.zoe.get("shared.json", version=NEW)
    asked(behind_nova)
    return behind_nova


Ask = Callable[[Guest], Awaitable[object]]


@pytest.mark.parametrize(
    ("ask", "cold", "known"),
    [
        pytest.param(lambda one: one.get("meta_data.json"), ["latest"], ["latest"], id="read"),
        pytest.param(lambda one: one.get("meta_data.json", version=NEW), [NEW], [NEW], id="read, a date"),
        pytest.param(
            lambda one: one.get("meta_data.json", version=OLD), ["latest", OLD], [OLD], id="read, an old date"
        ),
        pytest.param(lambda one: one.publish("a=1"), ["latest"], ["latest"], id="publish"),
        pytest.param(lambda one: one.publish("a=1", version=NEW), [NEW], [NEW], id="publish, a date"),
        pytest.param(lambda one: one.publish("a=1", version=OLD), ["latest", OLD], [OLD], id="publish, an old date"),
        pytest.param(lambda one: one.get("shared.json"), ["latest"], [], id="shared.json"),
        pytest.param(
            lambda one: one.get("peer_data.json", version=OLD), ["latest"], [], id="peer_data.json, an old date"
        ),
        pytest.param(
            lambda one: one.ask("POST", f"/openstack/latest/cluster/{one.uuid}.json?size=3"),
            ["latest"],
            [],
            id="cluster",
        ),
        pytest.param(
            lambda one: one.ask("POST", f"/openstack/{OLD}/cluster/{one.uuid}.json?size=3&meta.a=1"),
            ["latest"],
            [],
            id="cluster with keys",
        ),
        pytest.param(lambda one: one.get("user_data"), ["latest/user_data"], ["latest/user_data"], id="passed on"),
    ],
)
async def test_a_call_costs_nova_one_question_or_none(told: Cloud, ask: Ask, cold: list[str], known: list[str]) -> None:
    for uuid in (ALICE, BOB):
        await ask(told.guest(uuid))
        assert asked(told) == cold
        if cold == ["latest/user_data"]:
            continue
        await ask(told.guest(uuid))
        assert asked(told) == known


@pytest.mark.parametrize("version", ["latest", NEW])
async def test_five_cold_calls_of_one_instance_share_a_question(told: Cloud, version: str) -> None:
    heard = await asyncio.gather(
        *(told.alice.get("meta_data.json", version=version) for _ in range(4)),
        told.alice.publish("a=1", version=version),
    )
    assert [one.status for one in heard] == [200] * 5
    assert asked(told) == [version]
    assert (await told.alice.get("meta_data.json")).meta == {"from_server_a": "1"}


async def test_two_instances_never_share_one(told: Cloud) -> None:
    heard = await asyncio.gather(told.alice.get("meta_data.json"), told.bob.get("meta_data.json"))
    assert [one.json["uuid"] for one in heard] == [ALICE, BOB]


async def test_the_first_call_of_a_version_costs_the_list_besides(behind_nova: Cloud) -> None:
    await behind_nova.alice.get("meta_data.json", version=NEW)
    assert asked(behind_nova) == ["/openstack", NEW]


async def test_a_document_that_was_read_is_a_proof_as_any_other(told: Cloud) -> None:
    await told.alice.publish("a=1", shared=True)
    for version in ("latest", NEW):
        parts = await told.rebuild()
        bob = told.guest(BOB, parts)
        await bob.get("meta_data.json", version=version)
        asked(told)
        assert ALICE in await bob.shared_keys()
        assert asked(told) == []


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("version", ["latest", NEW, OLD])
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
async def test_what_nova_answers_to_a_read_of_metadata_reaches_the_guest_as_it_is(
    told: Cloud, version: str, status: int, known: bool
) -> None:
    """Cloud-init decides by it whether to ask again, and when."""
    if known:
        await told.alice.publish("a=1")
    told.nova.say_to(b"meta_data.json", answer_bytes(status, b"<of nova>", (b"Retry-After", b"7"), content_type=b"a/b"))
    heard = await told.alice.get("meta_data.json", version=version)
    assert (heard.status, heard.body, heard.content_type) == (status, b"<of nova>", b"a/b")
    assert heard.headers == ((b"Retry-After", b"7"),)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("said", "status"), [(404, 404), (429, 502), (500, 502), (503, 502), (302, 502), (204, 502)])
async def test_what_is_not_novas_has_our_statuses_and_stores_nothing(
    told: Cloud, said: int, status: int, known: bool
) -> None:
    if known:
        await told.alice.get("shared.json")
    told.nova.say_to(b"meta_data.json", answer_bytes(said, b"<of nova>"))
    for heard in (
        await told.alice.publish("a=1", shared=True),
        await told.alice.ask("POST", "/openstack/latest/cluster/c.json?size=3&meta.a=1"),
        await told.alice.publish("a=1", shared=True, version=NEW),
    ):
        assert heard.status == status
        assert heard.code in ("upstream.failed", "identity.unknown")
    told.nova.be_well()
    assert await told.alice.shared_keys() == {}


async def test_a_write_that_nova_answers_for_another_instance_stores_nothing(told: Cloud) -> None:
    document = json.dumps(told.nova.servers[BOB].document("latest")).encode()
    told.nova.say_to(b"meta_data.json", answer_bytes(200, document))
    for _ in range(2):
        assert (await told.alice.publish("a=1", shared=True)).code == "upstream.failed"
        assert (await told.alice.get("meta_data.json")).code == "upstream.failed"
    told.nova.be_well()
    assert await told.bob.shared_keys() == {}


# What an operator sees of those who are not proven


async def test_a_flood_of_unsigned_requests_does_not_fill_the_log(
    told: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    forged = told.alice
    forged.headers = [*forged.headers[:-1], (b"x-instance-id-signature", b"0" * 64)]
    with caplog.at_level(logging.WARNING, "peerdata.api.instance"):
        for _ in range(100):
            assert (await forged.get("shared.json")).status == 403
    assert len(caplog.messages) == REFUSED_BURST
    assert "names instance " + ALICE in caplog.messages[0]
    assert "peerdata.identity.signature" in caplog.messages[0]


async def test_whom_nova_refuses_is_in_the_log_whatever_it_asked_for(
    told: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    ghost = Server("90050000-0000-4000-8000-000000000007", "blue", "10.0.0.7")
    guest = Guest(told.parts.instances, ghost.uuid, through_neutron(ghost))
    with caplog.at_level(logging.WARNING, "peerdata.api.instance"):
        assert (await guest.get("meta_data.json")).body == b"<html>refused</html>"
        await guest.get("shared.json")
    assert [ghost.uuid in message for message in caplog.messages] == [True, True]
    assert caplog.messages[0].endswith("nova answered 404")
