# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Real processes boot clusters over HTTP while servers and guests are killed: each term has one set of founders.

The short version; `python -m tests.boots` is the long one. PEERDATA_BOOTS_SEED draws other plans.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from peerdata.model import ClusterPlan, Founders
from tests.databases.postgresql import Postgresql

from . import beds
from .boots import Plan

SEED = int(os.environ.get("PEERDATA_BOOTS_SEED", "1"))


@pytest.mark.parametrize(("engine", "boots"), [("postgresql", 24), ("sqlite", 8)])
def test_each_term_has_one_set_of_founders_and_nobody_hangs_whatever_is_killed(
    engine: str, boots: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    postgresql: Postgresql | None = request.getfixturevalue("postgresql") if engine == "postgresql" else None
    plans = [Plan.draw(SEED, number) for number in range(boots)]
    tally = beds.boot(engine, tmp_path, plans, seed=SEED, postgresql=postgresql)
    print(tally.told())
    assert not tally.violations, "\n".join([*tally.violations, f"what the guests were told: {tmp_path}/boot-*"])
    assert tally.number == boots
    # The boots are not harmless.
    assert tally.counts["killed"] > 0
    assert tally.counts["deleted"] > 0
    assert tally.servers_killed > 0


def test_where_whoever_asks_takes_the_founders_place_the_check_fails(tmp_path: Path) -> None:
    alone = ClusterPlan(3, Founders.ONE, closed=False)
    plans = [Plan(number, f"broken/{number}", alone, (0.0, 0.0, 0.0), slow=0.0, mishaps=()) for number in range(6)]
    tally = beds.boot("sqlite", tmp_path, plans, seed=SEED, module=f"{__package__}.broken")
    assert any("sets of founders" in text for text in tally.violations), tally


def test_a_cluster_of_which_too_few_boot_is_seen_to_hang(tmp_path: Path) -> None:
    three = ClusterPlan(3, Founders.ALL, closed=False)
    plans = [Plan(0, "too few", three, (0.0, 0.0), slow=0.0, mishaps=())]
    tally = beds.boot("sqlite", tmp_path, plans, seed=SEED, hangs_after_s=2)
    assert tally.counts["hung"] == 1
    assert len(tally.violations) == 1
    assert "hung: " in tally.violations[0]


def test_a_seed_draws_the_same_plans_again() -> None:
    assert Plan.draw(7, 3) == Plan.draw(7, 3)
    assert Plan.draw(7, 3) != Plan.draw(8, 3)


def test_no_two_instances_of_a_run_share_an_address() -> None:
    instances = [one for number in range(1500) for one in Plan.draw(1, number).instances]
    assert len({one.address for one in instances}) == len({one.uuid for one in instances}) == len(instances)
