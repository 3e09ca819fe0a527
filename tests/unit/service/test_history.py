# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What the log says of a change to a cluster, and when it says nothing."""

import asyncio
import logging

import pytest

from peerdata.errors import StoreUnavailable
from peerdata.model import Cluster, ClusterPlan, Founders, Instance
from peerdata.service import history, verdict
from peerdata.service.history import Decision, Event, History, events
from peerdata.store.clusters import Departure
from peerdata.store.engine import NOT_KNOWN

ONE = ClusterPlan(3, Founders.ONE, closed=False)
ALL = ClusterPlan(2, Founders.ALL, closed=False)
ALICE = Instance("alice", "blue")


def with_members(*uuids: str, plan: ClusterPlan = ONE) -> Cluster:
    cluster = verdict.begin(plan)
    for uuid in uuids:
        cluster = verdict.enter(cluster, plan, uuid)
    return cluster


def entered(cluster: Cluster, uuid: str) -> Cluster:
    return verdict.enter(cluster, cluster.plan, uuid)


ALONE = with_members("alice")
PAIR = with_members("alice", "bob")
TOGETHER = with_members("alice", "bob", plan=ALL)
THREE = with_members("alice", "bob", "carol", plan=ALL)
FORMED = verdict.confirm(PAIR, "alice", 1)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(None, ALONE, [Event("bootstrap", 1, "alice")], id="the first"),
        pytest.param(ALONE, ALONE, [], id="a repeat"),
        pytest.param(ALONE, PAIR, [], id="one that waits"),
        pytest.param(None, with_members("alice", plan=ALL), [], id="too few"),
        pytest.param(
            with_members("alice", plan=ALL),
            TOGETHER,
            [Event("bootstrap", 1, "alice"), Event("bootstrap", 1, "bob")],
            id="founders together",
        ),
        pytest.param(PAIR, FORMED, [Event("formed", 1, "alice")], id="confirmed"),
        pytest.param(FORMED, verdict.confirm(FORMED, "alice", 1), [], id="confirmed again"),
        pytest.param(
            PAIR,
            verdict.leave(PAIR, "alice"),
            [Event("removed", 1, "alice"), Event("new term", 2, "", "a founder was removed")],
            id="the founder goes",
        ),
        pytest.param(PAIR, verdict.leave(PAIR, "bob"), [Event("removed", 1, "bob")], id="another goes"),
        pytest.param(FORMED, verdict.leave(FORMED, "alice"), [Event("removed", 1, "alice")], id="a formed one stays"),
        pytest.param(
            ALONE,
            verdict.leave(ALONE, "alice"),
            [Event("removed", 1, "alice"), Event("new term", 2, "", "nobody is left")],
            id="the last goes",
        ),
        pytest.param(
            THREE,
            verdict.leave(THREE, "alice"),
            [
                Event("removed", 1, "alice"),
                Event("new term", 2, "", "a founder was removed"),
                Event("bootstrap", 2, "bob"),
                Event("bootstrap", 2, "carol"),
            ],
            id="others take over at once",
        ),
        pytest.param(
            verdict.reset(FORMED), entered(verdict.reset(FORMED), "bob"), [Event("bootstrap", 2, "bob")], id="anew"
        ),
    ],
)
def test_each_change_has_its_lines_and_a_repeat_none(
    before: Cluster | None, after: Cluster, expected: list[Event]
) -> None:
    assert events(before, after, by="alice") == expected


def test_of_a_decision_that_was_made_more_than_once_the_one_that_was_kept_counts() -> None:
    decision = Decision(lambda cluster: entered(cluster or verdict.begin(ONE), "alice"))
    decision(None)  # met another transaction, and was undone
    other = with_members("bob")
    decision(other)
    assert decision.change() == (other, entered(other, "alice"))


def test_a_decision_whose_commit_was_lost_but_kept_is_told() -> None:
    decision = Decision(lambda cluster: entered(cluster or verdict.begin(ONE), "alice"))
    decision(None)
    decision(ALONE)  # done again, it finds what it stored
    assert decision.change() == (None, ALONE)


def test_a_decision_that_nobody_asked_for_or_that_changed_nothing_is_no_change() -> None:
    decision = Decision(lambda cluster: entered(cluster or verdict.begin(ONE), "alice"))
    assert decision.change() is None
    decision(ALONE)
    assert decision.change() is None


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "peerdata.service.history")
    return caplog


def test_a_name_is_shown_where_it_is_known_and_cannot_break_the_line(told: pytest.LogCaptureFixture) -> None:
    names = {"alice": "db-1\ncluster db of project blue: formed, term 9" + "x" * 300}
    with History(lambda instance: names.get(instance.uuid, "")).telling(ALICE, "db", lambda _: TOGETHER) as decide:
        decide(None)
    first, second = told.messages
    assert first.startswith("cluster db of project blue: bootstrap, term 1: instance alice (db-1�cluster db of")
    assert len(first) < 150
    assert second == "cluster db of project blue: bootstrap, term 1: instance bob"


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (StoreUnavailable("nothing was stored"), []),
        (
            StoreUnavailable(NOT_KNOWN),
            ["cluster db of project blue: bootstrap, term 1: instance alice, if the store has kept it"],
        ),
        (
            asyncio.CancelledError(),
            ["cluster db of project blue: bootstrap, term 1: instance alice, if the store has kept it"],
        ),
    ],
)
def test_what_the_store_may_have_kept_is_told_as_such(
    told: pytest.LogCaptureFixture, error: BaseException, lines: list[str]
) -> None:
    def fail() -> None:
        with History().telling(ALICE, "db", lambda _: ALONE) as decide:
            decide(None)
            raise error

    with pytest.raises(type(error)):
        fail()
    assert told.messages == lines


def test_a_term_that_others_decided_is_told_when_it_is_first_seen(told: pytest.LogCaptureFixture) -> None:
    known = History()
    known.see("blue", "db", None)
    known.see("blue", "db", THREE)  # nothing is known of what was before
    later = verdict.leave(THREE, "alice")
    known.see("green", "db", later)
    assert told.messages == []
    for _ in range(3):
        known.see("blue", "db", later)
    start = "cluster db of project blue: new term, term 2: "
    assert told.messages == [f"{start}decided by another server or a command, founder bob, founder carol"]


def test_what_this_process_decides_is_not_told_as_seen(told: pytest.LogCaptureFixture) -> None:
    """Neither while the call that decided it is still on its way back, nor afterwards."""
    known = History()
    known.see("blue", "db", PAIR)
    later = verdict.leave(PAIR, "alice")
    with known.deciding("blue"):
        known.see("blue", "db", later)
        assert told.messages == []
        known.tell_departures(ALICE, [Departure("db", PAIR, later)])
    known.see("blue", "db", later)
    assert told.messages == [
        "cluster db of project blue: removed, term 1: instance alice, which does not exist any more",
        "cluster db of project blue: new term, term 2: a founder was removed",
    ]


def test_only_so_many_clusters_are_remembered(monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(history, "MAX_CLUSTERS", 2)
    known = History()
    for name in ("a", "b", "c"):
        known.see("blue", name, PAIR)
    known.see("blue", "a", verdict.reset(PAIR))
    known.see("blue", "c", verdict.reset(PAIR))
    assert [message.partition(" of ")[0] for message in told.messages] == ["cluster c"]
