"""The inventory file: what it says, and that a wrong one is refused whole, with the place of the fault."""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peerdata.errors import SettingsInvalid
from peerdata.model import Instance
from peerdata.upstream import inventory as inventory_module
from peerdata.upstream.inventory import Inventory

UUID = "7f3c1c0e-4b1e-4b6e-9d5e-0d0f6a3b2c11"
OTHER = "7f3c1c0e-4b1e-4b6e-9d5e-0d0f6a3b2c12"

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts a text in the place of the file; gives its path."""

    def write(text: str) -> str:
        path = tmp_path / "inventory.yaml"
        path.write_text(text)
        return str(path)

    return write


def one(**members: str) -> str:
    """A file with one instance; members of it are YAML, and an empty one leaves it out."""
    record = {"uuid": UUID, "project_id": "blue", "addresses": "[10.0.0.1]"} | members
    lines = [f"{name}: {value}" for name, value in record.items() if value]
    return "instances:\n  - " + "\n    ".join(lines) + "\n"


def another(**members: str) -> str:
    return one(**members).removeprefix("instances:\n")


def test_an_instance_needs_a_uuid_a_project_and_an_address(write: Write) -> None:
    listed = Inventory(write(one())).find("10.0.0.1")
    assert listed is not None
    assert listed.instance == Instance(UUID, "blue")
    assert (listed.name, listed.hostname, listed.launch_index, listed.availability_zone) == (UUID, UUID, 0, "nova")
    assert (listed.meta, listed.public_keys) == ({}, {})


def test_all_that_may_be_said_of_an_instance(write: Write) -> None:
    text = one(
        addresses='[192.0.2.11, "2001:DB8::0:11"]',
        name="web-1",
        hostname="web-1.example.org",
        launch_index="3",
        availability_zone="rack-1",
        meta="{role: web, n: '1'}",
        public_keys="{ops: ssh-ed25519 AAAA}",
    )
    inventory = Inventory(write(text))
    listed = inventory.find("2001:db8::11")
    assert listed is not None
    assert listed is inventory.find("192.0.2.11") is inventory.describe(Instance(UUID, "blue"))
    assert (listed.name, listed.hostname, listed.launch_index) == ("web-1", "web-1.example.org", 3)
    assert (listed.availability_zone, listed.meta) == ("rack-1", {"role": "web", "n": "1"})
    assert listed.public_keys == {"ops": "ssh-ed25519 AAAA"}


def test_the_hostname_is_the_name_unless_said(write: Write) -> None:
    listed = Inventory(write(one(name="web-1"))).find("10.0.0.1")
    assert listed is not None
    assert listed.hostname == "web-1"


@pytest.mark.parametrize("uuid", [UUID.upper(), UUID.replace("-", ""), f"'{{{UUID}}}'", f"urn:uuid:{UUID}"])
def test_a_uuid_is_brought_into_its_usual_form(write: Write, uuid: str) -> None:
    listed = Inventory(write(one(uuid=uuid))).find("10.0.0.1")
    assert listed is not None
    assert listed.instance.uuid == UUID


WRONG = [
    ("empty", "", "'instances:'"),
    ("not YAML", "instances: [", "is not YAML"),
    ("tabs", "instances:\n\t- uuid: x", "is not YAML"),
    ("a Python object", "instances: !!python/object/apply:os.system [id]", "is not YAML"),
    ("control characters", "instances: \0", "is not YAML"),
    ("a list at the top", "- uuid: x", "'instances:'"),
    ("text at the top", "instances", "'instances:'"),
    ("no instances", "instances: []", "'instances:'"),
    ("instances as text", "instances: none", "'instances:'"),
    ("instances as a mapping", f"instances: {{{UUID}: blue}}", "'instances:'"),
    ("an instance that is text", "instances: [web-1]", "instance 1 is not a mapping"),
    ("an instance that is nothing", "instances: [null]", "instance 1 is not a mapping"),
    ("an unknown member", one(ram="4096"), "instance 1: unknown 'ram'; known are addresses"),
    ("a mistyped member", one(adresses="[10.0.0.1]"), "unknown 'adresses'"),
    ("a member whose name is a number", one().rstrip() + "\n    7: x\n", "unknown '7'"),
    ("no uuid", one(uuid=""), "instance 1: uuid"),
    ("a uuid that is none", one(uuid="web-1"), "instance 1: uuid"),
    ("a uuid that is a number", one(uuid="7"), "instance 1: uuid"),
    ("no project", one(project_id=""), "instance 1: project_id"),
    ("an empty project", one(project_id="''"), "instance 1: project_id"),
    ("a project that is a number", one(project_id="7"), "project_id.*quote"),
    ("a project that is too long", one(project_id="p" * 65), "project_id.*64"),
    ("no addresses", one(addresses=""), "instance 1: addresses"),
    ("an empty list of addresses", one(addresses="[]"), "instance 1: addresses"),
    ("an address that is not in a list", one(addresses="10.0.0.1"), "instance 1: addresses"),
    ("an address that is none", one(addresses="[web-1]"), "instance 1.*'web-1'"),
    ("a network", one(addresses="[10.0.0.0/24]"), "instance 1.*'10.0.0.0/24'"),
    ("an address with a port", one(addresses="['10.0.0.1:80']"), "instance 1.*'10.0.0.1:80'"),
    ("an address with a zero in front", one(addresses="[10.0.0.01]"), "instance 1.*10.0.0.01"),
    ("an address that is a list", one(addresses="[[10.0.0.1]]"), "instance 1"),
    ("a name that is a number", one(name="7"), "name must be a string.*quote"),
    ("an empty name", one(name="''"), "name must be a string"),
    ("a name that is a date", one(name="2020-01-01"), "name must be a string"),
    ("a hostname that is null", one(hostname="null"), "hostname must be a string"),
    ("a zone that is a truth", one(availability_zone="yes"), "availability_zone must be a string"),
    ("a launch_index that is text", one(launch_index="'0'"), "launch_index"),
    ("a launch_index below 0", one(launch_index="-1"), "launch_index"),
    ("a launch_index that is a truth", one(launch_index="true"), "launch_index"),
    ("a launch_index that is a fraction", one(launch_index="1.0"), "launch_index"),
    ("meta that is a list", one(meta="[role]"), "meta must map strings to strings"),
    ("meta with a number", one(meta="{role: 7}"), "meta must map.*quote"),
    ("meta with a number as key", one(meta="{7: x}"), "meta must map"),
    ("public_keys that are text", one(public_keys="ssh-ed25519"), "public_keys must map"),
    ("the second instance", one() + another(uuid="x"), "instance 2: uuid"),
    ("a uuid twice", one() + another(addresses="[10.0.0.2]"), f"instance 2: uuid {UUID} is there twice"),
    ("an address twice", one() + another(uuid=OTHER), "instance 2: address 10.0.0.1"),
    (
        "a key twice",
        one() + "    name: a\n    meta: {}\n    name: b\n",
        "line 7: the key 'name' is there already, in line 5",
    ),
    ("the list twice", one() + one(uuid=OTHER), "line 5: the key 'instances' is there already, in line 1"),
    ("a key of meta twice", one(meta="{role: a, 'role': b}"), "line 5: the key 'role' is there already, in line 5"),
    ("nested without end", "instances: " + "[" * 100_000, "is not YAML"),
    (
        "an address twice, written differently",
        one(addresses="['2001:db8::1']") + another(uuid=OTHER, addresses="['2001:0DB8:0::1']"),
        "instance 2: address 2001:db8::1",
    ),
]


@pytest.mark.parametrize(("text", "names"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_file_is_refused_with_the_place_of_the_fault(write: Write, text: str, names: str) -> None:
    path = write(text)
    with pytest.raises(SettingsInvalid, match=names) as refused:
        Inventory(path)
    assert path in refused.value.message
    assert "\n" not in refused.value.message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        with pytest.raises(SettingsInvalid, match="cannot read the inventory"):
            Inventory(str(path))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_bytes(b"instances: \xff")
    with pytest.raises(SettingsInvalid, match="is not YAML"):
        Inventory(str(path))


# Reading it again


async def test_reading_it_again_takes_in_what_changed(write: Write) -> None:
    inventory = Inventory(write(one()))
    write(one(addresses="[10.0.0.2]") + another(uuid=OTHER, addresses="[10.0.0.3]"))
    assert await inventory.reload() == 2
    assert inventory.find("10.0.0.1") is None
    assert inventory.find("10.0.0.2") is not None
    assert inventory.describe(Instance(OTHER, "blue")) is not None


@pytest.mark.parametrize("text", [row[1] for row in WRONG], ids=[row[0] for row in WRONG])
async def test_a_wrong_file_leaves_the_old_one_in_force(write: Write, text: str) -> None:
    inventory = Inventory(write(one()))
    listed = inventory.find("10.0.0.1")
    write(text)
    with pytest.raises(SettingsInvalid):
        await inventory.reload()
    assert inventory.find("10.0.0.1") is listed
    assert inventory.describe(Instance(UUID, "blue")) is listed


async def test_a_file_that_is_gone_leaves_the_old_one_in_force(write: Write) -> None:
    path = write(one())
    inventory = Inventory(path)
    os.unlink(path)
    with pytest.raises(SettingsInvalid):
        await inventory.reload()
    assert inventory.find("10.0.0.1") is not None


def large() -> str:
    """3000 instances more."""
    return "".join(
        another(uuid=f"00000000-0000-4000-8000-{number:012}", addresses=f"[10.1.{number >> 8}.{number & 255}]")
        for number in range(3000)
    )


async def test_while_a_large_file_is_read_again_everybody_else_is_answered(write: Write) -> None:
    """The old one is in force until all of the new one is there."""
    inventory = Inventory(write(one()))
    write(one(addresses="[10.0.0.2]") + large())
    reading = asyncio.ensure_future(inventory.reload())
    turns = 0
    while not reading.done():
        assert inventory.find("10.0.0.1") is not None
        await asyncio.sleep(0.001)
        turns += 1
    assert reading.result() == 3001
    assert inventory.find("10.0.0.1") is None
    assert turns > 10


async def test_reading_that_nobody_waits_for_any_more_ends(write: Write) -> None:
    """A service that stops waits for its threads, and has ten seconds for all of it."""
    inventory = Inventory(write(one()))
    write(one(addresses="[10.0.0.2]") + large())
    ended: list[object] = []
    load = inventory_module._load

    def note(*words: Any) -> Any:
        try:
            ended.append(load(*words))
        except SettingsInvalid as error:
            ended.append(error.message)
        return {}, {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inventory_module, "_load", note)
        reading = asyncio.ensure_future(inventory.reload())
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()
    assert "given up" in str(ended)
    assert inventory.find("10.0.0.1") is not None


def test_a_key_that_is_merged_in_is_not_there_twice(write: Write) -> None:
    """YAML's merge (``<<``) is for what is said anew."""
    text = "usual: &usual {project_id: blue, meta: {a: '1'}}\ninstances:\n"
    for number in (1, 2):
        own = f"uuid: {UUID[:-1]}{number}, addresses: [10.0.0.{number}], meta: {{a: '{number}'}}"
        text += f"  - {{<<: *usual, {own}}}\n"
    listed = Inventory(write(text)).find("10.0.0.2")
    assert listed is not None
    assert (listed.instance.project_id, listed.meta) == ("blue", {"a": "2"})


def test_without_libyaml_it_is_read_the_same(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml.cyaml", None)
    spec = importlib.util.find_spec("peerdata.upstream.inventory")
    assert spec is not None
    assert spec.loader is not None
    slow = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, slow)  # dataclasses look their module up
    spec.loader.exec_module(slow)
    assert slow._Parser.__module__ == spec.name
    assert slow.Inventory(write(one(meta="{role: web}"))).find("10.0.0.1").meta == {"role": "web"}
    with pytest.raises(SettingsInvalid, match="the key 'a' is there already"):
        slow.Inventory(write(one(meta="{a: x, a: y}")))


@pytest.mark.parametrize("name", ["2020-13-01", "2020-01-01 25:00:00"])
def test_a_date_that_cannot_be_is_refused(write: Write, name: str) -> None:
    with pytest.raises(SettingsInvalid):
        Inventory(write(one(name=name)))


def test_one_uuid_in_two_projects_is_refused(write: Write) -> None:
    with pytest.raises(SettingsInvalid, match="twice"):
        Inventory(write(one() + another(project_id="green", addresses="[10.0.0.2]")))


@pytest.mark.parametrize("address", ["1", "true", "167772161"])
def test_a_number_is_no_address(write: Write, address: str) -> None:
    with pytest.raises(SettingsInvalid, match="addresses"):
        Inventory(write(one(addresses=f"[{address}]")))


def test_an_address_twice_of_one_instance_is_not_called_anothers(write: Write) -> None:
    with pytest.raises(SettingsInvalid, match=r"10\.0\.0\.1 is there twice"):
        Inventory(write(one(addresses="[10.0.0.1, 10.0.0.1]")))
