"""Mode upstream: nova finds the instance by the address, or by what a trusted load balancer says."""

import pytest

from peerdata.app import Parts

from .conftest import ALICE, BOB, Cloud
from .conversation import Guest
from .fake_nova import FakeNova

BALANCER = "192.0.2.80"


@pytest.fixture
async def parts(behind_nova: Cloud) -> Parts:
    """The app in mode upstream; trusts `BALANCER`."""
    return await behind_nova.rebuild(identity={"mode": "upstream", "inventory_file": ""})


@pytest.fixture
def bob(parts: Parts) -> Guest:
    """Speaks from its own address."""
    return Guest(parts.instances, BOB, client="10.0.0.2")


async def test_an_instance_is_found_by_its_address(bob: Guest) -> None:
    assert (await bob.publish("b=1", shared=True)).meta == {"from_server_b": "1"}
    assert (await bob.get("peer_data.json")).json["self"] == BOB
    assert list(await bob.shared_keys()) == [BOB]


async def test_an_address_that_nova_does_not_know_is_a_404(parts: Parts) -> None:
    heard = await Guest(parts.instances, "", client="198.51.100.7").get("shared.json")
    assert (heard.status, heard.code) == (404, "identity.unknown")


async def test_nobody_but_the_balancer_says_whose_request_it_is(
    parts: Parts, bob: Guest, nova: FakeNova, behind_nova: Cloud
) -> None:
    forged = [
        (b"x-forwarded-for", b"10.0.0.3"),
        (b"x_forwarded_for", b"10.0.0.3"),
        (b"forwarded", b"for=10.0.0.3"),
        *behind_nova.alice.headers,
        (b"x-metadata-provider", b"router"),
    ]
    for path in ("peer_data.json", "user_data", "meta_data.json", ""):
        await bob.ask("GET", f"/openstack/latest/{path}", headers=forged)
        arrived = {name.lower().replace(b"_", b"-"): value for name, value in nova.seen[-1].headers}
        assert arrived[b"x-forwarded-for"] == b"10.0.0.2"
        assert not set(arrived) & {b"forwarded", b"x-instance-id", b"x-tenant-id", b"x-metadata-provider"}
    heard = await bob.ask("GET", "/openstack/latest/peer_data.json", headers=forged)
    assert heard.json["self"] == BOB


async def test_the_balancer_says_whose_request_it_is(parts: Parts, bob: Guest, nova: FakeNova) -> None:
    await bob.publish("b=1", shared=True)
    balanced = Guest(
        parts.instances,
        "",
        [(b"x-forwarded-for", b"10.0.0.66, 10.0.0.3"), (b"x-metadata-provider", b"router")],
        client=BALANCER,
    )
    assert list(await balanced.shared_keys()) == [BOB]
    assert nova.seen[-1].header(b"x-forwarded-for") == b"10.0.0.3"
    assert nova.seen[-1].header(b"x-metadata-provider") == b"router"


async def test_over_a_quota_is_a_413(bob: Guest) -> None:
    """These callers do not come through neutron."""
    refused = await bob.publish(*(f"k{number}=1" for number in range(9)))
    assert (refused.status, refused.code) == (413, "quota.reached")


async def test_an_address_that_nova_gave_to_another_shows_nothing_of_the_first(
    bob: Guest, nova: FakeNova, behind_nova: Cloud
) -> None:
    """What an address proves is believed for a while; the document is fresh, and must be of the same instance."""
    await bob.publish("secret=1")
    nova.servers[BOB].address = "10.0.0.77"
    nova.servers[ALICE].address = "10.0.0.2"
    heard = await bob.get("meta_data.json")
    assert (heard.status, heard.code) == (502, "upstream.failed")
    assert (await bob.publish("mine=1")).status == 502
    assert b"secret" not in heard.body
