"""The instance's own addresses, from nova's network_data.json."""

import pytest

from peerdata.guest.addresses import fixed_addresses, keys_for
from peerdata.guest.errors import Unusable

# As nova makes it (virt/netutils.py): an address where there is no DHCP, else only the link.
NETWORK_DATA = {
    "links": [
        {"id": "tap1", "type": "ovs", "ethernet_mac_address": "fa:16:3e:00:00:01"},
        {"id": "tap2", "type": "ovs", "ethernet_mac_address": "fa:16:3e:00:00:02"},
    ],
    "networks": [
        {"id": "network0", "type": "ipv4_dhcp", "link": "tap1", "network_id": "n1"},
        {"id": "network1", "type": "ipv6_slaac", "link": "tap1", "ip_address": "fd00::11", "netmask": "ffff::"},
        {"id": "network2", "type": "ipv4", "link": "tap2", "ip_address": "192.0.2.11", "netmask": "255.255.255.0"},
    ],
    "services": [],
}


def test_an_address_from_dhcp_is_read_from_the_interface_with_the_mac() -> None:
    asked: list[str] = []

    def addresses_of(mac: str) -> list[str]:
        asked.append(mac)
        return ["10.0.0.11", "fd00::99", "fe80::1"]

    assert fixed_addresses(NETWORK_DATA, addresses_of) == ["10.0.0.11", "fd00::11", "192.0.2.11"]
    assert asked == ["fa:16:3e:00:00:01"]


def test_the_keys_name_the_first_address_the_first_of_ipv6_and_all() -> None:
    assert keys_for(["fd00::11", "10.0.0.11"], "etcd_") == {
        "etcd_addr": "10.0.0.11",
        "etcd_addr6": "fd00::11",
        "etcd_addrs": "10.0.0.11,fd00::11",
    }
    assert keys_for(["10.0.0.11"], "") == {"addr": "10.0.0.11", "addrs": "10.0.0.11"}
    assert keys_for(["fd00::11"], "")["addr"] == "fd00::11"


def test_more_addresses_than_a_value_holds_are_cut_between_two() -> None:
    addresses = [f"10.100.100.{number}" for number in range(100, 200)]
    joined = keys_for(addresses, "")["addrs"]
    assert len(joined) <= 255
    assert joined.split(",") == addresses[: len(joined.split(","))]


def test_no_address_is_an_error_and_not_an_empty_value() -> None:
    with pytest.raises(Unusable):
        keys_for([], "")
