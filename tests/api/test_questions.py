"""How many questions a call costs nova, whose answer reaches the guest, and what outlives nova and the service."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import Engine, create_engine, text

from peerdata.api.instance import REFUSED_BURST
from peerdata.app import Parts
from peerdata.identity import kept

from .conftest import ALICE, BOB, Cloud
from .conversation import Guest
from .fake_nova import Seen, Server, answer_bytes, sign, through_neutron

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


async def test_a_version_that_may_be_a_later_novas_waits_for_the_list(behind_nova: Cloud) -> None:
    """Others do not, after a second; but a 404 for what is there would be taken for good."""
    behind_nova.nova.versions.append("2031-01-01")
    answer, release = behind_nova.nova.mood, asyncio.Event()

    async def slow_list(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.target == b"/openstack":
            await release.wait()
        await answer(seen, writer)

    behind_nova.nova.mood = slow_list
    assert (await behind_nova.alice.get("shared.json", version=NEW)).status == 200
    later = asyncio.ensure_future(behind_nova.alice.get("shared.json", version="2031-01-01"))
    await asyncio.sleep(0.05)
    release.set()
    assert (await later).status == 200


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


# What outlives nova


@pytest.fixture
async def many(told: Cloud, monkeypatch: pytest.MonkeyPatch) -> list[Parts]:
    """Three servers on one store, whose proofs are written at once."""
    monkeypatch.setattr(kept, "WRITE_EVERY_S", 0.01)
    return [await told.rebuild() for _ in range(3)]


async def written(cloud: Cloud, uuid: str, column: str = "proven_at", *, store: str) -> None:
    """Once the store has it."""

    def read(engine: Engine) -> int:
        with engine.connect() as connection:
            statement = text(f"SELECT max({column}) FROM proof WHERE uuid = :uuid")
            return connection.execute(statement, {"uuid": uuid}).scalar() or 0

    engine = create_engine(store)
    async with asyncio.timeout(10):
        while not read(engine):  # noqa: ASYNC110 - it is another's store
            await asyncio.sleep(0.01)
    engine.dispose()


@pytest.fixture
def store(store_file: object) -> str:
    """The URL of the test's store."""
    return f"sqlite:///{store_file}"


async def test_whom_one_server_knows_every_server_serves_while_nova_is_away(
    told: Cloud, many: list[Parts], store: str
) -> None:
    one, *others = (told.guest(ALICE, parts) for parts in many)
    await one.publish("a=1", shared=True)
    await written(told, ALICE, store=store)
    await told.nova.close()
    for alice in others:
        for path in ("shared.json", "peer_data.json", "peer_data/last_error.json"):
            assert (await alice.get(path)).status == 200
        assert (await alice.get("shared.json", version=NEW)).status == 200
        assert (await alice.publish("b=1")).status == 502
        assert (await alice.get("meta_data.json")).status == 502
    stranger = told.guest(BOB, many[1])
    assert (await stranger.get("shared.json")).status == 502


async def test_after_a_restart_lists_are_served_while_nova_is_away(told: Cloud, store: str) -> None:
    await told.alice.publish("a=1", shared=True)
    await written(told, ALICE, store=store)
    await told.nova.close()
    alice = told.guest(ALICE, await told.rebuild())
    assert await alice.shared_keys() == {ALICE: {"from_server_a": "1"}}


@pytest.mark.parametrize("version", ["latest", NEW, OLD])
async def test_after_a_restart_a_silent_nova_holds_up_no_reader_for_long(told: Cloud, store: str, version: str) -> None:
    await told.alice.publish("a=1", shared=True)
    await written(told, ALICE, store=store)
    alice = told.guest(ALICE, await told.rebuild(nova={"timeout": 300}))
    told.nova.be_silent()
    async with asyncio.timeout(20):
        for _ in range(5):
            assert (await alice.get("shared.json", version=version)).status == 200
    assert len(told.nova.seen) <= 3


async def test_a_signature_and_a_tenant_are_checked_before_a_kept_proof_is_believed(
    told: Cloud, many: list[Parts], store: str
) -> None:
    await told.guest(ALICE, many[0]).publish("a=1", shared=True)
    await written(told, ALICE, store=store)
    await told.nova.close()
    forged = told.guest(ALICE, many[1])
    forged.headers = [*forged.headers[:-1], (b"x-instance-id-signature", sign(ALICE, "another secret"))]
    assert (await forged.get("shared.json")).status == 403
    foreign = told.guest(ALICE, many[1])
    foreign.headers = through_neutron(Server(ALICE, "green", "10.0.0.1"))
    assert (await foreign.get("shared.json")).status == 502


async def test_whom_nova_disowned_at_one_server_no_server_serves_from_an_older_proof(
    told: Cloud, many: list[Parts], store: str
) -> None:
    one, *others = (told.guest(ALICE, parts) for parts in many)
    await one.publish("a=1", shared=True)
    await written(told, ALICE, store=store)
    server = told.nova.servers.pop(ALICE)
    assert (await one.get("meta_data.json")).status == 404
    await written(told, ALICE, "disowned_at", store=store)
    await told.nova.close()
    for alice in (one, *others):
        assert (await alice.get("shared.json")).status == 502
    await told.nova.open()
    told.nova.servers[ALICE] = server
    await asyncio.sleep(1)  # times are kept in whole seconds
    assert (await others[0].get("shared.json")).status == 200


async def test_a_store_that_is_locked_keeps_no_proof_and_fails_no_read(told: Cloud, store_file: object) -> None:
    alice = told.guest(ALICE, await told.rebuild(database={"busy_timeout": 0.1}))
    await alice.get("shared.json")
    locked = create_engine(f"sqlite:///{store_file}")
    with locked.connect() as connection:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        await asyncio.sleep(1.2)
        assert (await told.guest(BOB, told.parts).get("meta_data.json")).status == 200
        connection.exec_driver_sql("ROLLBACK")
    locked.dispose()


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
