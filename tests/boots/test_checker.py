# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The check sees each promise that is broken, in histories made by hand; and nothing in one that breaks none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from peerdata.model import ClusterPlan, Founders, Verdict

from .checker import check
from .history import Answer, Call, History, Listed, read

ONE = ClusterPlan(3, Founders.ONE, closed=False)
ALL = ClusterPlan(2, Founders.ALL, closed=False)
CLOSED = ClusterPlan(2, Founders.ONE, closed=True)

BOOTSTRAP, WAIT, JOIN, FULL = Verdict.BOOTSTRAP, Verdict.WAIT, Verdict.JOIN, Verdict.FULL


def roll(text: str) -> tuple[Listed, ...]:
    """Of ``"A b"``: founders are written large, and ``b:4`` has another ordinal than its place."""
    found = []
    for place, word in enumerate(text.split()):
        name, _, ordinal = word.partition(":")
        found.append(Listed(name.lower(), int(ordinal or place), name.isupper()))
    return tuple(found)


def told(
    uuid: str, at: float, verdict: Verdict, members: str, *, term: int = 1, formed: bool = False, port: int = 1
) -> Answer:
    """An answer to a call that enters, asked a tenth of a second before."""
    return Answer(
        uuid, Call.ENTER, port, at - 0.1, at, 200, term=term, verdict=verdict, formed=formed, members=roll(members)
    )


def confirmed(uuid: str, at: float, members: str, *, term: int = 1) -> Answer:
    """The answer to a confirmation that counts."""
    return replace(told(uuid, at, JOIN, members, term=term, formed=True), call=Call.CONFIRM, confirms=term)


def refused(uuid: str, at: float, confirms: int, *, term: int) -> Answer:
    """The answer to one that does not."""
    code = "peerdata.cluster.not_founder"
    return Answer(uuid, Call.CONFIRM, 1, at - 0.1, at, 409, code, confirms=confirms, term=term)


def history(*answers: Answer, plan: ClusterPlan = ONE, **deleted: float) -> History:
    """Of a cluster of which nobody lives any more."""
    return History(plan, answers, deleted)


GOOD = history(
    told("a", 1, BOOTSTRAP, "A"),
    told("b", 2, WAIT, "A b"),
    told("b", 4, BOOTSTRAP, "B", term=2),
    replace(told("a", 4, WAIT, ""), status=0, verdict=None, term=None, members=()),
    refused("a", 5, 1, term=2),
    confirmed("b", 6, "B c", term=2),
    told("c", 7, JOIN, "B c", term=2, formed=True),
    a=3,
)

GOOD_ALL = history(
    told("a", 1, WAIT, "a"),
    told("b", 2, BOOTSTRAP, "A B"),
    told("c", 3, WAIT, "A B c"),
    told("a", 3, BOOTSTRAP, "A B"),
    confirmed("a", 4, "A B c"),
    told("a", 4.05, BOOTSTRAP, "A B"),  # asked before
    told("c", 5, JOIN, "A c:2", formed=True),
    plan=ALL,
    b=3.5,
)

LAST = [told(uuid, 9, JOIN, "B c", term=2, formed=True, port=port) for uuid in "bc" for port in (1, 2)]


@pytest.mark.parametrize("whole", [GOOD, GOOD_ALL, replace(GOOD, final=LAST, living=frozenset("bc"))])
def test_a_history_that_breaks_nothing_passes(whole: History) -> None:
    assert check(whole) == []


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A"), told("b", 1.05, BOOTSTRAP, "a B")),
            "term 1 had 2 sets of founders",
            id="two found the same term",
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A B"), told("b", 1, BOOTSTRAP, "B A"), plan=ALL),
            "term 1 had 2 sets of founders",
            id="the same founders in another order",
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A B"), told("c", 2, WAIT, "A c"), plan=ALL),
            "term 1 had 2 sets of founders",
            id="a founder left a term that goes on",
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A B")), "term 1 had 2 founders instead of 1", id="one, and it is two"
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A"), plan=ALL), "and 2 are to do it", id="all, and it is too few"
        ),
        pytest.param(
            history(told("b", 1, BOOTSTRAP, "A b")), "b was told to bootstrap term 1", id="who is no founder founds"
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A B c"), plan=ALL),
            "shown members that are no founders",
            id="a list with more than the founders",
        ),
        pytest.param(
            history(confirmed("a", 1, "A"), told("a", 2, BOOTSTRAP, "A")),
            "told to bootstrap term 1, 0.900 s after it was formed",
            id="founded again when it is formed",
        ),
        pytest.param(
            history(confirmed("a", 1, "A"), told("b", 2, WAIT, "A b")),
            "told that term 1 is not formed",
            id="formed, and forgotten",
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A", term=2), told("b", 2, WAIT, "A b", term=1)),
            "term 1 after somebody had been told of term 2",
            id="the term goes back",
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A"), told("b", 3, BOOTSTRAP, "B", term=2), confirmed("a", 4, "A b"), a=2),
            "a confirmed term 1 after somebody had been told of term 2",
            id="a late confirmation counts",
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A"), confirmed("b", 2, "A b")),
            "b confirmed term 1, and is of ['a']",
            id="who is no founder confirms",
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A"), refused("a", 2, 1, term=1)),
            "a was refused in the present term 1",
            id="a founder is refused",
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A"), told("b", 3, BOOTSTRAP, "B", term=2)),
            "term 1 ended although all its founders existed",
            id="a founder is replaced that may be at work",
        ),
        pytest.param(
            history(told("a", 1, BOOTSTRAP, "A"), told("b", 3, BOOTSTRAP, "B", term=2), a=4),
            "term 1 ended although all its founders existed",
            id="a founder is replaced before it is gone",
        ),
        pytest.param(
            history(confirmed("a", 1, "A b"), told("b", 3, BOOTSTRAP, "B", term=2), a=2),
            "formed, and ended although some of its members existed",
            id="a formed cluster is founded anew",
        ),
        pytest.param(
            history(told("c", 1, WAIT, "A b c"), plan=CLOSED),
            "shown 3 members of a closed cluster of 2",
            id="too many are let in",
        ),
        pytest.param(
            history(told("c", 1, FULL, "A b"), plan=CLOSED), "full which is open, or not formed", id="full too early"
        ),
        pytest.param(
            history(told("c", 1, FULL, "A b", formed=True)), "full which is open", id="an open cluster is full"
        ),
        pytest.param(history(told("b", 1, WAIT, "A:1 b:0")), "a roll that is not in order", id="no order"),
        pytest.param(history(replace(told("b", 1, WAIT, "A"), status=500)), "b was answered 500", id="a defect"),
        pytest.param(
            history(replace(refused("b", 1, 1, term=1), call=Call.ENTER)), "was answered 409", id="a refusal to enter"
        ),
        pytest.param(replace(GOOD, hung="c waits"), "hung: c waits", id="somebody hangs"),
        pytest.param(
            replace(GOOD, final=LAST[1:], living=frozenset("bc")),
            "in the end nobody told [('b', 1)]",
            id="a server says nothing in the end",
        ),
        pytest.param(
            replace(GOOD, final=[*LAST[1:], told("b", 9, JOIN, "B", term=2, formed=True)], living=frozenset("bc")),
            "in the end there are several rolls",
            id="the servers differ in the end",
        ),
        pytest.param(
            replace(GOOD, final=[told("b", 9, BOOTSTRAP, "B", term=2)], living=frozenset("b")),
            "in the end b is told Verdict.BOOTSTRAP",
            id="not formed in the end",
        ),
        pytest.param(
            replace(GOOD, final=[told("c", 9, JOIN, "B", term=2, formed=True)], living=frozenset("c")),
            "in the end c is told Verdict.JOIN",
            id="not on the roll that it is to join",
        ),
    ],
)
def test_what_is_broken_is_seen(broken: History, says: str) -> None:
    found = check(broken)
    assert any(says in text for text in found), found


def test_what_a_killed_guest_was_told_is_read_but_for_a_line_that_is_cut_off(tmp_path: Path) -> None:
    line = {"uuid": "a", "call": "enter", "port": 1, "confirms": None, "asked": 0.9, "answered": 1.0, "status": 200}
    line |= {"verdict": "bootstrap", "term": 1, "formed": False, "members": [["a", 0, True]]}
    lost = {"uuid": "b", "call": "confirm", "port": 2, "confirms": 1, "asked": 0.1, "answered": 0.2, "status": 0}
    (tmp_path / "a.log").write_text(json.dumps(line) + "\n" + json.dumps(line)[:40])
    (tmp_path / "b.log").write_text(json.dumps(lost) + "\n")
    second, first = told("a", 1, BOOTSTRAP, "A"), Answer("b", Call.CONFIRM, 2, 0.1, 0.2, 0, confirms=1)
    assert read(tmp_path.glob("*.log")) == [first, replace(second, asked=0.9)]
