"""Who bootstraps a cluster, and who joins it: `cluster/{name}.json` and `cluster/{name}/formed`."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from peerdata import app
from peerdata.cli import main
from peerdata.settings import Settings
from peerdata.store import clusters
from peerdata.store.engine import Engine

from .conftest import ALICE, BOB, CAROL, Build, Cloud, guest_of
from .conversation import Guest, Heard


async def ask(guest: Guest, query: str = "size=3", name: str = "db") -> Heard:
    return await guest.ask("POST", f"/openstack/latest/cluster/{name}.json?{query}")


async def verdict(guest: Guest, query: str = "size=3", name: str = "db") -> Any:
    heard = await ask(guest, query, name)
    assert heard.status == 200, heard
    return heard.json


async def confirm(guest: Guest, term: int = 1, name: str = "db") -> Heard:
    return await guest.ask("POST", f"/openstack/latest/cluster/{name}/formed?term={term}")


async def state(guest: Guest, name: str = "db") -> Any:
    heard = await guest.get(f"cluster/{name}.json")
    assert heard.status == 200, heard
    return heard.json


async def test_the_answer_has_just_the_members_that_docs_protocol_tells(alice: Guest) -> None:
    heard = await verdict(alice, "size=3&meta.addr=10.0.0.1")
    poll_after_s = heard.pop("poll_after_s")
    assert 1 <= poll_after_s <= 1.5
    assert heard == {
        "cluster": "db",
        "verdict": "bootstrap",
        "size": 3,
        "founders": "one",
        "closed": False,
        "term": 1,
        "ordinal": 0,
        "formed": False,
        "members": [{"uuid": ALICE, "ordinal": 0, "founder": True, "meta": {"from_server_addr": "10.0.0.1"}}],
        "why": "this instance starts the cluster; the others join it",
        "self": ALICE,
        "revision": 2,
    }


async def test_one_founder_bootstraps_and_the_others_join_once_it_has_confirmed(
    alice: Guest, bob: Guest, carol: Guest
) -> None:
    assert (await verdict(alice))["verdict"] == "bootstrap"
    assert (await verdict(bob))["verdict"] == "wait"
    assert (await verdict(carol))["verdict"] == "wait"
    assert (await confirm(alice)).json["formed"] is True
    for guest, ordinal in ((bob, 1), (carol, 2), (alice, 0)):
        heard = await verdict(guest)
        assert (heard["verdict"], heard["ordinal"], heard["formed"]) == ("join", ordinal, True)
        assert [member["uuid"] for member in heard["members"]] == [ALICE, BOB, CAROL]


async def test_all_founders_are_told_the_same_list_once_there_are_enough(
    alice: Guest, bob: Guest, carol: Guest
) -> None:
    together = "size=2&founders=all"
    first = await verdict(carol, together)
    assert (first["verdict"], first["why"]) == ("wait", "1 of 2 are members; 1 more must join")
    told = [await verdict(guest, together) for guest in (alice, bob, carol, alice)]
    assert [heard["verdict"] for heard in told] == ["bootstrap", "wait", "bootstrap", "bootstrap"]
    assert [member["uuid"] for member in told[2]["members"]] == [CAROL, ALICE]
    assert [member["uuid"] for member in told[3]["members"]] == [CAROL, ALICE]
    assert (await confirm(alice)).status == 200
    assert [(await verdict(guest, together))["verdict"] for guest in (alice, bob, carol)] == ["join"] * 3


async def test_who_waits_is_told_for_whom(alice: Guest, bob: Guest, carol: Guest) -> None:
    await verdict(alice)
    founder = f"the founder, {ALICE}, must confirm that the cluster stands"
    assert (await verdict(bob))["why"] == founder
    assert (await state(carol))["why"] == f"2 of 3 are members, and this instance is not; {founder}"
    for guest in (bob, alice):
        await verdict(guest, "size=2&founders=all", "together")
    late = await verdict(carol, "size=2&founders=all", "together")
    assert late["why"] == "one of the 2 founders (ordinals 0, 1) must confirm that the cluster stands"
    await confirm(alice)
    assert (await state(carol))["why"] == "2 of 3 are members, and this instance is not"


async def test_bootstrap_stays_bootstrap_until_it_is_confirmed(alice: Guest, bob: Guest, build: Build) -> None:
    """The founder lost the answer, or was restarted; and asks through another server."""
    for guest in (alice, alice, guest_of(await build(), ALICE)):
        assert (await verdict(guest))["verdict"] == "bootstrap"
    assert (await verdict(bob))["verdict"] == "wait"


async def test_a_repeat_of_anything_changes_nothing(alice: Guest, bob: Guest) -> None:
    await verdict(alice, "size=2&meta.addr=1")
    await confirm(alice)
    await verdict(bob, "size=2&meta.addr=2")
    before = await state(alice)
    await verdict(alice, "size=2&meta.addr=1")
    await confirm(alice)
    await verdict(bob, "size=2&meta.addr=2")
    after = await state(alice)
    assert (before | {"poll_after_s": 0}) == (after | {"poll_after_s": 0})


async def test_of_many_who_ask_at_once_through_two_servers_one_bootstraps(
    alice: Guest, bob: Guest, carol: Guest, build: Build
) -> None:
    other = await build()
    guests = [alice, bob, carol, *(guest_of(other, uuid) for uuid in (ALICE, BOB, CAROL))]
    for number in range(20):
        told = await asyncio.gather(*(verdict(guest, "size=3", f"db{number}") for guest in guests))
        founders = {heard["self"] for heard in told if heard["verdict"] == "bootstrap"}
        assert len(founders) == 1


async def test_a_closed_cluster_lets_in_as_many_as_it_is_planned_for(alice: Guest, bob: Guest, carol: Guest) -> None:
    closed = "size=2&closed=true"
    await verdict(alice, closed)
    await verdict(bob, closed)
    early = await verdict(carol, closed)
    assert (early["verdict"], early["ordinal"]) == ("wait", None)  # one of the others may yet have to be replaced
    await confirm(alice)
    late = await verdict(carol, closed)
    assert (late["verdict"], late["ordinal"], late["why"]) == (
        "full",
        None,
        "the cluster is closed and has its 2 members",
    )
    assert len(late["members"]) == 2


@pytest.mark.parametrize("other", ["size=4", "size=3&founders=all", "size=3&closed=true"])
async def test_another_plan_is_a_409_and_nothing_is_stored(alice: Guest, bob: Guest, other: str) -> None:
    await verdict(alice, "size=3")
    heard = await ask(bob, f"{other}&meta.addr=1")
    assert (heard.status, heard.code) == (409, "cluster.taken")
    assert (heard.error["size"], heard.error["founders"], heard.error["closed"]) == (3, "one", False)
    assert len((await state(alice))["members"]) == 1
    assert await bob.shared_keys() == {}


async def test_keys_that_cannot_be_set_keep_the_caller_off_the_roll(alice: Guest, bob: Guest) -> None:
    await bob.publish("addr=old", shared=True)
    await verdict(alice)
    heard = await ask(bob, "size=3&meta.addr=new")
    assert (heard.status, heard.code) == (409, "key.taken")
    assert (await ask(alice, "size=3&meta.owned=mine")).code == "key.taken"  # the owner has set it
    assert len((await state(alice))["members"]) == 1


async def test_keys_of_the_call_are_seen_by_the_whole_project(alice: Guest, bob: Guest) -> None:
    await verdict(alice, "size=3&meta.addr=10.0.0.1&meta.port=1")
    assert await bob.shared_keys() == {ALICE: {"from_server_addr": "10.0.0.1", "from_server_port": "1"}}


async def test_clusters_of_other_names_and_projects_never_see_each_other(alice: Guest, bob: Guest, zoe: Guest) -> None:
    assert (await verdict(alice, name="one"))["verdict"] == "bootstrap"
    assert (await verdict(bob, name="two"))["verdict"] == "bootstrap"
    assert (await verdict(zoe, name="one"))["verdict"] == "bootstrap"
    assert len((await state(alice, "two"))["members"]) == 1


async def test_only_a_founder_of_the_present_term_can_confirm(alice: Guest, bob: Guest) -> None:
    unheard_of = await confirm(alice)
    assert (unheard_of.status, unheard_of.code) == (409, "cluster.not_founder")
    await verdict(alice)
    await verdict(bob)
    for guest, term in ((bob, 1), (alice, 2), (alice, 99)):
        heard = await confirm(guest, term)
        assert (heard.status, heard.code, heard.error["term"]) == (409, "cluster.not_founder", 1)
    assert (await state(alice))["formed"] is False
    assert (await confirm(alice, 1)).status == 200


async def test_looking_does_not_put_anybody_on_the_roll(alice: Guest, bob: Guest) -> None:
    nobody = await state(alice)
    assert (nobody["verdict"], nobody["size"], nobody["term"], nobody["members"]) == ("wait", None, 0, [])
    await verdict(alice)
    seen = await state(bob)
    assert (seen["verdict"], seen["ordinal"], len(seen["members"])) == ("wait", None, 1)
    assert (await state(alice))["verdict"] == "bootstrap"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "size"),
        ("size=0", "size"),
        ("size=1001", "size"),
        ("size=-1", "size"),
        ("size=3.0", "size"),
        ("size=", "size"),
        ("size=3&founders=two", "founders"),
        ("size=3&closed=yes", "closed"),
        ("size=3&size=3", "size"),
        ("size=3&term=1", "term"),
        ("size=3&shared=project", "shared"),
    ],
)
async def test_a_wrong_parameter_is_a_400_that_names_it(alice: Guest, query: str, parameter: str) -> None:
    heard = await ask(alice, query)
    assert heard.status == 400
    assert heard.error["parameter"] == parameter


@pytest.mark.parametrize("query", ["", "term=", "term=0", "term=x", "term=1&term=1", "term=1&x=1", f"term={2**64}"])
async def test_a_wrong_term_is_a_400(alice: Guest, query: str) -> None:
    await verdict(alice)
    heard = await alice.ask("POST", f"/openstack/latest/cluster/db/formed?{query}")
    assert heard.status == 400


@pytest.mark.parametrize("name", ["", "a b", "ü", "a" * 65, "%00", ".", "..", "%2e", "a%2Fb", "a+b"])
async def test_a_name_that_no_cluster_can_have_is_refused(alice: Guest, name: str) -> None:
    heard = await ask(alice, "size=3", name)
    assert heard.status in (400, 404), heard  # a slash in it makes another path
    if heard.status == 400:
        assert heard.code == "cluster.name_invalid"


async def test_a_body_is_refused_because_it_would_get_lost(alice: Guest) -> None:
    heard = await alice.ask("POST", "/openstack/latest/cluster/db.json?size=3", b'{"meta": {}}')
    assert (heard.status, heard.code) == (400, "body.and_parameters")


@pytest.mark.parametrize(("method", "path"), [("PUT", "db.json"), ("DELETE", "db.json"), ("GET", "db/formed")])
async def test_another_method_is_a_400(alice: Guest, method: str, path: str) -> None:
    heard = await alice.ask(method, f"/openstack/latest/cluster/{path}")
    assert (heard.status, heard.code) == (400, "method.unsupported")


async def test_a_project_has_so_many_clusters_and_no_more(build: Build) -> None:
    alice = guest_of(await build(limits={"max_clusters_per_project": 2}), ALICE)
    await verdict(alice, name="one")
    await verdict(alice, name="two")
    heard = await ask(alice, name="three")
    assert heard.code == "quota.reached"
    assert (heard.error["limit"], heard.error["scope"]) == (2, "clusters")
    assert (await verdict(alice, name="two"))["verdict"] == "bootstrap"


async def test_an_instance_is_a_member_of_so_many_clusters_and_others_have_room(build: Build) -> None:
    parts = await build(limits={"max_clusters_per_project": 3, "max_clusters_per_instance": 2})
    alice, bob = guest_of(parts, ALICE), guest_of(parts, BOB)
    for name in ("one", "two", "one"):
        await verdict(alice, name=name)
    heard = await ask(alice, name="three")
    assert (heard.code, heard.error["limit"], heard.error["scope"]) == ("quota.reached", 2, "clusters")
    assert (await verdict(bob, name="three"))["verdict"] == "bootstrap"


async def test_a_cluster_that_all_have_left_takes_no_room_and_keeps_its_term(build: Build, command: Any) -> None:
    alice = guest_of(await build(limits={"max_clusters_per_project": 1}), ALICE)
    await verdict(alice, name="one")
    assert (await ask(alice, name="two")).code == "quota.reached"
    assert await command("cluster", "reset", "blue", "one") == 0
    await verdict(alice, name="two")
    assert (await ask(alice, name="one")).code == "quota.reached"
    assert await command("cluster", "reset", "blue", "two") == 0
    assert (await verdict(alice, name="one"))["term"] == 2


async def test_a_dated_version_has_clusters_too(alice: Guest) -> None:
    assert (await alice.ask("POST", "/openstack/2018-08-27/cluster/db.json?size=1")).json["verdict"] == "bootstrap"
    assert (await alice.ask("POST", "/openstack/1999-01-01/cluster/db.json?size=1")).status == 404


async def test_joining_the_roll_moves_the_revision_on(alice: Guest, bob: Guest) -> None:
    before = (await bob.get("peer_data.json")).json["revision"]
    told = (await verdict(alice))["revision"]
    assert told > before
    assert (await bob.get("peer_data.json")).json["revision"] == told


async def test_members_who_wait_write_nothing_and_share_one_reading_of_the_roll(
    alice: Guest, bob: Guest, carol: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [(guest, f"size=3&meta.name=n{number}") for number, guest in enumerate((alice, bob, carol))]
    for guest, query in said:
        await verdict(guest, query)
    asked: list[str] = []
    monkeypatch.setattr(Engine, "write", lambda *_args, **_named: asked.append("write"))
    monkeypatch.setattr(clusters, "read", lambda *_args: asked.append("read"))
    for _ in range(3):
        told = await asyncio.gather(*(verdict(guest, query) for guest, query in said))
        assert [heard["verdict"] for heard in told] == ["bootstrap", "wait", "wait"]
        assert (await state(bob))["members"] == told[0]["members"]
    assert asked == []


async def test_members_who_ask_at_once_after_a_change_elsewhere_share_one_reading_and_see_it(
    alice: Guest, bob: Guest, carol: Guest, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    for guest in (alice, bob, carol):
        await verdict(guest)
    await confirm(guest_of(await build(), ALICE))
    read, readings = clusters.read, []

    def count(*args: Any) -> clusters.Roll:
        readings.append(args)
        return read(*args)

    monkeypatch.setattr(clusters, "read", count)
    told = await asyncio.gather(*(verdict(guest) for guest in (bob, carol) * 5))
    assert {heard["verdict"] for heard in told} == {"join"}
    assert 1 <= len(readings) <= 2  # the second, if the first began before somebody's question was answered


async def test_rolls_are_forgotten_when_they_take_too_much_memory(
    alice: Guest, api: app.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        await verdict(alice, name=name)
    rolls = api.instances._clusters._rolls
    monkeypatch.setattr(rolls._memory, "_max_bytes", 1)
    assert (await state(alice, "one"))["verdict"] == "bootstrap"
    assert len(rolls._kept) == 1
    assert (await state(alice, "two"))["verdict"] == "bootstrap"


async def test_a_key_more_than_last_time_is_published_by_a_member_too(alice: Guest, bob: Guest) -> None:
    await verdict(alice, "size=3&meta.a=1")
    assert (await ask(alice, "size=3&meta.a=2")).code == "key.taken"
    members = (await verdict(alice, "size=3&meta.a=1&meta.b=2"))["members"]
    assert members[0]["meta"] == {"from_server_a": "1", "from_server_b": "2"}
    assert (await state(bob))["members"] == members


async def test_a_member_is_told_to_wait_on_while_nova_is_away(behind_nova: Cloud) -> None:
    """It says the same as before, so nobody needs to ask nova what the owner has set."""
    await verdict(behind_nova.alice, "size=3&meta.a=1")
    await verdict(behind_nova.bob, "size=3&meta.a=2")
    behind_nova.nova.seen.clear()
    assert (await verdict(behind_nova.bob, "size=3&meta.a=2"))["verdict"] == "wait"
    assert not any(seen.header(b"x-instance-id") == BOB.encode() for seen in behind_nova.nova.seen)


# A founder that is gone


@pytest.fixture
def command(settings: Settings, tmp_path: Path) -> Any:
    """Runs one of the operator's commands beside the service; gives its exit code."""
    config = tmp_path / "peerdata.conf"
    config.write_text(
        f"[database]\nconnection = {settings.database.connection}\n"
        f"[identity]\ninventory_file = {settings.identity.inventory_file}\n"
    )

    async def run(*words: str) -> int:
        return await asyncio.to_thread(main, [*words, "--config-file", str(config)])

    return run


async def until_told(guest: Guest, expected: str, query: str = "size=3") -> Any:
    """What *guest* hears once it is *expected*."""
    for _ in range(200):
        heard = await verdict(guest, query)
        if heard["verdict"] == expected:
            return heard
        await asyncio.sleep(0.02)
    raise AssertionError(heard)


async def test_a_founder_of_which_nova_says_that_it_is_gone_is_replaced_in_a_new_term(behind_nova: Cloud) -> None:
    alice, bob = behind_nova.alice, behind_nova.bob
    assert (await verdict(alice))["verdict"] == "bootstrap"
    assert (await verdict(bob))["verdict"] == "wait"
    fresh = behind_nova.guest(BOB, await behind_nova.rebuild())  # has not asked of anybody yet
    del behind_nova.nova.servers[ALICE]
    heard = await until_told(fresh, "bootstrap")
    assert (heard["term"], [member["uuid"] for member in heard["members"]]) == (2, [BOB])
    late = await confirm(alice, 1)
    assert (late.status, late.code) == (409, "cluster.not_founder")
    assert (await confirm(fresh, 2)).json["formed"] is True


async def test_one_founder_of_all_that_is_gone_means_another_set_in_a_new_term(behind_nova: Cloud) -> None:
    together = "size=2&founders=all"
    carol = behind_nova.guest(CAROL)
    for guest in (behind_nova.alice, behind_nova.bob):
        await verdict(guest, together)
    del behind_nova.nova.servers[BOB]
    assert (await verdict(carol, together))["verdict"] in ("wait", "bootstrap")
    heard = await until_told(carol, "bootstrap", together)
    assert (heard["term"], [member["uuid"] for member in heard["members"]]) == (2, [ALICE, CAROL])
    assert (await verdict(behind_nova.alice, together))["term"] == 2


async def test_a_founder_that_asks_again_learns_at_once_that_another_is_gone(behind_nova: Cloud) -> None:
    """Else it would begin what is void, and only its confirmation would tell."""
    together = "size=2&founders=all"
    for guest in (behind_nova.alice, behind_nova.bob):
        await verdict(guest, together)
    del behind_nova.nova.servers[BOB]
    heard = await verdict(behind_nova.guest(ALICE, await behind_nova.rebuild()), together)
    assert (heard["verdict"], heard["term"]) == ("wait", 2)
    assert [member["uuid"] for member in heard["members"]] == [ALICE]


async def test_no_cluster_is_confirmed_with_a_founder_who_was_deleted_just_now(behind_nova: Cloud) -> None:
    """Of whom nova was asked a moment before, so that nobody would ask again for seconds."""
    together = "size=2&founders=all"
    for guest in (behind_nova.alice, behind_nova.bob, behind_nova.alice):
        await verdict(guest, together)
    await until_asked_of(behind_nova, BOB)
    del behind_nova.nova.servers[BOB]
    heard = await confirm(behind_nova.alice)
    assert (heard.status, heard.code, heard.error["term"]) == (409, "cluster.not_founder", 2)


async def test_a_cluster_of_all_is_confirmed_where_nova_says_nothing_of_the_others(
    behind_nova: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = "size=2&founders=all"
    for guest in (behind_nova.alice, behind_nova.bob):
        await verdict(guest, together)
    monkeypatch.setattr("peerdata.service.clusters.FOUNDERS_S", 0.1)
    behind_nova.nova.be_silent()
    assert (await confirm(behind_nova.alice)).json["formed"] is True


async def until_asked_of(behind_nova: Cloud, uuid: str) -> None:
    """Until nova was asked of that instance once more than before."""
    for _ in range(200):
        if any(seen.header(b"x-instance-id") == uuid.encode() for seen in behind_nova.nova.seen):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"nobody asked nova of {uuid}")


async def waiting_for_alice(behind_nova: Cloud) -> Guest:
    """Bob, whom a new server knows, but which has not asked of alice yet; nothing that nova saw counts any more."""
    for guest in (behind_nova.alice, behind_nova.bob):
        await verdict(guest)
    bob = behind_nova.guest(BOB, await behind_nova.rebuild(nova={"timeout": 0.2}))
    assert (await bob.get("shared.json")).status == 200
    behind_nova.nova.seen.clear()
    return bob


async def test_a_silent_nova_is_no_answer(behind_nova: Cloud) -> None:
    bob = await waiting_for_alice(behind_nova)
    behind_nova.nova.be_silent()
    await verdict(bob)
    await until_asked_of(behind_nova, ALICE)
    await asyncio.sleep(0.4)  # longer than the timeout
    heard = await verdict(bob)
    assert (heard["verdict"], heard["term"]) == ("wait", 1)


@pytest.mark.parametrize("status", [200, 500, 503, 403, 400])
async def test_only_novas_404_says_that_an_instance_is_gone(behind_nova: Cloud, status: int) -> None:
    bob = await waiting_for_alice(behind_nova)
    behind_nova.nova.say(status, b"no")
    await verdict(bob)
    await until_asked_of(behind_nova, ALICE)
    await asyncio.sleep(0.2)
    heard = await verdict(bob)
    assert (heard["verdict"], heard["term"]) == ("wait", 1)


def leave_out_of_inventory(path: Path) -> None:
    """Let alice's place in the file be another instance's."""
    text = path.read_text().replace("10.0.0.1]", "10.0.0.77]")
    path.write_text(text.replace(ALICE, "a11ce000-0000-4000-8000-000000000077"))


async def test_stand_alone_the_inventory_says_who_is_gone(build: Build, settings: Settings, bob: Guest) -> None:
    parts = await build()
    await verdict(guest_of(parts, ALICE))
    assert parts.inventory
    leave_out_of_inventory(Path(settings.identity.inventory_file))
    await parts.inventory.reload()
    heard = await until_told(guest_of(parts, BOB), "bootstrap")
    assert heard["term"] == 2


async def test_an_instance_that_the_operator_removes_leaves_all_rolls(
    alice: Guest, bob: Guest, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await verdict(alice, name="one")
    await verdict(alice, name="two")
    await verdict(bob, name="one")
    assert await command("instance", "remove", ALICE) == 0
    assert "the rolls of 2 clusters" in capsys.readouterr().out
    heard = await verdict(bob, name="one")
    assert (heard["verdict"], heard["term"]) == ("bootstrap", 2)
    assert (await state(bob, "two"))["members"] == []


async def test_when_the_last_member_has_left_the_cluster_begins_anew(alice: Guest, bob: Guest, command: Any) -> None:
    await verdict(alice, "size=1")
    await confirm(alice)
    await command("instance", "remove", ALICE)
    heard = await verdict(bob, "size=5&founders=one")  # another plan, too
    assert (heard["verdict"], heard["term"], heard["size"], heard["formed"]) == ("bootstrap", 2, 5, False)


async def test_the_operator_resets_a_cluster(
    alice: Guest, bob: Guest, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await verdict(alice)
    await confirm(alice)
    assert (await verdict(bob))["verdict"] == "join"
    assert await command("cluster", "list") == 0
    assert capsys.readouterr().out == "blue db formed term=1 size=3 founders=one members=2\n"
    assert await command("cluster", "reset", "blue", "db", "--yes") == 0
    heard = await verdict(bob)
    assert (heard["verdict"], heard["term"], heard["ordinal"]) == ("bootstrap", 2, 0)
    assert (await confirm(alice, 1)).status == 409
    assert await command("cluster", "reset", "blue", "nothing") == 1


async def test_a_formed_cluster_is_not_reset_by_somebody_who_is_not_sure(
    alice: Guest, bob: Guest, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for guest in (alice, bob):
        await verdict(guest)
    await confirm(alice)
    before = await state(alice)
    assert await command("cluster", "reset", "blue", "db") == 1
    said = capsys.readouterr()
    assert said.out == ""
    for words in ("formed, 2 members", "begins a second, empty or older one", "repeat with --yes"):
        assert words in said.err
    assert (await state(alice)) | {"poll_after_s": 0} == before | {"poll_after_s": 0}


async def test_a_cluster_that_is_forming_is_reset_without_a_question(alice: Guest, bob: Guest, command: Any) -> None:
    await verdict(alice)
    await verdict(bob)
    assert await command("cluster", "reset", "blue", "db") == 0
    heard = await verdict(bob)
    assert (heard["verdict"], heard["term"], heard["ordinal"]) == ("bootstrap", 2, 0)


async def test_the_list_says_for_whom_clusters_wait_that_form(
    alice: Guest, bob: Guest, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for guest in (alice, bob):
        await verdict(guest, "size=2", "a")
        await verdict(guest, "size=2&founders=all", "b")
        await verdict(guest, "size=4&founders=all", "c")
    await verdict(alice, name="d")
    await command("cluster", "reset", "blue", "d")
    assert await command("cluster", "list") == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"blue a forming term=1 size=2 founders=one members=2 waits-for={ALICE}",
        f"blue b forming term=1 size=2 founders=all members=2 waits-for={ALICE},{BOB}",
        "blue c forming term=1 size=4 founders=all members=2 waits-for=2 more members",
        "blue d forming term=2 size=3 founders=one members=0 waits-for=whoever asks first",
    ]


async def test_the_operator_is_shown_a_cluster_its_roll_and_for_whom_it_waits(
    alice: Guest, bob: Guest, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await alice.publish("hidden_addr=10.9.9.9", shared=False)
    await verdict(alice, "size=3&meta.db_addr=10.0.0.1&meta.db_name=alice&meta.color=red")
    await verdict(bob, "size=3&meta.addr=10.0.0.2:3306")
    assert await command("cluster", "show", "blue", "db") == 0
    assert capsys.readouterr().out.splitlines() == [
        "blue db forming term=1 size=3 founders=one closed=false members=2",
        f"waiting: the founder, {ALICE}, must confirm that the cluster stands",
        f"0 {ALICE} founder db_addr=10.0.0.1 db_name=alice",
        f"1 {BOB} member addr=10.0.0.2:3306",
    ]
    await confirm(alice)
    await command("cluster", "show", "blue", "db")
    formed = capsys.readouterr().out.splitlines()
    assert formed[:2] == [
        "blue db formed term=1 size=3 founders=one closed=false members=2",
        "waiting: for nobody, the cluster is formed",
    ]
    assert len(formed) == 4


async def test_what_a_guest_published_neither_steers_the_terminal_nor_adds_words_to_the_line(
    alice: Guest, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await verdict(alice, "size=3&meta.db_name=%1B[2J%0A1 founder")
    await command("cluster", "show", "blue", "db")
    assert capsys.readouterr().out.splitlines()[2:] == [f"0 {ALICE} founder 'db_name=\\x1b[2J\\n1 founder'"]


async def test_the_operator_takes_a_founder_off_one_roll_and_the_next_that_asks_founds(
    alice: Guest, bob: Guest, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("db", "other"):
        await verdict(alice, "size=3&meta.addr=10.0.0.1", name)
        await verdict(bob, "size=3", name)
    assert await command("cluster", "remove", "blue", "db", ALICE.upper()) == 0
    assert capsys.readouterr().out == (
        f"removed instance {ALICE} from the roll of cluster db of project blue; "
        "term 2: the next member that asks founds it\n"
    )
    await command("cluster", "list")
    assert capsys.readouterr().out.splitlines() == [
        "blue db forming term=2 size=3 founders=one members=1 waits-for=the next that asks",
        f"blue other forming term=1 size=3 founders=one members=2 waits-for={ALICE}",
    ]
    heard = await verdict(bob)
    assert (heard["verdict"], heard["term"], [one["uuid"] for one in heard["members"]]) == ("bootstrap", 2, [BOB])
    assert (await confirm(alice, 1)).code == "cluster.not_founder"
    assert await bob.shared_keys() == {ALICE: {"from_server_addr": "10.0.0.1"}}
    assert (await verdict(alice, name="other"))["verdict"] == "bootstrap"


async def test_a_member_of_a_formed_cluster_is_taken_off_and_the_others_stay(
    alice: Guest, bob: Guest, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for guest in (alice, bob):
        await verdict(guest)
    await confirm(alice)
    assert await command("cluster", "remove", "blue", "db", ALICE) == 0
    assert capsys.readouterr().out == f"removed instance {ALICE} from the roll of cluster db of project blue\n"
    heard = await state(bob)
    assert (heard["formed"], heard["term"], [one["uuid"] for one in heard["members"]]) == (True, 1, [BOB])


async def test_the_last_of_a_formed_cluster_is_taken_off_only_by_somebody_who_is_sure(
    alice: Guest, bob: Guest, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a second one would begin, as with a reset."""
    await verdict(alice)
    await confirm(alice)
    assert await command("cluster", "remove", "blue", "db", ALICE) == 1
    assert "repeat with --yes" in capsys.readouterr().err
    assert (await state(alice))["verdict"] == "join"
    assert await command("cluster", "remove", "blue", "db", ALICE, "--yes") == 0
    assert "term 2: the first instance that joins begins it" in capsys.readouterr().out
    assert (await verdict(bob))["verdict"] == "bootstrap"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("show", "blue", "nothing"), 1, "project blue has no cluster 'nothing'"),
        (("show", "green", "db"), 1, "project green has no cluster 'db'"),
        (("remove", "blue", "nothing", ALICE), 1, "project blue has no cluster 'nothing'"),
        (("remove", "blue", "db", CAROL), 1, f"instance {CAROL} is not on the roll of cluster db of project blue"),
        (("remove", "blue", "db", "carol"), 2, "'carol' is no UUID of an instance"),
        (("reset", "green", "db"), 1, "project green has no cluster 'db'"),
    ],
)
async def test_who_names_what_is_not_there_is_told_so_and_changes_nothing(
    alice: Guest, command: Any, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str
) -> None:
    await verdict(alice)
    before = await state(alice)
    assert await command("cluster", *words) == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"peerdata: {message}\n")
    assert (await state(alice)) | {"poll_after_s": 0} == before | {"poll_after_s": 0}


async def test_a_silent_founder_is_waited_for(alice: Guest, bob: Guest) -> None:
    """It may be slow, or cut off: as long as it exists it may come back."""
    await verdict(alice)
    for _ in range(30):
        assert (await verdict(bob))["verdict"] == "wait"
        await asyncio.sleep(0.01)
