"""Without nova: the inventory plays the part of it that cloud-init and people need."""

import base64
from pathlib import Path

import pytest

from peerdata.app import Parts
from peerdata.errors import SettingsInvalid
from peerdata.settings import Settings
from peerdata.upstream.versions import NOVA_VERSIONS

from .conftest import ALICE, BOB, CAROL, INVENTORY, Build
from .conversation import Guest

TEXT = b"text/plain; charset=utf-8"


async def test_the_document_says_what_the_inventory_says(alice: Guest) -> None:
    document = (await alice.get("meta_data.json")).json
    assert len(base64.b64decode(document.pop("random_seed"))) == 512
    assert document == {
        "uuid": ALICE,
        "meta": {"role": "web", "from_server_owned": "by the owner"},
        "public_keys": {"ops": "ssh-ed25519 AAAA"},
        "keys": [{"name": "ops", "type": "ssh", "data": "ssh-ed25519 AAAA"}],
        "hostname": "alice.example.org",
        "name": "alice",
        "launch_index": 0,
        "availability_zone": "rack-1",
        "project_id": "blue",
        "devices": [],
        "dedicated_cpus": [],
    }


async def test_the_random_seed_differs_each_time(alice: Guest) -> None:
    seeds = {(await alice.get("meta_data.json")).json["random_seed"] for _ in range(3)}
    assert len(seeds) == 3


@pytest.mark.parametrize(
    ("version", "members"),
    [
        ("2012-08-10", set()),
        ("2013-04-04", {"random_seed"}),
        ("2013-10-17", {"random_seed"}),
        ("2015-10-15", {"random_seed", "project_id"}),
        ("2016-06-30", {"random_seed", "project_id", "devices"}),
        ("2018-08-27", {"random_seed", "project_id", "devices"}),
        ("2020-10-14", {"random_seed", "project_id", "devices", "dedicated_cpus"}),
        ("2025-04-04", {"random_seed", "project_id", "devices", "dedicated_cpus"}),
        ("latest", {"random_seed", "project_id", "devices", "dedicated_cpus"}),
    ],
)
async def test_each_version_has_the_members_that_nova_gives_it(bob: Guest, version: str, members: set[str]) -> None:
    document = (await bob.get("meta_data.json", version=version)).json
    always = {"uuid", "hostname", "name", "launch_index", "availability_zone"}
    assert set(document) - always == members


async def test_the_listing_of_a_version_names_what_is_there_and_all_of_it_answers(alice: Guest) -> None:
    for target in ("/openstack/latest", "/openstack/latest/", "/openstack/2018-08-27/"):
        heard = await alice.ask("GET", target)
        assert (heard.status, heard.content_type) == (200, TEXT)
        assert heard.body.decode().split("\n") == [
            "meta_data.json",
            "cluster/",
            "metadata",
            "peer_data.json",
            "peer_data/last_error.json",
            "shared.json",
        ]
    for path in heard.body.decode().split("\n"):
        name = "etcd.json" if path == "cluster/" else ""
        assert (await alice.get(f"{path}{name}")).status == (400 if path == "metadata" else 200)


async def test_the_list_of_versions_is_novas_own(alice: Guest) -> None:
    for target in ("/openstack", "/openstack/"):
        heard = await alice.ask("GET", target)
        assert heard.content_type == TEXT
        assert set(heard.body.decode().split("\n")) == NOVA_VERSIONS


async def test_reading_metadata_says_what_to_do_instead(alice: Guest) -> None:
    heard = await alice.get("metadata")
    assert (heard.status, heard.code) == (400, "method.unsupported")
    assert "meta_data.json" in heard.error["message"]


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/latest/meta-data/",
        "/2009-04-04/meta-data/instance-id",
        "/openstack/latest/user_data",
        "/openstack/latest/vendor_data.json",
        "/openstack/latest/network_data.json",
        "/openstack/latest/password",
        "/openstack/1999-01-01/",
        "/openstack/1999-01-01/meta_data.json",
        "/openstack/1999-01-01/shared.json",
        pytest.param(
            "/openstack/1999-01-01/metadata",
        ),
        "/openstack/latest/%FF",
        "/openstack/latest/%00",
        "*",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
async def test_anything_else_is_not_there(alice: Guest, method: str, target: str) -> None:
    heard = await alice.ask(method, target, b"{}" if method == "POST" else b"")
    assert (heard.status, heard.code) == (404, "path.unknown")
    assert "/openstack/latest/" in heard.error["message"]


async def test_a_path_in_a_message_is_never_more_than_a_person_can_read(alice: Guest) -> None:
    heard = await alice.ask("GET", "/" + "%F0%9F%99%82" * 5000)
    assert heard.status == 404
    assert len(heard.body) < 1000


async def test_an_instance_may_have_several_addresses(api: Parts, bob: Guest) -> None:
    await bob.publish("a=1", shared=True)
    by_ipv6 = Guest(api.instances, BOB, client="2001:db8::2")
    assert (await by_ipv6.get("meta_data.json")).meta == {"from_server_a": "1"}


async def test_a_trusted_proxy_says_whose_request_it_is(api: Parts, alice: Guest) -> None:
    await alice.publish("a=1", shared=True)
    proxied = Guest(api.instances, CAROL, [(b"x-forwarded-for", b"10.0.0.3")], client="192.0.2.80")
    heard = await proxied.get("peer_data.json")
    assert heard.json["self"] == CAROL


@pytest.mark.parametrize(
    "header",
    [
        (b"x-forwarded-for", b"10.0.0.2"),
        (b"x_forwarded_for", b"10.0.0.2"),
        (b"forwarded", b"for=10.0.0.2"),
        (b"x-real-ip", b"10.0.0.2"),
        (b"x-instance-id", BOB.encode()),
        (b"host", b"10.0.0.2"),
    ],
)
async def test_an_instance_cannot_say_that_it_is_another(alice: Guest, header: tuple[bytes, bytes]) -> None:
    heard = await alice.ask("GET", "/openstack/latest/peer_data.json", headers=[header])
    assert heard.json["self"] == ALICE


def rewrite(settings: Settings, text: str) -> None:
    """Put *text* in the place of the inventory."""
    Path(settings.identity.inventory_file).write_text(text)


async def test_reading_the_inventory_again_takes_in_and_takes_out(
    api: Parts, alice: Guest, bob: Guest, settings: Settings
) -> None:
    await alice.publish("a=1", shared=True)
    rewrite(settings, f"instances: [{{uuid: {BOB}, project_id: blue, addresses: [10.0.0.2], name: new}}]")
    assert api.inventory is not None
    await api.inventory.reload()
    assert (await alice.get("shared.json")).code == "identity.unknown"
    assert (await bob.get("meta_data.json")).json["name"] == "new"
    assert list(await bob.shared_keys()) == [ALICE]  # until the operator removes it
    rewrite(settings, "instances: [")
    with pytest.raises(SettingsInvalid):
        await api.inventory.reload()
    assert (await bob.get("meta_data.json")).json["name"] == "new"


async def test_an_instance_that_moved_to_another_project_begins_anew(
    api: Parts, alice: Guest, zoe: Guest, settings: Settings
) -> None:
    await alice.publish("a=1", shared=True)
    rewrite(settings, INVENTORY.replace("blue, addresses: [10.0.0.1]", "green, addresses: [10.0.0.1]"))
    assert api.inventory is not None
    await api.inventory.reload()
    assert (await alice.publish("a=2", shared=True)).status == 200
    assert await zoe.shared_keys() == {ALICE: {"from_server_a": "2"}}


async def test_a_service_without_a_usable_inventory_does_not_start(build: Build, settings: Settings) -> None:
    rewrite(settings, "instances: []")
    with pytest.raises(SettingsInvalid):
        await build()
