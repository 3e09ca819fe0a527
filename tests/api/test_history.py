# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The history of a cluster, read from the log with `grep`."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from peerdata import app
from peerdata.cli import main
from peerdata.settings import Settings

from .conftest import ALICE, BOB, CAROL, Build, Cloud, guest_of
from .conversation import Guest


@pytest.fixture
def grep(caplog: pytest.LogCaptureFixture) -> Any:
    """The lines of one cluster, without what is the same in all of them."""
    caplog.set_level(logging.INFO)

    def find(name: str = "db", project: str = "blue") -> list[str]:
        start = f"cluster {name} of project {project}: "
        return [message.removeprefix(start) for message in caplog.messages if message.startswith(start)]

    return find


@pytest.fixture
def command(settings: Settings, tmp_path: Path) -> Any:
    config = tmp_path / "peerdata.conf"
    config.write_text(
        f"[database]\nconnection = {settings.database.connection}\n"
        f"[identity]\ninventory_file = {settings.identity.inventory_file}\n"
    )

    async def run(*words: str) -> None:
        assert await asyncio.to_thread(main, [*words, "--config-file", str(config)]) == 0

    return run


async def join(guest: Guest, query: str = "size=3") -> str:
    heard = await guest.ask("POST", f"/openstack/latest/cluster/db.json?{query}")
    assert heard.status == 200, heard
    verdict: str = heard.json["verdict"]
    return verdict


async def confirm(guest: Guest, term: int = 1) -> None:
    assert (await guest.ask("POST", f"/openstack/latest/cluster/db/formed?term={term}")).status == 200


async def test_the_life_of_a_cluster_is_a_few_lines_however_often_its_members_ask(
    api: app.Parts, grep: Any, command: Any
) -> None:
    alice, bob = guest_of(api, ALICE), guest_of(api, BOB)
    for _ in range(3):
        await join(alice)
        await join(bob)
    for _ in range(3):
        await confirm(alice)
    await command("cluster", "reset", "blue", "db", "--yes")
    assert await join(bob) == "bootstrap"
    assert await join(alice) == "wait"
    assert grep() == [
        f"bootstrap, term 1: instance {ALICE} (alice)",
        f"formed, term 1: instance {ALICE} (alice)",
        "new term, term 2: decided by another server or a command",
        f"bootstrap, term 2: instance {BOB}",
    ]
    assert grep("other") == []


async def test_each_of_several_founders_has_a_line_and_two_servers_write_it_once(build: Build, grep: Any) -> None:
    one, other = await build(), await build()
    together = "size=2&founders=all"
    for server in (one, other, one, other):
        await asyncio.gather(*(join(guest_of(server, uuid), together) for uuid in (ALICE, BOB, CAROL)))
    first, second = grep()
    assert {first, second} < {
        f"bootstrap, term 1: instance {ALICE} (alice)",
        f"bootstrap, term 1: instance {BOB}",
        f"bootstrap, term 1: instance {CAROL}",
    }


async def test_a_founder_that_is_gone_is_a_line_and_why_the_term_grew_another(behind_nova: Cloud, grep: Any) -> None:
    """With the name that nova gave when it was asked who the instance is."""
    alice, bob = behind_nova.alice, behind_nova.bob
    await join(alice)
    await join(bob)
    fresh = behind_nova.guest(BOB, await behind_nova.rebuild())
    del behind_nova.nova.servers[ALICE]
    for _ in range(200):
        if await join(fresh) == "bootstrap":
            break
        await asyncio.sleep(0.02)
    project = behind_nova.nova.servers[BOB].project_id
    assert grep(project=project) == [
        f"bootstrap, term 1: instance {ALICE} (ü)",
        f"removed, term 1: instance {ALICE}, which does not exist any more",
        "new term, term 2: a founder was removed",
        f"bootstrap, term 2: instance {BOB} (ü)",
    ]


async def test_founders_that_a_command_has_chosen_are_in_the_line_of_the_new_term(
    api: app.Parts, grep: Any, command: Any
) -> None:
    guests = [guest_of(api, uuid) for uuid in (ALICE, BOB, CAROL)]
    for guest in guests:
        await join(guest, "size=2&founders=all")
    await command("cluster", "remove", "blue", "db", ALICE)
    assert await join(guests[1], "size=2&founders=all") == "bootstrap"
    assert await join(guests[2], "size=2&founders=all") == "bootstrap"
    assert grep()[2:] == [f"new term, term 2: decided by another server or a command, founder {BOB}, founder {CAROL}"]


async def test_a_refused_call_and_a_look_leave_no_line(api: app.Parts, grep: Any) -> None:
    alice, bob = guest_of(api, ALICE), guest_of(api, BOB)
    await join(alice)
    before = grep()
    assert (await bob.ask("POST", "/openstack/latest/cluster/db.json?size=9")).status == 409
    assert (await bob.ask("POST", "/openstack/latest/cluster/db/formed?term=1")).status == 409
    assert (await bob.get("cluster/db.json")).status == 200
    assert grep() == before
