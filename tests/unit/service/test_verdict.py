# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The rules of a cluster as one table: a cluster, a call, the cluster after it, and what the members are told then.

A cluster is written as its term and its members in their order, the founders marked by a star: ``1: a* b c``.
``formed`` stands behind the term once a founder has confirmed, and ``@5`` behind a member gives its ordinal where that
is not its place in the list. An empty list of members is a cluster that was reset or that everybody has left.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from peerdata.errors import ClusterTaken, NotFounder
from peerdata.model import Cluster, ClusterPlan, Founders, Member, Verdict
from peerdata.service import verdict

ONE = ClusterPlan(3, Founders.ONE, closed=False)
"""One founder, any number of members."""
ALL = ClusterPlan(3, Founders.ALL, closed=False)
"""Three founders, any number of members."""
ONE_CLOSED = ClusterPlan(3, Founders.ONE, closed=True)
ALL_CLOSED = ClusterPlan(3, Founders.ALL, closed=True)

STARTS = "this instance starts the cluster; the others join it"
START = "this instance and 2 other founders start the cluster together"
FORMED = "the cluster is formed"

Call = Callable[[Cluster], Cluster]


def parse(plan: ClusterPlan, text: str) -> Cluster:
    """The cluster that *text* describes, see the head of this page."""
    term, _, listed = text.partition(":")
    members = []
    for place, name in enumerate(listed.split()):
        found = re.fullmatch(r"(\w+)(\*?)(?:@(\d+))?", name)
        assert found, name
        members.append(Member(found[1], int(found[3] or place), founder=bool(found[2])))
    number, *formed = term.split()
    next_ordinal = members[-1].ordinal + 1 if members else 0
    return Cluster(plan, int(number), bool(formed), next_ordinal, tuple(members))


def joins(uuid: str, plan: ClusterPlan | None = None) -> Call:
    """The instance joins, or asks again."""
    return lambda cluster: verdict.enter(cluster, plan or cluster.plan, uuid)


def confirms(uuid: str, term: int = 1) -> Call:
    """The instance says that the cluster stands."""
    return partial(verdict.confirm, uuid=uuid, term=term)


def leaves(uuid: str) -> Call:
    """The instance does not exist any more, or was removed."""
    return partial(verdict.leave, uuid=uuid)


def is_reset(cluster: Cluster) -> Cluster:
    """The operator resets the cluster."""
    return verdict.reset(cluster)


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    rule: str
    plan: ClusterPlan
    before: str
    call: Call
    after: str
    told: dict[str, tuple[str, str]]
    """By instance: verdict and why."""


def waits(why: str) -> tuple[str, str]:
    return "wait", why


def must_confirm(uuid: str) -> str:
    return f"the founder, {uuid}, must confirm that the cluster stands"


ONE_OF_3 = "one of the 3 founders (ordinals 0, 1, 2) must confirm that the cluster stands"

TABLE = [
    # One founder
    Row("the first member founds alone, at once", ONE, "1:", joins("a"), "1: a*", {"a": ("bootstrap", STARTS)}),
    Row(
        "the others wait for the founder",
        ONE,
        "1: a*",
        joins("b"),
        "1: a* b",
        {"a": ("bootstrap", STARTS), "b": waits(must_confirm("a"))},
    ),
    Row(
        "a founder that asks again is told the same",
        ONE,
        "1: a* b",
        joins("a"),
        "1: a* b",
        {"a": ("bootstrap", STARTS)},
    ),
    Row(
        "a member that asks again keeps its place",
        ONE,
        "1: a* b c",
        joins("b"),
        "1: a* b c",
        {"b": waits(must_confirm("a"))},
    ),
    Row(
        "more than the planned size may wait for an open cluster",
        ONE,
        "1: a* b c",
        joins("d"),
        "1: a* b c d",
        {"d": waits(must_confirm("a"))},
    ),
    Row(
        "a confirmed cluster is joined by all, its founder too",
        ONE,
        "1: a* b",
        confirms("a"),
        "1 formed: a* b",
        {"a": ("join", FORMED), "b": ("join", FORMED)},
    ),
    Row(
        "confirming again changes nothing", ONE, "1 formed: a*", confirms("a"), "1 formed: a*", {"a": ("join", FORMED)}
    ),
    Row(
        "a newcomer joins a formed cluster", ONE, "1 formed: a*", joins("b"), "1 formed: a* b", {"b": ("join", FORMED)}
    ),
    Row(
        "a founder that is gone before it confirmed opens a new term, for the next member that asks",
        ONE,
        "1: a* b c",
        leaves("a"),
        "2: b@1 c@2",
        {
            "b": waits("2 of 3 are members; the next member that asks founds it"),
            "c": waits("2 of 3 are members; the next member that asks founds it"),
        },
    ),
    Row(
        "the member that asks then founds, whatever its ordinal",
        ONE,
        "2: b@1 c@2",
        joins("c"),
        "2: b@1 c*@2",
        {"b": waits(must_confirm("c")), "c": ("bootstrap", STARTS)},
    ),
    Row(
        "a newcomer may be the one that asks then",
        ONE,
        "2: b@1",
        joins("d"),
        "2: b@1 d*@2",
        {"d": ("bootstrap", STARTS), "b": waits(must_confirm("d"))},
    ),
    Row(
        "a member that leaves while the founder works changes nothing for it",
        ONE,
        "1: a* b",
        leaves("b"),
        "1: a*",
        {"a": ("bootstrap", STARTS)},
    ),
    Row(
        "a founder that comes back after it was replaced is a member like any other",
        ONE,
        "2: b*@1 c@2",
        joins("a"),
        "2: b*@1 c@2 a@3",
        {"a": waits(must_confirm("b"))},
    ),
    Row("an instance that never joined has no place", ONE, "1: a*", leaves("x"), "1: a*", {"a": ("bootstrap", STARTS)}),
    Row(
        "the founder of a formed cluster leaves, and nobody is chosen",
        ONE,
        "1 formed: a* b",
        leaves("a"),
        "1 formed: b@1",
        {"b": ("join", FORMED)},
    ),
    Row("the last member to leave ends the cluster", ONE, "1 formed: b@1", leaves("b"), "2:", {}),
    Row("the sole founder to leave begins a new term", ONE, "1: a*", leaves("a"), "2:", {}),
    Row("a cluster that has ended is begun anew", ONE, "2:", joins("e"), "2: e*", {"e": ("bootstrap", STARTS)}),
    Row("a reset begins a new term without members", ONE, "4 formed: a* b", is_reset, "5:", {}),
    Row(
        "a cluster without members takes the plan of the next that joins",
        ALL,
        "3:",
        joins("a", ONE),
        "3: a*",
        {"a": ("bootstrap", STARTS)},
    ),
    # All founders
    Row(
        "the first of three founders waits",
        ALL,
        "1:",
        joins("a"),
        "1: a",
        {"a": waits("1 of 3 are members; 2 more must join")},
    ),
    Row("so does the second", ALL, "1: a", joins("b"), "1: a b", {"b": waits("2 of 3 are members; 1 more must join")}),
    Row(
        "the third completes them, and all three found together",
        ALL,
        "1: a b",
        joins("c"),
        "1: a* b* c*",
        {"a": ("bootstrap", START), "b": ("bootstrap", START), "c": ("bootstrap", START)},
    ),
    Row(
        "later members wait for any founder to confirm",
        ALL,
        "1: a* b* c*",
        joins("d"),
        "1: a* b* c* d",
        {"d": waits(ONE_OF_3)},
    ),
    Row(
        "one founder confirms for all",
        ALL,
        "1: a* b* c* d",
        confirms("b"),
        "1 formed: a* b* c* d",
        {"a": ("join", FORMED), "b": ("join", FORMED), "d": ("join", FORMED)},
    ),
    Row(
        "a founder that is gone voids the set: the remaining three found anew",
        ALL,
        "1: a* b* c* d",
        leaves("b"),
        "2: a* c*@2 d*@3",
        {"a": ("bootstrap", START), "c": ("bootstrap", START), "d": ("bootstrap", START)},
    ),
    Row(
        "with too few left, they wait for another",
        ALL,
        "1: a* b* c*",
        leaves("b"),
        "2: a c@2",
        {"a": waits("2 of 3 are members; 1 more must join")},
    ),
    Row(
        "the other completes the new set",
        ALL,
        "2: a c@2",
        joins("e"),
        "2: a* c*@2 e*@3",
        {"e": ("bootstrap", START)},
    ),
    Row(
        "a member that leaves before there are founders changes no term",
        ALL,
        "1: a b",
        leaves("a"),
        "1: b@1",
        {"b": waits("1 of 3 are members; 2 more must join")},
    ),
    Row(
        "a member that is no founder leaves, and the set stays",
        ALL,
        "1: a* b* c* d",
        leaves("d"),
        "1: a* b* c*",
        {"a": ("bootstrap", START)},
    ),
    # Closed clusters
    Row(
        "a closed cluster that forms makes a surplus instance wait: a founder may have to be replaced",
        ALL_CLOSED,
        "1: a* b* c*",
        joins("d"),
        "1: a* b* c*",
        {"d": waits(f"3 of 3 are members, and this instance is not; {ONE_OF_3}")},
    ),
    Row(
        "a closed cluster that is formed is full",
        ALL_CLOSED,
        "1 formed: a* b* c*",
        joins("d"),
        "1 formed: a* b* c*",
        {"d": ("full", "the cluster is closed and has its 3 members"), "a": ("join", FORMED)},
    ),
    Row(
        "a place that was left is taken by the next that asks",
        ONE_CLOSED,
        "1 formed: a* c@2",
        joins("d"),
        "1 formed: a* c@2 d@3",
        {"d": ("join", FORMED)},
    ),
    Row(
        "an instance that only looks is not a member",
        ONE,
        "1 formed: a* b",
        lambda cluster: cluster,
        "1 formed: a* b",
        {"x": waits("2 of 3 are members, and this instance is not")},
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.rule.replace(" ", "_"))
def test_the_table(row: Row) -> None:
    """Each row is one rule."""
    after = row.call(parse(row.plan, row.before))
    wanted = parse(after.plan, row.after)
    assert (after.term, after.formed, after.members) == (wanted.term, wanted.formed, wanted.members)
    said = {uuid: (verdict.judge(after, uuid).value, verdict.explain(after, uuid)) for uuid in row.told}
    assert said == row.told


def test_every_verdict_is_in_the_table() -> None:
    assert {decision for row in TABLE for decision, _ in row.told.values()} == {one.value for one in Verdict}


def test_ordinals_are_never_given_twice_in_a_life_of_a_cluster() -> None:
    """A member that left and came back is behind those that came meanwhile."""
    after = joins("a")(leaves("a")(parse(ONE, "1 formed: a* b c")))
    assert after.members == parse(ONE, "1 formed: b@1 c@2 a@3").members


@pytest.mark.parametrize(
    ("before", "call"),
    [
        ("1: a* b", confirms("b")),  # a member
        ("1: a* b", confirms("x")),  # nobody
        ("2: b*@1", confirms("b", term=1)),  # an older term
        ("2: b*@1 a@2", confirms("a", term=1)),  # a founder that was replaced
        ("2: b*@1", confirms("b", term=3)),  # a term that is yet to come
        ("2:", confirms("a", term=1)),  # a cluster that was reset
    ],
)
def test_only_a_founder_of_the_present_term_may_confirm(before: str, call: Call) -> None:
    there = parse(ONE, before)
    with pytest.raises(NotFounder) as caught:
        call(there)
    assert caught.value.facts == {"term": there.term}


def test_a_cluster_that_nobody_began_cannot_be_confirmed() -> None:
    with pytest.raises(NotFounder):
        verdict.confirm(None, "a", 1)


@pytest.mark.parametrize(
    "other",
    [
        ClusterPlan(5, Founders.ONE, closed=False),
        ClusterPlan(3, Founders.ALL, closed=False),
        ClusterPlan(3, Founders.ONE, closed=True),
    ],
)
@pytest.mark.parametrize("uuid", ["a", "x"])
def test_members_that_do_not_agree_on_the_plan_are_refused(other: ClusterPlan, uuid: str) -> None:
    """Whoever asks, a member or a newcomer."""
    with pytest.raises(ClusterTaken):
        joins(uuid, other)(parse(ONE, "1: a* b"))


@pytest.mark.parametrize(
    ("plan", "waiting", "told"),
    [
        (ONE, "1:", "the first instance that joins begins it"),
        (ALL, "1:", "the first instance that joins begins it"),
        (ONE, "1: a b", "the next member that asks founds it"),
        (ONE, "1: a b*", must_confirm("b")),
        (ClusterPlan(1, Founders.ALL, closed=False), "1: a*", must_confirm("a")),
        (ClusterPlan(5, Founders.ALL, closed=False), "1: a b", "3 more must join"),
        (ALL, "1: a* b* c* d", ONE_OF_3),
        (ONE, "1 formed: a* b", ""),
    ],
)
def test_what_a_cluster_waits_for_is_said_in_words(plan: ClusterPlan, waiting: str, told: str) -> None:
    assert verdict.explain_wait(parse(plan, waiting)) == told


def test_of_many_founders_the_first_three_are_named() -> None:
    many = ClusterPlan(1000, Founders.ALL, closed=False)
    members = " ".join(f"m{ordinal}*" for ordinal in range(1000))
    assert verdict.explain_wait(parse(many, f"1: {members}")) == (
        "one of the 1000 founders (ordinals 0, 1, 2, ...) must confirm that the cluster stands"
    )
