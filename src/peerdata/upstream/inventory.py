# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The inventory: a YAML file that says which instance has which address, for use without OpenStack.

    instances:
      - uuid: 7f3c1c0e-4b1e-4b6e-9d5e-0d0f6a3b2c11
        project_id: demo
        addresses: [192.0.2.11, 2001:db8::11]
        name: web-1                      # optional, as are all below
        hostname: web-1.example.org
        launch_index: 0
        availability_zone: rack-1
        meta: {role: web}
        public_keys: {ops: ssh-ed25519 AAAA...}
"""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import uuid as uuids
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

from peerdata.errors import SettingsInvalid
from peerdata.model import Instance

try:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]
except ImportError:  # a PyYAML that was built without libyaml: three times as slow

    class _Parser(Reader, Scanner, Parser):  # type: ignore[no-redef]
        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)


@dataclass(frozen=True, slots=True)
class Listed:
    """One instance of the inventory: who it is, and what its metadata document says of it."""

    instance: Instance
    name: str
    hostname: str
    launch_index: int
    availability_zone: str
    meta: dict[str, str] = field(default_factory=dict)
    public_keys: dict[str, str] = field(default_factory=dict)


class Inventory:
    """
    Instances by address, from a file that can be read again while the service runs.

    Raises:
        SettingsInvalid: it cannot be read, and where in it the fault is.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._by_address, self._by_instance = _load(path)

    def find(self, address: str) -> Listed | None:
        """The instance with that source address."""
        return self._by_address.get(address) or self._by_address.get(_canonical(address))

    def describe(self, instance: Instance) -> Listed | None:
        """What the file says of an instance; None where it has just been taken out."""
        return self._by_instance.get(instance)

    async def reload(self) -> int:
        """
        Read the file again; all of it counts from now on, or, where it is wrong, nothing of it.

        Read beside the event loop: 20 000 instances take seconds, in which nobody else would be answered.

        Returns:
            How many instances it has.

        Raises:
            SettingsInvalid: it cannot be read, and where in it the fault is.
        """
        given_up = threading.Event()
        try:
            self._by_address, self._by_instance = await asyncio.to_thread(_load, self._path, given_up)
        finally:
            given_up.set()  # a service that stops waits for its threads
        return len(self._by_instance)


def _load(path: str, given_up: threading.Event | None = None) -> tuple[dict[str, Listed], dict[Instance, Listed]]:
    """All instances of the file, by address and by identity; raises `SettingsInvalid` too when *given_up*."""
    by_address: dict[str, Listed] = {}
    by_instance: dict[Instance, Listed] = {}
    uuids: set[str] = set()
    for number, record in enumerate(_read(path, given_up), start=1):
        where = f"{path}: instance {number}"
        listed, addresses = _parse(record, where)
        if listed.instance.uuid in uuids:
            raise SettingsInvalid(f"{where}: uuid {listed.instance.uuid} is there twice")
        uuids.add(listed.instance.uuid)
        by_instance[listed.instance] = listed
        for address in addresses:
            if address in by_address:
                raise SettingsInvalid(f"{where}: address {address} is another instance's already")
            by_address[address] = listed
    return by_address, by_instance


class _Repeated(ValueError):
    """A mapping has a key twice; it says where."""


class _Loader(Composer, _Parser, SafeConstructor, Resolver):
    """
    YAML's plain values, a key of a mapping once.

    The parser is libyaml's, the composer PyYAML's own: libyaml's would let a repeated key pass, and takes the process
    down where a file is nested a hundred thousand deep.
    """

    def __init__(self, text: str, given_up: threading.Event | None) -> None:
        self._given_up = given_up
        _Parser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """One mapping; YAML says that its keys are unique (1.2.2, 3.2.1.3), and PyYAML lets the last one win."""
        if self._given_up and self._given_up.is_set():
            raise ValueError("reading it was given up")
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise _Repeated(f"line {line}: the key '{key.value}' is there already, in line {lines[name]}")
            lines[name] = line
        return node


def _read(path: str, given_up: threading.Event | None) -> list[Any]:
    try:
        loader = _Loader(Path(path).read_text(encoding="utf-8"), given_up)
        try:
            content = loader.get_single_data()
        finally:
            loader.dispose()
    except OSError as error:
        raise SettingsInvalid(f"cannot read the inventory '{path}': {error.strerror}") from error
    except _Repeated as error:
        raise SettingsInvalid(f"{path}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not UTF-8, or no date
        raise SettingsInvalid(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    instances = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(instances, list) or not instances:
        raise SettingsInvalid(f"{path}: at its top there must be 'instances:' with a list of them")
    return instances


def _parse(record: Any, where: str) -> tuple[Listed, list[str]]:
    known = {*Listed.__slots__, "uuid", "project_id", "addresses"} - {"instance"}
    if not isinstance(record, dict):
        raise SettingsInvalid(f"{where} is not a mapping of names to values")
    if unknown := sorted(str(name) for name in record if name not in known):
        raise SettingsInvalid(f"{where}: unknown '{unknown[0]}'; known are {', '.join(sorted(known))}")
    try:
        uuid = str(uuids.UUID(str(record.get("uuid"))))
    except ValueError as error:
        raise SettingsInvalid(f"{where}: uuid is missing, or not a UUID") from error
    project_id = record.get("project_id")
    if not isinstance(project_id, str) or not 0 < len(project_id) <= 64 or not project_id.isprintable():
        raise SettingsInvalid(f"{where}: project_id must be a string of 1 to 64 printable characters (quote a number)")
    given = record.get("addresses")
    if not isinstance(given, list) or not given or not all(isinstance(address, str) for address in given):
        raise SettingsInvalid(f"{where}: addresses must be a list of at least one IP address")
    try:
        addresses = [_parse_address(address) for address in given]
    except ValueError as error:
        raise SettingsInvalid(f"{where}: {error}") from error
    if twice := next((address for address in addresses if addresses.count(address) > 1), None):
        raise SettingsInvalid(f"{where}: address {twice} is there twice")
    name = _string(record, "name", uuid, where)
    index = record.get("launch_index", 0)
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise SettingsInvalid(f"{where}: launch_index must be a whole number from 0")
    return Listed(
        Instance(uuid, project_id),
        name=name,
        hostname=_string(record, "hostname", name, where),
        launch_index=index,
        availability_zone=_string(record, "availability_zone", "nova", where),
        meta=_strings(record, "meta", where),
        public_keys=_strings(record, "public_keys", where),
    ), addresses


def _string(record: dict[str, Any], name: str, default: str, where: str) -> str:
    value = record.get(name, default)
    if not isinstance(value, str) or not value:
        raise SettingsInvalid(f"{where}: {name} must be a string (quote a number)")
    return value


def _strings(record: dict[str, Any], name: str, where: str) -> dict[str, str]:
    value = record.get(name, {})
    if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise SettingsInvalid(f"{where}: {name} must map strings to strings (quote numbers)")
    return value


def _canonical(address: str) -> str:
    try:
        return _parse_address(address)
    except ValueError:
        return ""


def _parse_address(address: str) -> str:
    """In the form in which a connection shows it: an IPv4 address that is mapped into IPv6 is the IPv4 address."""
    parsed = ipaddress.ip_address(address)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
