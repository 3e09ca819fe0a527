"""Mode inventory: an address is an instance, and a forwarded address is believed only from a listed proxy."""

from pathlib import Path

import pytest

from peerdata.errors import InstanceUnknown
from peerdata.identity.inventory import InventoryIdentity
from peerdata.identity.proxies import TrustedProxies
from peerdata.model import Instance
from peerdata.upstream.inventory import Inventory

from .fakes import ALICE, BOB, Asking

FILE = f"""
instances:
  - {{uuid: {ALICE}, project_id: blue, addresses: [10.0.0.1, "2001:db8::1"]}}
  - {{uuid: {BOB}, project_id: green, addresses: [10.0.0.2]}}
"""
PROXY = "192.0.2.1"


@pytest.fixture
def identity(tmp_path: Path) -> InventoryIdentity:
    """Trusts `PROXY`."""
    path = tmp_path / "inventory.yaml"
    path.write_text(FILE)
    return InventoryIdentity(TrustedProxies([PROXY]), Inventory(str(path)))


@pytest.mark.parametrize(
    ("client", "instance"),
    [
        ("10.0.0.1", Instance(ALICE, "blue")),
        ("2001:db8::1", Instance(ALICE, "blue")),
        ("2001:0db8:0:0::0001", Instance(ALICE, "blue")),
        ("2001:DB8::1", Instance(ALICE, "blue")),
        ("10.0.0.2", Instance(BOB, "green")),
    ],
)
async def test_an_instance_is_known_by_its_address(
    identity: InventoryIdentity, client: str, instance: Instance
) -> None:
    assert identity.recall(Asking([], client)) == instance
    assert await identity.prove(Asking([], client)) == instance


@pytest.mark.parametrize("client", ["10.0.0.3", "127.0.0.1", "::1", "", "10.0.0.1.", "nonsense", "10.0.0.01"])
async def test_any_other_address_is_unknown(identity: InventoryIdentity, client: str) -> None:
    with pytest.raises(InstanceUnknown) as refused:
        identity.recall(Asking([], client))
    assert refused.value.facts == {"address": client}


def test_a_trusted_proxy_says_whose_request_it_is(identity: InventoryIdentity) -> None:
    assert identity.recall(Asking([(b"x-forwarded-for", b"10.0.0.2")], PROXY)) == Instance(BOB, "green")


@pytest.mark.parametrize(
    "header",
    [
        (b"x-forwarded-for", b"10.0.0.2"),
        (b"forwarded", b"for=10.0.0.2"),
        (b"x-real-ip", b"10.0.0.2"),
        (b"x-instance-id", BOB.encode()),
        (b"x-tenant-id", b"green"),
    ],
)
def test_nothing_that_an_instance_sends_says_who_it_is(
    identity: InventoryIdentity, header: tuple[bytes, bytes]
) -> None:
    assert identity.recall(Asking([header], "10.0.0.1")) == Instance(ALICE, "blue")


def test_callers_do_not_come_through_neutron(identity: InventoryIdentity) -> None:
    assert not identity.through_neutron
