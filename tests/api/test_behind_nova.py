"""In front of nova, behind neutron: what is nova's stays nova's, what is ours is merged, and who asks is proven."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from peerdata.app import Parts
from peerdata.errors import SettingsInvalid

from .conftest import ALICE, BOB, ZOE, Cloud
from .conversation import Guest
from .fake_nova import FakeNova, Seen, Server, answer_bytes, sign, through_neutron

# Publishing and reading


async def test_a_publish_answers_novas_document_with_the_new_keys(behind_nova: Cloud) -> None:
    behind_nova.nova.servers[ALICE].meta = {"role": "web"}
    heard = await behind_nova.alice.publish("a=1", shared=True)
    assert heard.status == 200
    assert heard.json == {
        "uuid": ALICE,
        "name": "ü",
        "random_seed": "c2VlZA==",
        "meta": {"role": "web", "from_server_a": "1"},
        "project_id": "blue",
    }
    assert await behind_nova.bob.shared_keys() == {ALICE: {"from_server_a": "1"}}
    assert await behind_nova.zoe.shared_keys() == {}


async def test_without_keys_novas_bytes_come_through_untouched(behind_nova: Cloud) -> None:
    said = b' {"uuid" : "%s", "project_id":"blue","n":1.50, "name": "\\u00FC" }\n' % ALICE.encode()
    behind_nova.nova.say_to(b"meta_data.json", answer_bytes(200, said, (b"X-Own", b"1"), content_type=b"text/x-odd"))
    heard = await behind_nova.alice.get("meta_data.json")
    assert (heard.status, heard.body, heard.content_type) == (200, said, b"text/x-odd")
    assert (b"X-Own", b"1") in heard.headers


async def test_with_keys_nothing_else_of_the_document_changes(behind_nova: Cloud) -> None:
    await behind_nova.alice.publish("a=1")
    document = {
        "uuid": ALICE,
        "meta": {"z": "", "a": "ü"},
        "random_seed": "AAAA",
        "project_id": "blue",
        "n": 12345678901234567890,
        "f": 0.1,
        "deep": [{"x": None}, True],
        "new member of a later nova": {},
    }
    behind_nova.nova.say_to(b"meta_data.json", answer_bytes(200, json.dumps(document).encode()))
    heard = await behind_nova.alice.get("meta_data.json")
    assert heard.content_type == b"application/json; charset=utf-8"
    merged = heard.json
    assert merged.pop("meta") == {"z": "", "a": "ü", "from_server_a": "1"}
    del document["meta"]
    assert merged == document
    assert list(merged) == list(document)


@pytest.mark.parametrize("version", ["2012-08-10", "2013-04-04", "2018-08-27", "latest"])
async def test_every_version_that_nova_lists_is_merged(behind_nova: Cloud, version: str) -> None:
    assert (await behind_nova.alice.publish("a=1", version=version)).meta == {"from_server_a": "1"}
    heard = await behind_nova.alice.get("meta_data.json", version=version)
    assert heard.meta == {"from_server_a": "1"}
    assert ("project_id" in heard.json) == (version >= "2015-10-15")


async def test_our_keys_are_right_at_once_where_nova_shows_an_old_document(behind_nova: Cloud) -> None:
    """Nova caches it for 15 s."""
    old = json.dumps(behind_nova.nova.servers[ALICE].document("latest")).encode()
    behind_nova.nova.say_to(b"meta_data.json", answer_bytes(200, old))
    await behind_nova.alice.publish("a=1")
    assert (await behind_nova.alice.get("meta_data.json")).meta == {"from_server_a": "1"}


async def test_what_the_owner_set_through_nova_counts_as_set_unshared(behind_nova: Cloud) -> None:
    behind_nova.nova.servers[ALICE].meta = {"from_server_leader": "the owner's", "leader": "something else"}
    alice = behind_nova.alice
    assert (await alice.publish("leader=mine")).status == 409
    assert (await alice.publish("leader=the owner's", shared=True)).status == 409
    assert (await alice.publish("leader=the owner's")).meta["leader"] == "something else"
    assert (await alice.publish("other=1", shared=True)).status == 200
    assert await behind_nova.bob.shared_keys() == {ALICE: {"from_server_other": "1"}}


async def test_what_the_instance_set_first_stays_when_the_owner_sets_it_later(behind_nova: Cloud) -> None:
    await behind_nova.alice.publish("leader=mine", shared=True)
    behind_nova.nova.servers[ALICE].meta = {"from_server_leader": "the owner's"}
    assert (await behind_nova.alice.get("meta_data.json")).meta == {"from_server_leader": "mine"}
    assert (await behind_nova.alice.publish("leader=mine", shared=True)).status == 200


async def test_nova_is_asked_for_the_document_with_get_whatever_the_instance_sent(behind_nova: Cloud) -> None:
    await behind_nova.alice.post({"meta": {"a": "1"}}, "shared=project", version="2018-08-27")
    asked = behind_nova.nova.seen[-1]
    assert (asked.method, asked.target, asked.body) == ("GET", b"/openstack/2018-08-27/meta_data.json", b"")
    for method in ("POST", "HEAD", "OPTIONS"):
        heard = await behind_nova.alice.ask(method, "/openstack/latest/meta_data.json?x=y", b"{}")
        assert heard.meta == {"from_server_a": "1"}
        assert behind_nova.nova.seen[-1].method == "GET"


@pytest.mark.parametrize("header", [b"if-none-match", b"if-modified-since", b"range", b"accept-encoding"])
async def test_nova_is_asked_for_the_document_without_the_callers_conditions(behind_nova: Cloud, header: bytes) -> None:
    """A proxy in front of nova would answer 304, 206, or packed, and then there is no document to merge into."""
    await behind_nova.alice.publish("a=1")
    await behind_nova.alice.ask("GET", "/openstack/latest/meta_data.json", headers=[(header, b"x")])
    assert behind_nova.nova.seen[-1].header(header) is None


async def test_over_a_quota_is_a_403_because_a_413_does_not_get_through(behind_nova: Cloud) -> None:
    refused = await behind_nova.alice.publish(*(f"k{number}=1" for number in range(9)))
    assert (refused.status, refused.code) == (403, "quota.reached")
    assert (await behind_nova.alice.last_error())["code"] == "peerdata.quota.reached"


# Versions and listings


async def test_the_listing_shows_novas_entries_and_ours(behind_nova: Cloud) -> None:
    for target in ("/openstack/latest/", "/openstack/latest", "/openstack/2018-08-27/"):
        heard = await behind_nova.alice.ask("GET", target)
        assert (heard.status, heard.content_type) == (200, b"text/plain; charset=UTF-8")
        assert heard.body.decode().split("\n") == [
            "meta_data.json",
            "network_data.json",
            "user_data",
            "cluster/",
            "metadata",
            "peer_data.json",
            "peer_data/last_error.json",
            "shared.json",
        ]


async def test_head_of_a_listing_says_nothing_wrong_about_its_length(behind_nova: Cloud) -> None:
    """RFC 9110, 9.3.2: the length that GET would state, or none."""
    got = await behind_nova.alice.ask("GET", "/openstack/latest/")
    asked = await behind_nova.alice.ask("HEAD", "/openstack/latest/")
    assert asked.status == 200
    assert len(asked.body) in (0, len(got.body))


async def test_the_list_of_versions_is_what_nova_says(behind_nova: Cloud) -> None:
    for target in ("/openstack", "/openstack/", "/"):
        heard = await behind_nova.alice.ask("GET", target)
        assert heard.body == "\n".join(behind_nova.nova.versions).encode()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["shared.json", "metadata", "meta_data.json", "peer_data.json", ""])
async def test_under_a_version_that_nova_does_not_list_everything_is_novas_404(
    behind_nova: Cloud, path: str, method: str
) -> None:
    """2016-06-30 is known to us, but not to this nova."""
    await behind_nova.alice.publish("a=1", shared=True)
    for version in ("2016-06-30", "1999-01-01", "x"):
        heard = await behind_nova.alice.ask(method, f"/openstack/{version}/{path}?meta.b=1")
        assert (heard.status, heard.body) == (404, b"<html>404 Not Found</html>")
        assert behind_nova.nova.seen[-1].method == method
    assert (await behind_nova.bob.get("peer_data.json")).json["revision"] == 1


async def test_a_version_that_only_this_nova_has_is_ours_too(behind_nova: Cloud) -> None:
    behind_nova.nova.versions.append("2031-01-01")
    heard = await behind_nova.alice.publish("a=1", shared=True, version="2031-01-01")
    assert heard.meta == {"from_server_a": "1"}


async def test_novas_list_of_versions_is_asked_for_once(behind_nova: Cloud) -> None:
    for _ in range(3):
        await behind_nova.alice.get("shared.json", version="2018-08-27")
        await behind_nova.bob.get("shared.json", version="2018-08-27")
    assert [seen.target for seen in behind_nova.nova.seen].count(b"/openstack") == 1


async def test_novas_list_of_versions_is_asked_for_once_however_many_wait_for_it(behind_nova: Cloud) -> None:
    guests = (behind_nova.alice, behind_nova.bob, behind_nova.zoe)
    heard = await asyncio.gather(
        *(guest.get("shared.json", version="2018-08-27") for guest in guests for _ in range(5))
    )
    assert [one.status for one in heard] == [200] * 15
    assert [seen.target for seen in behind_nova.nova.seen].count(b"/openstack") == 1


async def test_who_is_nobody_cannot_make_us_ask_for_the_list_of_versions(behind_nova: Cloud) -> None:
    nobody = Guest(behind_nova.parts.instances, "")
    heard = await nobody.get("shared.json", version="2018-08-27")
    assert (heard.status, heard.code) == (400, "identity.missing")
    assert behind_nova.nova.seen == []


# Who asks


@pytest.mark.parametrize("missing", [b"x-instance-id", b"x-tenant-id", b"x-instance-id-signature"])
@pytest.mark.parametrize("path", ["shared.json", "meta_data.json", "peer_data.json", "peer_data/last_error.json"])
async def test_without_one_of_the_agents_headers_it_is_a_400(behind_nova: Cloud, path: str, missing: bytes) -> None:
    guest = behind_nova.alice
    guest.headers = [header for header in guest.headers if header[0] != missing]
    heard = await guest.get(path)
    assert (heard.status, heard.code) == (400, "identity.missing")
    assert heard.error["header"] == missing.decode()
    assert behind_nova.nova.seen == []


@pytest.mark.parametrize("twice", [b"x-instance-id", b"x-tenant-id", b"x-instance-id-signature"])
async def test_one_of_the_agents_headers_twice_is_a_400(behind_nova: Cloud, twice: bytes) -> None:
    guest = behind_nova.alice
    guest.headers.append((twice, dict(guest.headers)[twice]))
    heard = await guest.publish("a=1")
    assert (heard.status, heard.code) == (400, "identity.repeated")


async def test_a_wrong_signature_is_a_403_and_nova_is_not_even_asked(behind_nova: Cloud) -> None:
    guest = behind_nova.alice
    guest.headers[-1] = (b"x-instance-id-signature", sign(ALICE, "another secret"))
    heard = await guest.publish("a=1")
    assert (heard.status, heard.code) == (403, "identity.signature")
    assert behind_nova.nova.seen == []


async def test_an_instance_that_nova_does_not_know_is_a_404(behind_nova: Cloud) -> None:
    ghost = Server("90050000-0000-4000-8000-000000000007", "blue", "10.0.0.7")
    guest = Guest(behind_nova.parts.instances, ghost.uuid, through_neutron(ghost))
    for heard in (await guest.publish("a=1", shared=True), await guest.get("shared.json")):
        assert (heard.status, heard.code) == (404, "identity.unknown")
    assert await behind_nova.alice.shared_keys() == {}


async def test_a_known_instance_that_claims_another_project_is_a_404(behind_nova: Cloud) -> None:
    """The signature does not cover the tenant."""
    await behind_nova.zoe.publish("secret=1", shared=True)
    guest = behind_nova.alice
    await guest.get("shared.json")
    guest.headers = [(name, b"green" if name == b"x-tenant-id" else value) for name, value in guest.headers]
    heard = await guest.get("shared.json")
    assert (heard.status, heard.code) == (404, "identity.unknown")


async def test_the_same_address_in_two_projects_is_two_instances(behind_nova: Cloud) -> None:
    await behind_nova.alice.publish("a=1", shared=True)
    await behind_nova.zoe.publish("z=1", shared=True)
    assert list(await behind_nova.alice.shared_keys()) == [ALICE]
    assert list(await behind_nova.zoe.shared_keys()) == [ZOE]


async def test_a_known_instance_costs_nova_one_question(behind_nova: Cloud) -> None:
    for _ in range(5):
        await behind_nova.alice.get("shared.json")
        await behind_nova.alice.get("peer_data.json")
    assert len(behind_nova.nova.seen) == 1
    assert behind_nova.nova.seen[0].target == b"/openstack/latest/meta_data.json"


async def test_nova_answering_for_another_instance_is_a_502_again_and_again(behind_nova: Cloud) -> None:
    await behind_nova.bob.publish("secret=1")
    document = json.dumps(behind_nova.nova.servers[BOB].document("latest")).encode()
    behind_nova.nova.say_to(b"meta_data.json", answer_bytes(200, document))
    for _ in range(2):
        for heard in (
            await behind_nova.alice.get("meta_data.json"),
            await behind_nova.alice.get("shared.json"),
            await behind_nova.alice.publish("a=1"),
        ):
            assert (heard.status, heard.code) == (502, "upstream.failed")
            assert b"secret" not in heard.body


async def test_nova_answering_for_another_instance_later_is_a_502(behind_nova: Cloud) -> None:
    await behind_nova.alice.publish("a=1")
    for wrong in (behind_nova.nova.servers[BOB], Server(ALICE, "green", "")):
        behind_nova.nova.say_to(b"meta_data.json", answer_bytes(200, json.dumps(wrong.document("latest")).encode()))
        assert (await behind_nova.alice.get("meta_data.json")).status == 502
        assert (await behind_nova.alice.publish("b=1")).status == 502
    behind_nova.nova.be_well()
    assert (await behind_nova.alice.get("meta_data.json")).meta == {"from_server_a": "1"}


async def test_an_instance_that_was_deleted_meanwhile_cannot_publish(behind_nova: Cloud) -> None:
    alice = behind_nova.alice
    await alice.publish("a=1", shared=True)
    del behind_nova.nova.servers[ALICE]
    heard = await alice.publish("b=1", shared=True)
    assert (heard.status, heard.code) == (404, "identity.unknown")
    assert await behind_nova.bob.shared_keys() == {ALICE: {"from_server_a": "1"}}


@pytest.fixture
async def nova_on_ipv6(behind_nova: Cloud) -> AsyncIterator[FakeNova]:
    """The same servers, on another address."""
    nova = FakeNova("::1")
    nova.servers = behind_nova.nova.servers
    try:
        await nova.open()
    except OSError:
        pytest.skip("this machine has no IPv6")
    yield nova
    await nova.close()


async def test_nova_may_listen_on_ipv6(behind_nova: Cloud, nova_on_ipv6: FakeNova) -> None:
    alice = behind_nova.guest(ALICE, await behind_nova.rebuild(nova={"metadata_url": nova_on_ipv6.url}))
    assert (await alice.publish("a=1")).status == 200
    assert nova_on_ipv6.seen[0].header(b"host") == b"[::1]:%d" % nova_on_ipv6.port
    assert (await alice.get("user_data")).status == 200


# Impossible settings that only show when the parts are built


@pytest.mark.parametrize("options", [("cafile",), ("certfile", "keyfile")])
async def test_a_certificate_file_that_is_none_is_refused_by_its_name(
    behind_nova: Cloud, tmp_path: object, options: tuple[str, ...]
) -> None:
    path = f"{tmp_path}/inventory.yaml"
    with pytest.raises(SettingsInvalid, match=options[0]):
        await behind_nova.rebuild(nova={"metadata_url": "https://127.0.0.1:1"} | dict.fromkeys(options, path))


async def test_the_parts_are_built_without_asking_nova(behind_nova: Cloud, nova_seen: list[Seen], api: Parts) -> None:
    assert api.inventory is not None
    assert behind_nova.parts.inventory is None
    assert nova_seen == []


@pytest.fixture
def nova_seen(behind_nova: Cloud) -> list[Seen]:
    """What arrived at nova."""
    return behind_nova.nova.seen


async def test_a_boot_storm_waits_for_nova_in_line_and_everybody_is_answered(behind_nova: Cloud) -> None:
    """A thousand calls that need nova at once: the way to it must not cost the square of their number."""
    heard = await asyncio.gather(*(behind_nova.alice.get("user_data", f"n={number}") for number in range(1000)))
    assert {answer.status for answer in heard} == {200}
