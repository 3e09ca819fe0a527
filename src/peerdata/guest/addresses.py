# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
This instance's own fixed addresses: from network_data.json, or from the interface where that leaves them to DHCP.

nova gives an address only for a network without DHCP. With DHCP it gives the link with its MAC address, and no
``ip_address`` (nova/virt/netutils.py, _get_nets). The address is then read from the interface with that MAC address.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from peerdata.guest import client
from peerdata.guest.endpoints import is_ipv4, is_ipv6
from peerdata.guest.errors import Unusable
from peerdata.guest.model import MAX_VALUE_CHARS

AddressesOf = Callable[[str], Sequence[str]]
"""A MAC address to the addresses of the interface that has it, in the interface's order."""

_SIOCGIFADDR = 0x8915
_GLOBAL = "00"
"""The scope of global addresses in /proc/net/if_inet6."""


def own_addresses(asking: client.Client, deadline: float | None, addresses_of: AddressesOf | None = None) -> list[str]:
    """
    Ask for network_data.json, and list the fixed addresses of this instance.

    Without OpenStack there is no such file. The result is then the address from which the service is reached.

    Args:
        addresses_of: Default: the addresses of this machine's interfaces.

    Raises:
        Unusable: there is no address.
        NotReached: no answer came until *deadline*.
    """
    answer = asking.fetch("GET", f"{client.ROOT}network_data.json", deadline=deadline, accept=client.json_of)
    if answer.status == 404:
        own = asking.local_address.partition("%")[0]
        if own.lower().startswith("fe80:"):
            raise Unusable("there is no network_data.json, and the service is reached from a link-local address")
        return [own]
    if answer.status != 200:
        raise Unusable(f"network_data.json was refused with status {answer.status}")
    try:
        found = fixed_addresses(client.json_of(answer.body), addresses_of or addresses_of_interface)
    except (ValueError, TypeError, AttributeError) as error:
        raise Unusable(f"network_data.json is malformed: {error}") from error
    if not found:
        raise Unusable("network_data.json has no address, and no interface that has one")
    return found


def fixed_addresses(network_data: Any, addresses_of: AddressesOf) -> list[str]:
    """
    List the addresses of every network in *network_data*, in its order, each once, without link-local ones.

    Args:
        network_data: The content of network_data.json.
        addresses_of: Called for networks whose addresses come from DHCP or router advertisements.
    """
    links = {link.get("id"): link.get("ethernet_mac_address") or "" for link in network_data.get("links", ())}
    found: list[str] = []
    for network in network_data.get("networks", ()):
        is_kind = is_ipv6 if str(network.get("type", "")).startswith("ipv6") else is_ipv4
        given = str(network.get("ip_address") or "").partition("/")[0]
        candidates = [given] if given else addresses_of(links.get(network.get("link"), ""))
        found += [address for address in candidates if is_kind(address) and not address.lower().startswith("fe80:")]
    return list(dict.fromkeys(found))


def keys_for(addresses: Sequence[str], prefix: str) -> dict[str, str]:
    """
    Return the keys that ``--addresses PREFIX`` publishes.

    ``PREFIXaddr`` is the first IPv4 address, or the first IPv6 address if there is no other. ``PREFIXaddr6`` is the
    first IPv6 address. ``PREFIXaddrs`` has all of them, separated by commas, as many as fit into a value.

    Raises:
        Unusable: there is no address.
    """
    v4 = [address for address in addresses if is_ipv4(address)]
    v6 = [address for address in addresses if is_ipv6(address)]
    if not v4 and not v6:
        raise Unusable("found no fixed address, neither in network_data.json nor on the interfaces that it names")
    keys = {f"{prefix}addr": (v4 or v6)[0]}
    if v6:
        keys[f"{prefix}addr6"] = v6[0]
    joined = ",".join(v4 + v6)
    if len(joined) > MAX_VALUE_CHARS:
        joined = joined[: MAX_VALUE_CHARS + 1].rpartition(",")[0]
    keys[f"{prefix}addrs"] = joined
    return keys


def addresses_of_interface(mac: str) -> list[str]:
    """List the first IPv4 address and all global IPv6 addresses of the interface with the MAC address *mac*."""
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
            return []  # the interface has none
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
