# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Five instances of one project on two networks become one serf cluster, knowing nothing but the metadata address."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from .cloud import Tenants
from .guest import Guest
from .run import kill, until

SCRIPT = Path(__file__).with_name("find_peers.sh")


def alive(guest: Guest) -> list[str]:
    """The members that the guest's own serf knows to be alive."""
    listed = guest.run("serf", "members", "-status=alive", "-format=json")
    return sorted(member["name"] for member in json.loads(listed.stdout)["members"]) if not listed.returncode else []


def knows(guest: Guest, peers: Sequence[Guest]) -> bool:
    """Whether *peers*, and no others, are alive to the guest's serf."""
    return alive(guest) == sorted(peer.uuid for peer in peers)


@pytest.mark.usefixtures("service")
def test_five_instances_find_each_other_and_form_one_serf_cluster(tenants: Tenants) -> None:
    guests = tenants.a
    assert len(guests) == 5
    agents = [
        guest.start(f"serf-{guest.instance.name}", str(SCRIPT), guest.uuid, guest.instance.address) for guest in guests
    ]
    try:
        for guest in guests:
            until(f"{guest} knows all five", partial(knows, guest, guests))
    finally:
        for agent in agents:
            kill(agent)
