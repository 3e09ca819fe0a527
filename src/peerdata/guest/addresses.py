# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
This instance's own fixed addresses: as network_data.json says, and where that leaves it to DHCP, as its interface has.

nova tells an address only where the network is without DHCP; with DHCP there is the link with its MAC address, and no
``ip_address`` (nova/virt/netutils.py, _get_nets). Then the interface with that MAC is asked.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from peerdata.guest.endpoints import is_ipv4, is_ipv6
from peerdata.guest.errors import Unusable

AddressesOf = Callable[[str], Sequence[str]]
"""The addresses of the interface with a MAC address, in the order in which it has them."""

MOST_VALUE_CHARS = 255
_SIOCGIFADDR = 0x8915
_GLOBAL = "00"
"""Scope in /proc/net/if_inet6."""


def fixed_addresses(network_data: Any, addresses_of: AddressesOf) -> list[str]:
    """
    The addresses of every network in *network_data*, in its order, each once; no link-local ones.

    Args:
        network_data: What network_data.json holds.
        addresses_of: Asked for networks whose address DHCP or router advertisements bring.
    """
    links = {link.get("id"): link.get("ethernet_mac_address") or "" for link in network_data.get("links", ())}
    found: list[str] = []
    for network in network_data.get("networks", ()):
        is_kind = is_ipv6 if str(network.get("type", "")).startswith("ipv6") else is_ipv4
        told = str(network.get("ip_address") or "").partition("/")[0]
        candidates = [told] if told else addresses_of(links.get(network.get("link"), ""))
        found += [address for address in candidates if is_kind(address) and not address.lower().startswith("fe80:")]
    return list(dict.fromkeys(found))


def keys_for(addresses: Sequence[str], prefix: str) -> dict[str, str]:
    """
    What ``--addresses PREFIX`` publishes.

    ``PREFIXaddr`` is the first IPv4 address, or the first of IPv6 where there is no other; ``PREFIXaddr6`` the first of
    IPv6; ``PREFIXaddrs`` all of them with commas between, as many as a value holds.

    Raises:
        Unusable: there is none.
    """
    v4 = [address for address in addresses if is_ipv4(address)]
    v6 = [address for address in addresses if is_ipv6(address)]
    if not v4 and not v6:
        raise Unusable("no fixed address was found, neither in network_data.json nor on the interfaces that it names")
    keys = {f"{prefix}addr": (v4 or v6)[0]}
    if v6:
        keys[f"{prefix}addr6"] = v6[0]
    joined = ",".join(v4 + v6)
    keys[f"{prefix}addrs"] = joined if len(joined) <= MOST_VALUE_CHARS else joined[:256].rpartition(",")[0]
    return keys


def addresses_of_interface(mac: str) -> list[str]:
    """What the interface with the address *mac* has: its first IPv4 address, and all global ones of IPv6."""
    for name in sorted(_interfaces()):
        if mac and _read(f"/sys/class/net/{name}/address").lower() == mac.lower():
            return [*_ipv4_of(name), *_ipv6_of(name)]
    return []


def _interfaces() -> list[str]:
    try:
        return [name for _, name in socket.if_nameindex()]
    except OSError:
        return []


def _ipv4_of(name: str) -> list[str]:
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            request = struct.pack("256s", os.fsencode(name[:15]))
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return []  # it has none
    return [socket.inet_ntoa(answer[20:24])]


def _ipv6_of(name: str) -> list[str]:
    rows = [line.split() for line in _read("/proc/net/if_inet6").splitlines()]
    return [
        socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))
        for row in rows
        if len(row) == 6 and row[5] == name and row[3] == _GLOBAL
    ]


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
