"""Addresses: what peers publish, and the brackets of IPv6."""

import pytest

from peerdata.guest.endpoints import Endpoint, parse


@pytest.mark.parametrize(
    ("value", "endpoint"),
    [
        ("10.0.0.11", Endpoint("10.0.0.11")),
        ("10.0.0.11:2380", Endpoint("10.0.0.11", 2380)),
        ("fd00::11", Endpoint("fd00::11")),
        ("[fd00::11]", Endpoint("fd00::11")),
        ("[fd00::11]:2380", Endpoint("fd00::11", 2380)),
        ("db-1.example.org:5432", Endpoint("db-1.example.org", 5432)),
    ],
)
def test_a_host_is_parsed_with_and_without_a_port(value: str, endpoint: Endpoint) -> None:
    assert parse(value) == endpoint


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "10.0.0.11 ", "10.0.0.11\n", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.11:", "10.0.0.11:0",
        "10.0.0.11:65536", "10.0.0.11:9999999", "10.0.0.11:²", "[fd00::11", "[10.0.0.11]:1", "fe80::1%0",
        "fd00::11%eth0", "http://10.0.0.11", "a b", "$(reboot)", "`reboot`", "a;b", "a,b", "a'b", "-oProxy=x", "a/b",
        "a@b", 'a"b', "host\n127.0.0.1 www", "x" * 64, "..", "a..b", "ho\u0441t",
    ],
)  # fmt: skip
def test_anything_else_is_not_an_address(value: str) -> None:
    assert parse(value) is None


def test_ipv6_has_brackets_only_before_a_port_and_in_urls() -> None:
    assert Endpoint("fd00::11").with_port(2380) == "[fd00::11]:2380"
    assert Endpoint("fd00::11", 1).with_port(2380) == "[fd00::11]:1"
    assert Endpoint("fd00::11").with_port() == "[fd00::11]"
    assert Endpoint("fd00::11").plain() == "fd00::11"
    assert Endpoint("fd00::11").plain(2380) == Endpoint("fd00::11", 2380).plain() == "[fd00::11]:2380"
    assert Endpoint("10.0.0.11").with_port(2380) == "10.0.0.11:2380"
    assert Endpoint("10.0.0.11").with_port() == "10.0.0.11"
