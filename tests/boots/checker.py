# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Whether what the guests of a cluster were told keeps promise G7. Pure.

An answer is true of some moment between its request and its arrival. So only of two answers of which one was asked for
after the other had arrived is it known which came first; every rule that speaks of an order means that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from peerdata.model import Founders, Verdict

from .history import Answer, Call, History

UNCLEAR = (0, 404, 502, 503, 504)
"""Statuses that a guest may see while servers are killed: no answer, an instance that is gone or not yet there, a store
that is busy. 0 stands for no answer."""


def check(history: History) -> list[str]:
    """What was broken, in sentences; empty: nothing."""
    return [broken for rule in RULES for broken in rule(history)]


def founders_by_term(history: History) -> dict[int, set[tuple[str, ...]]]:
    """All sets of founders of which anybody was told, by term; each should have one."""
    told: dict[int, set[tuple[str, ...]]] = {}
    for one in _accepted(history):
        if one.founders and one.term is not None:
            told.setdefault(one.term, set()).add(one.founders)
    return told


def _answers_make_sense(history: History) -> Iterator[str]:
    """Nobody is told anything but a verdict, a clear refusal of a late confirmation, or to try again."""
    for one in history.answers:
        late = one.call is Call.CONFIRM and (one.status, one.code) == (409, "peerdata.cluster.not_founder")
        if not (one.accepted or late or one.status in UNCLEAR):
            yield f"{one.uuid} was answered {one.status} {one.code} to {one.call.value}"


def _each_term_has_one_set_of_founders(history: History) -> Iterator[str]:
    unformed = {(one.term, one.founders) for one in _accepted(history) if not one.formed}
    for term, sets in founders_by_term(history).items():
        whole = max(sets, key=len)
        # Of a formed cluster those may have left of whom it became known meanwhile that they are gone.
        others = [one for one in sets if one != whole and ((term, one) in unformed or not _is_part(one, whole))]
        if others:
            yield f"term {term} had {len(sets)} sets of founders: {sorted(sets)}"
        if len(whole) > _due(history):
            yield f"term {term} had {len(whole)} founders instead of {_due(history)}: {whole}"


def _who_bootstraps_is_a_founder_of_a_full_list(history: History) -> Iterator[str]:
    due = _due(history)
    for one in _accepted(history):
        if one.verdict is not Verdict.BOOTSTRAP:
            continue
        if one.uuid not in one.founders or len(one.founders) != due:
            yield f"{one.uuid} was told to bootstrap term {one.term} with {one.founders}, and {due} are to do it"
        if history.plan.founders is Founders.ALL and len(one.members) != due:
            yield f"{one.uuid} was told to bootstrap term {one.term} and shown members that are no founders"


def _nobody_bootstraps_what_is_formed(history: History) -> Iterator[str]:
    formed: dict[int, float] = {}
    for one in _accepted(history):
        if one.formed and one.term is not None:
            formed[one.term] = min(one.answered, formed.get(one.term, one.answered))
    for one in _accepted(history):
        since = formed.get(one.term or 0)
        if since is None or one.asked <= since:
            continue
        if one.verdict is Verdict.BOOTSTRAP:
            yield f"{one.uuid} was told to bootstrap term {one.term}, {one.asked - since:.3f} s after it was formed"
        elif not one.formed:
            yield f"{one.uuid} was told that term {one.term} is not formed, {one.asked - since:.3f} s after it was"


def _the_term_only_grows(history: History) -> Iterator[str]:
    answers = [one for one in _accepted(history) if one.term is not None]
    for one, highest in _with_highest_term_before(answers):
        if (one.term or 0) < highest:
            yield f"{one.uuid} was told of term {one.term} after somebody had been told of term {highest}"


def _a_late_confirmation_is_refused(history: History) -> Iterator[str]:
    founders = founders_by_term(history)
    answers = [*_accepted(history), *(one for one in history.answers if one.status == 409)]
    for one, highest in _with_highest_term_before(answers):
        if one.call is not Call.CONFIRM or one.confirms is None:
            continue
        of_term = {uuid for told in founders.get(one.confirms, ()) for uuid in told}
        if one.accepted and one.confirms < highest:
            yield f"{one.uuid} confirmed term {one.confirms} after somebody had been told of term {highest}"
        elif one.accepted and (one.term != one.confirms or not one.formed or one.uuid not in of_term):
            yield f"{one.uuid} confirmed term {one.confirms}, and is of {sorted(of_term)} in term {one.term}"
        elif not one.accepted and one.term == one.confirms and history.deleted.get(one.uuid, inf) >= one.answered:
            yield f"{one.uuid} was refused in the present term {one.term}, of which it was told to be a founder"


def _nobody_takes_the_place_of_who_exists(history: History) -> Iterator[str]:
    """A term ends when one of its founders is gone, or, once the cluster is formed, when all of its members are."""
    answers = list(_accepted(history))
    for ended in answers:
        if not ended.founders:
            continue
        later = [one.answered for one in answers if (one.term or 0) > (ended.term or 0)]
        if not later:
            continue
        exist = [history.deleted.get(uuid, inf) >= min(later) for uuid in ended.founders]
        if all(exist):
            yield f"term {ended.term} ended although all its founders existed: {ended.founders}"
        roll = {member.uuid for member in ended.members}
        if ended.formed and any(history.deleted.get(uuid, inf) >= min(later) for uuid in roll):
            yield f"term {ended.term} was formed, and ended although some of its members existed: {sorted(roll)}"


def _no_more_are_let_in_than_a_closed_cluster_has(history: History) -> Iterator[str]:
    for one in _accepted(history):
        if history.plan.closed and len(one.members) > history.plan.size:
            yield f"{one.uuid} was shown {len(one.members)} members of a closed cluster of {history.plan.size}"
        if one.verdict is Verdict.FULL and not (history.plan.closed and one.formed):
            yield f"{one.uuid} was told that a cluster is full which is open, or not formed"


def _the_roll_is_in_order(history: History) -> Iterator[str]:
    for one in _accepted(history):
        ordinals = [member.ordinal for member in one.members]
        if ordinals != sorted(set(ordinals)):
            yield f"{one.uuid} was shown a roll that is not in order: {ordinals}"


def _everybody_gets_there(history: History) -> Iterator[str]:
    """In the end all that live are told that they belong to one formed cluster, or that it is full, by all servers."""
    if history.hung:
        yield f"hung: {history.hung}"
        return
    told = {(one.uuid, one.port) for one in history.final if one.accepted}
    ports = {one.port for one in history.final}
    if missing := {(uuid, port) for uuid in history.living for port in ports} - told:
        yield f"in the end nobody told {sorted(missing)}"
    rolls = {f"{one.members} of term {one.term}" for one in history.final}
    if len(rolls) > 1:
        yield f"in the end there are several rolls: {sorted(rolls)}"
    for one in history.final:
        inside = one.uuid in {member.uuid for member in one.members}
        if not one.formed or one.verdict is not (Verdict.JOIN if inside else Verdict.FULL):
            yield f"in the end {one.uuid} is told {one.verdict} by {one.port}, formed {one.formed}"


def _due(history: History) -> int:
    """How many founders a term has."""
    return 1 if history.plan.founders is Founders.ONE else history.plan.size


def _is_part(one: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    """Whether *one* is *whole* without some, in the same order."""
    return tuple(uuid for uuid in whole if uuid in one) == one


def _accepted(history: History) -> Iterator[Answer]:
    return (one for one in (*history.answers, *history.final) if one.accepted)


def _with_highest_term_before(answers: list[Answer]) -> Iterator[tuple[Answer, int]]:
    """Each answer, with the highest term of which somebody had been told when it was asked for."""
    arrived = sorted(answers, key=lambda one: one.answered)
    highest, number = 0, 0
    for one in sorted(answers, key=lambda one: one.asked):
        while number < len(arrived) and arrived[number].answered < one.asked:
            highest = max(highest, arrived[number].term or 0)
            number += 1
        yield one, highest


RULES: tuple[Callable[[History], Iterator[str]], ...] = (
    _answers_make_sense,
    _each_term_has_one_set_of_founders,
    _who_bootstraps_is_a_founder_of_a_full_list,
    _nobody_bootstraps_what_is_formed,
    _the_term_only_grows,
    _a_late_confirmation_is_refused,
    _nobody_takes_the_place_of_who_exists,
    _no_more_are_let_in_than_a_closed_cluster_has,
    _the_roll_is_in_order,
    _everybody_gets_there,
)
