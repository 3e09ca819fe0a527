# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Who bootstraps, through the real agents; and a founder of whom the real nova says that it is gone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from .cloud import Cloud, Tenants
from .guest import Answer, Guest, patiently

pytestmark = pytest.mark.usefixtures("service")

NOVA_CACHE_S = 15
"""For so long nova itself answers for an instance that is gone ([api] metadata_cache_expiration)."""


def ask(guest: Guest, query: str = "size=3") -> Any:
    answer = patiently(lambda: guest.post(f"/openstack/latest/cluster/db.json?{query}"))
    assert answer.status == 200, answer
    return answer.json


def confirm(guest: Guest, term: int) -> Answer:
    return patiently(lambda: guest.post(f"/openstack/latest/cluster/db/formed?term={term}"))


def test_one_of_a_project_bootstraps_and_the_others_join_whatever_agent_they_have(tenants: Tenants) -> None:
    founder, *others = tenants.a
    told = ask(founder, "size=3&meta.addr=10.0.0.1%3A2380")
    assert (told["verdict"], told["term"]) == ("bootstrap", 1)
    assert {ask(other)["verdict"] for other in others} == {"wait"}
    assert confirm(others[0], 1).status == 409
    assert confirm(founder, 1).status == 200
    for guest in tenants.a:
        told = ask(guest)
        assert told["verdict"] == "join"
        assert told["members"][0] == {
            "uuid": founder.uuid,
            "ordinal": 0,
            "founder": True,
            "meta": {"from_server_addr": "10.0.0.1:2380"},
        }
    assert ask(tenants.b[0])["verdict"] == "bootstrap"  # another project, with the same addresses


def test_a_founder_that_nova_deleted_is_replaced_and_one_that_lives_is_waited_for(
    tenants: Tenants, cloud: Cloud
) -> None:
    founder, heir = tenants.a_old[0], tenants.a_new[0]
    assert ask(founder)["verdict"] == "bootstrap"
    for _ in range(8):  # nova is asked meanwhile, and knows the founder
        assert ask(heir)["verdict"] == "wait"
        time.sleep(1)
    cloud.nova.delete(founder.uuid)
    until = time.monotonic() + NOVA_CACHE_S + 15
    while (told := ask(heir))["verdict"] != "bootstrap":
        assert time.monotonic() < until, told
        time.sleep(1)
    assert told["term"] == 2
    assert [member["uuid"] for member in told["members"]] == [heir.uuid]
    assert confirm(founder, 1).status in (404, 409)  # it is not heard any more, or it is too late
    assert confirm(heir, 2).json["formed"] is True
