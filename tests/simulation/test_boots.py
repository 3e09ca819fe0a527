# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Boots of clusters on drawn schedules: never two sets of founders in a term, and nobody hangs (promise G7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from peerdata.model import Cluster, Founders, Verdict
from peerdata.service import verdict

from .world import Violated, boot

BOOTS = 2_000


def test_thousands_of_boots_have_one_set_of_founders_a_term_and_end() -> None:
    """`python -m tests.simulation` does a hundred thousand."""
    tally = boot(range(BOOTS), keep_going=False)
    assert tally.boots == BOOTS
    # The schedules are not harmless: what the rules are for did happen.
    assert tally.replaced > BOOTS / 20
    assert tally.killed > BOOTS / 2
    assert tally.deleted > BOOTS / 5
    assert tally.refused > BOOTS / 100


def test_a_seed_repeats_its_boot() -> None:
    assert boot([7], keep_going=False) == boot([7], keep_going=False)


# Each of these breaks one rule, and the simulation must see it: otherwise it proves nothing.


def _replaces_the_silent(cluster: Cluster, plan: object, uuid: str) -> Cluster:
    """Whoever asks takes the founder's place, as delays that are drawn at random do."""
    after = _enter(cluster, plan, uuid)  # type: ignore[arg-type]
    if after.formed or after.plan.founders is Founders.ALL:
        return after
    return replace(after, members=tuple(replace(one, founder=one.uuid == uuid) for one in after.members))


def _keeps_the_term(cluster: Cluster, uuid: str) -> Cluster:
    return replace(_leave(cluster, uuid), term=cluster.term)


def _lets_anybody_confirm(cluster: Cluster, uuid: str, term: int) -> Cluster:
    return replace(cluster, formed=True)


def _forgets_that_it_is_formed(cluster: Cluster, uuid: str) -> Verdict:
    member = cluster.member(uuid)
    return Verdict.BOOTSTRAP if member and member.founder else _judge(cluster, uuid)


def _replaces_nobody(cluster: Cluster, uuid: str) -> Cluster:
    return cluster


_enter, _leave, _judge = verdict.enter, verdict.leave, verdict.judge


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("enter", _replaces_the_silent),
        ("leave", _keeps_the_term),
        ("leave", _replaces_nobody),
        ("confirm", _lets_anybody_confirm),
        ("judge", _forgets_that_it_is_formed),
    ],
)
def test_a_broken_rule_is_seen(monkeypatch: pytest.MonkeyPatch, rule: str, broken: Callable[..., object]) -> None:
    monkeypatch.setattr(verdict, rule, broken)
    with pytest.raises(Violated):
        boot(range(BOOTS), keep_going=False)
