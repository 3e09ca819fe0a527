# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The guest's command where it belongs: in an instance, behind both agents, with nothing but the metadata address."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from .cloud import Tenants
from .guest import Guest
from .namespaces import ipv6

pytestmark = pytest.mark.usefixtures("service")

either = pytest.mark.parametrize("agent", ["old", "new"])

SOURCE = Path(__file__).parents[2] / "src"


def of(tenants: Tenants, agent: str) -> Sequence[Guest]:
    """The guests of project A behind the old or the new agent."""
    return {"old": tenants.a_old, "new": tenants.a_new}[agent]


def ask(guest: Guest, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command inside; what it remembers is forgotten."""
    told = {"PEERDATA_STATE": "", "PYTHONPATH": str(SOURCE), "PEERDATA_URL": "", **environment}
    return guest.run(
        "env", *(f"{name}={value}" for name, value in told.items()), sys.executable, "-m", "peerdata", *words
    )


@either
def test_instances_find_each_other_by_their_own_addresses(tenants: Tenants, agent: str) -> None:
    guests = of(tenants, agent)
    for guest in guests:
        done = ask(guest, "publish", "--addresses", "serf_")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert ask(guest, "whoami").stdout == f"{guest.uuid}\n"
    words = ["wait", "--count", str(len(guests)), "--prefix", "serf_", "--format", "serf", "--timeout", "30"]
    done = ask(guests[-1], *words)
    assert json.loads(done.stdout) == {"retry_join": [f"{guest.instance.address}:7946" for guest in guests]}


@either
def test_why_it_was_refused_is_known_behind_every_agent(tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)[0]
    ask(guest, "publish", "leader=me")
    done = ask(guest, "publish", "leader=you")
    assert done.returncode == 3
    assert "key 'leader' already holds another value" in done.stderr


@either
def test_one_founds_and_another_joins(tenants: Tenants, agent: str) -> None:
    one, two = tenants.a_old[0], of(tenants, agent)[-1]
    words = ["join", "db", "--size", "2", "--addresses"]
    assert ask(one, *words).stdout == "bootstrap\n"
    assert ask(one, "formed", "db", "--term", "1").returncode == 0
    done = ask(two, *words, "--until-ready", "--format", "galera")
    assert done.stdout in (
        f"gcomm://{one.instance.address},{two.instance.address}\n",
        f"gcomm://{one.instance.address}\n",
    )


@either
def test_the_doctor_tells_the_agents_apart_and_finds_nothing_wrong(tenants: Tenants, agent: str) -> None:
    done = ask(of(tenants, agent)[0], "doctor")
    assert done.returncode == 0, done.stdout
    lost, silent = "gets lost here" in done.stdout, "a page of its own" in done.stdout
    assert (lost, silent) == {"old": (False, True), "new": (True, False)}[agent]


@pytest.mark.skipif(not ipv6(), reason="the kernel has no IPv6")
@either
def test_without_ipv4_the_service_is_found_by_ipv6(tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)[0]
    guest.namespace.ip("route add unreachable 169.254.169.254/32")
    try:
        done = ask(guest, "whoami", "--timeout", "10")
    finally:
        guest.namespace.ip("route delete unreachable 169.254.169.254/32")
    assert done.stdout == f"{guest.uuid}\n", done.stderr


@either
def test_plain_nova_is_told_from_a_service_that_is_away(tenants: Tenants, nova_alone: object, agent: str) -> None:
    assert ask(of(tenants, agent)[0], "peers", "--timeout", "20").returncode == 5
