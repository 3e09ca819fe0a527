# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Settings that are well-formed alone but cannot work together, and addresses. They are rejected before anything starts.
"""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from peerdata.errors import SettingsInvalid
from peerdata.settings.sections import Settings


def check(settings: Settings) -> None:
    """Raise `SettingsInvalid` for what is well-formed alone but cannot work together."""
    api = settings.instance_api
    if not api.listen and not api.listen_tls:
        raise SettingsInvalid("[instance_api] listen is empty, and so is listen_tls: name a host:port in one of them")
    for option, addresses in (("listen", api.listen), ("listen_tls", api.listen_tls)):
        for address in addresses:
            parse_address(address, option=f"[instance_api] {option}")
    if api.healthcheck_path and not re.fullmatch(r"/[!-~]*", api.healthcheck_path.replace("?", " ")):
        raise SettingsInvalid(
            f"[instance_api] healthcheck_path '{api.healthcheck_path}' must be a path, such as /healthcheck"
        )
    for address in settings.operator_api.listen:
        parse_address(address, option="[operator_api] listen")
    if api.listen_tls and not (api.ssl_cert_file and api.ssl_key_file):
        raise SettingsInvalid("[instance_api] listen_tls needs ssl_cert_file and ssl_key_file")
    if bool(settings.nova.certfile) != bool(settings.nova.keyfile):
        raise SettingsInvalid("[nova] certfile and keyfile go together: set both, or neither")
    files = {
        f"[{section.group}] {name}": getattr(section, name)
        for section, names in (
            (api, ("ssl_cert_file", "ssl_key_file", "ssl_ca_file")),
            (settings.nova, ("cafile", "certfile", "keyfile")),
            (settings.identity, ("inventory_file",)),
        )
        for name in names
    }
    for option, path in files.items():
        if path and not os.access(path, os.R_OK):
            raise SettingsInvalid(f"{option}: cannot read '{path}'; does it exist, and may this user read it?")
    _check_nova(settings.nova.metadata_url)
    _check_identity(settings)


def _check_nova(url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        bare = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True) and bare
    except ValueError:
        good = False
    if not good:
        raise SettingsInvalid(
            f"[nova] metadata_url '{url}' must be http://host:port or https://host:port, with nothing behind it"
        )


def _check_identity(settings: Settings) -> None:
    mode = settings.identity_mode
    if mode == "neutron" and not settings.neutron.metadata_proxy_shared_secret:
        raise SettingsInvalid(
            "[neutron] metadata_proxy_shared_secret is empty, so anybody could claim to be any instance; set the value "
            "that nova and neutron's metadata agents have"
        )
    if mode in ("neutron", "upstream") and not settings.nova.metadata_url:
        raise SettingsInvalid(
            f"[identity] mode = {mode} needs a nova that says who an instance is: set [nova] metadata_url"
        )
    if mode == "inventory" and not settings.identity.inventory_file:
        raise SettingsInvalid(
            "nothing says who is asking: set [nova] metadata_url (in front of nova), or [identity] inventory_file "
            "(stand-alone)"
        )
    if mode == "inventory" and settings.nova.metadata_url:
        raise SettingsInvalid("[identity] mode = inventory is for stand-alone use: empty [nova] metadata_url")
    for network in settings.identity.trusted_proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError as exc:
            raise SettingsInvalid(f"[identity] trusted_proxies: '{network}' is no address or network") from exc


def parse_address(text: str, *, option: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as (host, port); port 0 lets the system choose."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise SettingsInvalid(f"{option}: write the IPv6 address of '{text}' in brackets, as in [::1]:8775")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise SettingsInvalid(f"{option}: '{text}' is not host:port, as in 127.0.0.1:8775")
    return host, int(port)
