# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The checker is right: a history that breaks a promise is caught and the promise is named, and a true one passes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from . import legal
from .checker import SILENT, TAKEN, Undecidable, check
from .history import History, Kind, Operation, Outcome, Peer, Shown

Meta = Mapping[str, str]

UNAVAILABLE = legal.UNAVAILABLE


def _asked(kind: Kind, at: tuple[float, float], who: str, project: str) -> Operation:
    return Operation(-1, 0, 0, project, who, kind, *at, Outcome.OK, 200)


def _pairs(meta: Meta) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(meta.items()))


def published(
    at: tuple[float, float], who: str, meta: Meta, *, also: Meta | None = None, shared: bool = True, project: str = "p"
) -> Operation:
    """A 200, which shows these keys and *also* those that were there."""
    shown = Shown((Peer(who, _pairs({**(also or {}), **meta})),))
    return replace(_asked(Kind.PUBLISH, at, who, project), meta=_pairs(meta), shared=shared, shown=shown)


def refused(at: tuple[float, float], who: str, meta: Meta, status: int = 409, code: str = TAKEN) -> Operation:
    """A refusal that did nothing."""
    asked = _asked(Kind.PUBLISH, at, who, "p")
    return replace(asked, meta=_pairs(meta), status=status, code=code, outcome=Outcome.REFUSED)


def unanswered(at: tuple[float, float], who: str, meta: Meta) -> Operation:
    """A publish of which nobody knows what it did."""
    asked = _asked(Kind.PUBLISH, at, who, "p")
    return replace(asked, meta=_pairs(meta), status=None, code="given up", outcome=Outcome.UNKNOWN)


def listed(at: tuple[float, float], *peers: tuple[str, Meta]) -> Operation:
    """A 200 of shared.json."""
    return replace(_asked(Kind.SHARED, at, "ann", "p"), shown=Shown(tuple(Peer(who, _pairs(m)) for who, m in peers)))


def board(
    at: tuple[float, float], revision: int, *peers: tuple[str, int, int, Meta], since: int | None = None
) -> Operation:
    """A 200 of peer_data.json: peers with `joined` and `revision`."""
    shown = Shown(
        tuple(Peer(who, _pairs(meta), joined, changed) for who, joined, changed, meta in peers),
        revision,
        full=since is None,
    )
    kind = Kind.PEER_DATA if since is None else Kind.FOLLOW
    return replace(_asked(kind, at, "ann", "p"), since=since, shown=shown)


def own(at: tuple[float, float], who: str, meta: Meta) -> Operation:
    """A 200 of meta_data.json."""
    return replace(_asked(Kind.OWN, at, who, "p"), shown=Shown((Peer(who, _pairs(meta)),)))


def found(*operations: Operation) -> list[str]:
    """The promises that a history breaks."""
    return [one.promise for one in check(legal.numbered(list(operations))).violations]


# True histories


def test_one_call_after_the_other_is_true_and_every_change_has_its_place() -> None:
    verdict = check(
        legal.numbered(
            [
                listed((0, 0.5)),
                published((1, 2), "ann", {"a": "1", "b": "2"}),
                published((3, 4), "bob", {"a": "3"}),
                published((5, 6), "ann", {"c": "4"}, also={"a": "1", "b": "2"}),
                board((7, 8), 3, ("ann", 1, 3, {"a": "1", "b": "2", "c": "4"}), ("bob", 2, 2, {"a": "3"})),
                board((4.1, 4.2), 2, ("ann", 1, 1, {"a": "1", "b": "2"}), ("bob", 2, 2, {"a": "3"})),
                board((8, 9), 3, ("ann", 1, 3, {"a": "1", "b": "2", "c": "4"}), since=2),
                listed((9, 10), ("ann", {"a": "1", "b": "2", "c": "4"}), ("bob", {"a": "3"})),
            ]
        )
    )
    assert not verdict.violations
    assert (verdict.changes, verdict.placed) == (3, 3)


def test_a_read_that_overlaps_a_publish_may_contain_it_or_not() -> None:
    publish = published((1, 4), "ann", {"a": "1"})
    assert not found(publish, listed((2, 3)))
    assert not found(publish, listed((2, 3), ("ann", {"a": "1"})))


def test_what_was_never_answered_may_appear_or_not_and_late() -> None:
    lost = unanswered((1, 2), "ann", {"a": "1"})
    assert not found(lost, listed((3, 4)))
    assert not found(lost, listed((3, 4)), listed((5, 6), ("ann", {"a": "1"})))


def test_a_publish_that_is_repeated_after_it_was_lost_is_one_change() -> None:
    again = published((3, 4), "ann", {"a": "1"})
    seen = board((5, 6), 1, ("ann", 1, 1, {"a": "1"}))
    assert not found(unanswered((1, 2), "ann", {"a": "1"}), listed((2.1, 2.9), ("ann", {"a": "1"})), again, seen)
    assert not found(unanswered((1, 2), "ann", {"a": "1"}), listed((2.1, 2.9)), again, seen)


def test_an_unshared_key_takes_a_revision_and_is_seen_by_its_owner_alone() -> None:
    secret = published((1, 2), "ann", {"a": "1"}, shared=False)
    assert not found(secret, board((3, 4), 1), own((3, 4), "ann", {"a": "1"}), listed((3, 4)))


# G1: one winner, the whole call or nothing


def test_half_a_call_breaks_g1() -> None:
    assert "G1" in found(published((1, 2), "ann", {"a": "1", "b": "2"}), listed((3, 4), ("ann", {"a": "1"})))


def test_two_winners_of_one_key_break_g1() -> None:
    assert "G1" in found(published((1, 5), "ann", {"a": "1"}), published((2, 4), "ann", {"a": "2"}))


def test_a_refused_call_that_appears_breaks_g1() -> None:
    rival = published((1, 2), "ann", {"a": "1"})
    seen = listed((5, 6), ("ann", {"a": "1", "b": "3"}))
    assert "G1" in found(rival, refused((3, 4), "ann", {"a": "2", "b": "3"}), seen)
    away = refused((1, 2), "ann", {"a": "1"}, 503, UNAVAILABLE)
    assert "G1" in found(away, listed((3, 4), ("ann", {"a": "1"})))


def test_a_refused_call_that_was_repeated_with_success_may_appear() -> None:
    away = refused((1, 2), "ann", {"a": "1"}, 503, UNAVAILABLE)
    assert not found(away, published((3, 4), "ann", {"a": "1"}), listed((5, 6), ("ann", {"a": "1"})))


def test_a_conflict_with_nobody_breaks_g1() -> None:
    assert found(refused((1, 2), "ann", {"a": "1"})) == ["G1"]
    later = published((3, 4), "ann", {"a": "2"})
    assert found(refused((1, 2), "ann", {"a": "1"}), later) == ["G1"]


def test_a_conflict_with_a_call_that_nobody_knows_of_is_true() -> None:
    assert not found(unanswered((0, 0.5), "ann", {"a": "2"}), refused((1, 2), "ann", {"a": "1"}))


def test_a_conflict_with_what_a_later_read_does_not_have_yet_breaks_g3() -> None:
    winner = unanswered((0, 9), "ann", {"a": "2"})
    before = board((5, 6), 1, ("bob", 1, 1, {"z": "0"}))
    after = board((10, 11), 2, ("bob", 1, 1, {"z": "0"}), ("ann", 2, 2, {"a": "2"}))
    assert found(published((-2, -1), "bob", {"z": "0"}), winner, refused((3, 4), "ann", {"a": "1"}), before, after) == [
        "G3"
    ]


def test_the_same_call_answered_200_and_409_breaks_g1() -> None:
    assert "G1" in found(published((1, 2), "ann", {"a": "1"}), refused((3, 4), "ann", {"a": "1"}))


# G2: one order, for everyone, for ever


def test_an_order_of_revisions_against_that_of_time_breaks_g2() -> None:
    first, second = published((1, 2), "ann", {"a": "1"}), published((3, 4), "bob", {"a": "2"})
    assert "G2" in found(first, second, board((5, 6), 2, ("bob", 1, 1, {"a": "2"}), ("ann", 2, 2, {"a": "1"})))


def test_two_readers_that_saw_two_changes_in_different_orders_break_g2() -> None:
    changes = [published((1, 9), "ann", {"a": "1"}), published((1, 9), "ann", {"b": "2"}, also={"a": "1"})]
    assert "G2" in found(*changes, listed((2, 3), ("ann", {"a": "1"})), listed((2, 3), ("ann", {"b": "2"})))


def test_another_place_in_the_order_of_joining_breaks_g2() -> None:
    changes = [published((1, 9), "ann", {"a": "1"}), published((1, 9), "bob", {"b": "2"})]
    one = board((10, 11), 2, ("ann", 1, 1, {"a": "1"}), ("bob", 2, 2, {"b": "2"}))
    other = listed((10, 11), ("bob", {"b": "2"}), ("ann", {"a": "1"}))
    assert found(*changes, one, other) == ["G2"]


def test_one_revision_of_two_changes_breaks_g2() -> None:
    changes = [published((1, 9), "ann", {"a": "1"}), published((1, 9), "bob", {"b": "2"})]
    assert "G2" in found(*changes, board((10, 11), 2, ("ann", 2, 2, {"a": "1"}), ("bob", 2, 2, {"b": "2"})))


def test_more_revisions_than_calls_break_g2() -> None:
    assert "G2" in found(published((1, 2), "ann", {"a": "1"}), board((3, 4), 2, ("ann", 1, 1, {"a": "1"})))


# G3: what was answered 200 is in every later read


@pytest.mark.parametrize(
    "stale",
    [
        listed((3, 4), ("bob", {"z": "0"})),
        board((3, 4), 1, ("bob", 1, 1, {"z": "0"})),
        board((3, 4), 1, since=1),
        own((3, 4), "ann", {}),
    ],
    ids=lambda one: one.kind.value,
)
def test_a_read_without_what_was_answered_before_breaks_g3(stale: Operation) -> None:
    before = published((-2, -1), "bob", {"z": "0"}), board((-1, 0), 1, ("bob", 1, 1, {"z": "0"}))
    assert "G3" in found(*before, published((1, 2), "ann", {"a": "1"}), stale)


def test_a_200_that_nobody_ever_sees_breaks_g3() -> None:
    kept, lost = published((1, 2), "ann", {"a": "1"}), published((3, 4), "bob", {"b": "2"})
    assert "G3" in found(kept, lost, *(board((at, at + 1), 1, ("ann", 1, 1, {"a": "1"})) for at in (5, 7, 9)))


def test_what_somebody_has_seen_must_stay_though_nobody_was_answered() -> None:
    lost = unanswered((1, 9), "ann", {"a": "1"})
    assert found(lost, listed((2, 3), ("ann", {"a": "1"})), listed((4, 5), ("bob", {}))) == ["G3"]


def test_a_revision_that_goes_back_breaks_g3() -> None:
    secret = unanswered((1, 9), "ann", {"a": "1"})
    assert "G3" in found(replace(secret, shared=False), board((2, 3), 1), board((4, 5), 0))


def test_a_violation_names_the_operations() -> None:
    one = check(legal.numbered([published((1, 2), "ann", {"a": "1"}), listed((3, 4), ("bob", {}))])).violations[0]
    assert one.operations == (1, 0)
    assert re.search(r"G3: #1 \(shared.json .* lacks #0 \(publish .*'a': '1'", str(one))


# G4: a read is one snapshot


def test_a_list_of_what_was_never_there_together_breaks_g4() -> None:
    changes = [published((1, 9), "ann", {"a": "1"}), published((1, 9), "bob", {"b": "2"})]
    told = board((10, 11), 2, ("ann", 1, 1, {"a": "1"}), ("bob", 2, 2, {"b": "2"}))
    assert found(*changes, told, listed((2, 3), ("bob", {"b": "2"}))) == ["G4"]
    assert not found(*changes, told, listed((2, 3), ("ann", {"a": "1"})))


def test_two_reads_that_differ_at_one_revision_break_g4() -> None:
    changes = [published((1, 9), "ann", {"a": "1"}), published((1, 9), "bob", {"b": "2"})]
    one, other = board((2, 3), 1, ("ann", 1, 1, {"a": "1"})), board((2, 3), 1, ("bob", 1, 1, {"b": "2"}))
    assert "G4" in found(*changes, one, other)


def test_a_read_of_what_was_there_at_another_revision_breaks_g4() -> None:
    secret = published((1, 9), "bob", {"b": "2"}, shared=False)
    change = published((1, 9), "ann", {"a": "1"})
    assert "G4" in found(secret, change, board((2, 3), 1, ("ann", 2, 2, {"a": "1"})))


# G5: a failure is never an empty list


@pytest.mark.parametrize("empty", [listed((3, 4)), board((3, 4), 0)], ids=["shared", "peer_data"])
def test_an_empty_list_after_a_200_breaks_g5(empty: Operation) -> None:
    assert "G5" in found(published((1, 2), "ann", {"a": "1"}), empty)


# G6: following loses nothing and invents nothing


def _followed(*peers: tuple[str, int, int, Meta]) -> list[str]:
    return found(
        published((1, 2), "ann", {"a": "1"}),
        board((3, 4), 1, ("ann", 1, 1, {"a": "1"})),
        published((5, 6), "bob", {"b": "2"}),
        published((5, 6), "cid", {"c": "3"}),
        board((7, 8), 3, ("ann", 1, 1, {"a": "1"}), ("bob", 2, 2, {"b": "2"}), ("cid", 3, 3, {"c": "3"})),
        board((7, 8), 3, *peers, since=1),
    )


def test_following_gives_what_a_full_read_gives() -> None:
    assert not _followed(("bob", 2, 2, {"b": "2"}), ("cid", 3, 3, {"c": "3"}))


def test_a_change_that_a_follower_is_not_told_breaks_g6() -> None:
    assert "G6" in _followed(("cid", 3, 3, {"c": "3"}))


def test_a_peer_that_did_not_change_is_not_told_again() -> None:
    assert "G6" in _followed(("ann", 1, 1, {"a": "1"}), ("bob", 2, 2, {"b": "2"}), ("cid", 3, 3, {"c": "3"}))


def test_following_from_where_nobody_read_is_held_against_where_it_ends() -> None:
    story = [
        published((1, 2), "ann", {"a": "1"}),
        published((3, 4), "bob", {"b": "2"}),
        published((5, 6), "cid", {"c": "3"}),
        board((7, 8), 3, ("ann", 1, 1, {"a": "1"}), ("bob", 2, 2, {"b": "2"}), ("cid", 3, 3, {"c": "3"})),
    ]
    assert not found(*story, board((7, 8), 3, ("cid", 3, 3, {"c": "3"}), since=2))
    assert "G6" in found(*story, board((7, 8), 3, since=2))


def test_an_invented_value_breaks_g6() -> None:
    assert "G6" in found(published((1, 2), "ann", {"a": "1"}), listed((3, 4), ("ann", {"a": "1", "b": "7"})))


def test_what_is_shown_before_it_was_asked_for_breaks_g6() -> None:
    assert "G6" in found(listed((1, 2), ("ann", {"a": "1"})), published((3, 4), "ann", {"a": "1"}))


# G9 and G10: nothing of another project, nothing under another name


def test_a_key_of_another_project_breaks_g9() -> None:
    elsewhere = published((1, 2), "eve", {"a": "1"}, project="q")
    assert "G9" in found(elsewhere, listed((3, 4), ("eve", {"a": "1"})))


def test_an_unshared_key_in_a_list_breaks_g9() -> None:
    assert "G9" in found(published((1, 2), "ann", {"a": "1"}, shared=False), listed((3, 4), ("ann", {"a": "1"})))


def test_a_key_under_another_instance_breaks_g10() -> None:
    assert "G10" in found(published((1, 2), "ann", {"a": "1"}), listed((3, 4), ("bob", {"a": "1"})))


# Refusals


def test_any_other_status_than_a_clear_503_is_reported() -> None:
    assert found(refused((1, 2), "ann", {"a": "1"}, 500, "peerdata.server.error")) == ["refusals"]
    assert found(refused((1, 2), "ann", {"a": "1"}, 503, "not understood")) == ["refusals"]
    assert not found(refused((1, 2), "ann", {"a": "1"}, 503, UNAVAILABLE))


def test_a_refusal_that_took_too_long_is_reported() -> None:
    assert found(refused((1, 22), "ann", {"a": "1"}, 503, UNAVAILABLE)) == ["refusals"]


def test_no_answer_at_all_is_reported_of_a_client_that_has_waited_long_enough() -> None:
    assert found(replace(unanswered((1, 26), "ann", {"a": "1"}), code=SILENT)) == ["refusals"]
    assert not found(unanswered((1, 26), "ann", {"a": "1"}))


# What cannot be checked


def test_a_value_that_two_calls_set_is_not_decided() -> None:
    with pytest.raises(Undecidable):
        found(published((1, 2), "ann", {"a": "1"}), published((1, 2), "bob", {"a": "1"}))


def test_a_removal_is_not_decided() -> None:
    gone = board((1, 2), 1)
    assert gone.shown
    with pytest.raises(Undecidable):
        found(replace(gone, shown=replace(gone.shown, removed=("ann",))))


# Any history

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.integers(1, 60))
def test_whatever_one_object_said_is_true(seed: int, steps: int) -> None:
    operations = legal.make(Random(seed), steps=steps)
    assert not check(operations).violations


@given(SEEDS)
def test_projects_do_not_mix(seed: int) -> None:
    both = [*legal.make(Random(seed), steps=15), *legal.make(Random(seed + 1), steps=15, name="q")]
    assert not check(legal.numbered(both)).violations


def tampered(operations: list[Operation], chance: Random) -> list[Operation]:
    """With some answers and some times exchanged; often no longer true."""
    changed = list(operations)
    for _ in range(chance.randint(0, 3)):
        one = chance.choice(changed)
        other = chance.choice([other for other in changed if other.kind is one.kind])
        here, there = changed.index(one), changed.index(other)
        if one.kind is not Kind.PUBLISH and chance.random() < 0.7:
            changed[here], changed[there] = replace(one, shown=other.shown), replace(other, shown=one.shown)
        else:
            moved = chance.uniform(-3, 3)
            changed[here] = replace(one, invoked=one.invoked + moved, completed=one.completed + moved)
    return legal.numbered(changed)


@given(SEEDS)
def test_it_agrees_with_a_search_through_all_orders(seed: int) -> None:
    """What it reports cannot be true; and where it left nothing open, what cannot be true is reported."""
    chance = Random(seed)
    operations = tampered(legal.make(chance, steps=chance.randint(2, 8), last_look=chance.random() < 0.5), chance)
    verdict = check(operations)
    if legal.explains(operations):
        assert not verdict.violations
    elif verdict.exact:
        assert verdict.violations


Spoil = Callable[[Sequence[Operation], Random], tuple[Operation, Operation]]


def lose_a_write(operations: Sequence[Operation], chance: Random) -> tuple[Operation, Operation]:
    """A list without a call that was answered before."""
    pairs = [
        (read, call)
        for read in _lists(operations)
        for call in operations
        if call.kind is Kind.PUBLISH and call.outcome is Outcome.OK and call.shared and call.completed < read.invoked
    ]
    assume(pairs)
    read, call = chance.choice(pairs)
    return read, _changed(read, call.instance, lambda meta: tuple(pair for pair in meta if pair not in call.meta))


def show_half_a_call(operations: Sequence[Operation], chance: Random) -> tuple[Operation, Operation]:
    """A list with one key of a call, and without another."""
    pairs = [
        (read, call)
        for read in _lists(operations)
        for call in operations
        if call.kind is Kind.PUBLISH and len(call.meta) > 1
        if any(peer.uuid == call.instance and set(call.meta) <= set(peer.meta) for peer in _peers(read))
    ]
    assume(pairs)
    read, call = chance.choice(pairs)
    gone = chance.choice(call.meta)
    return read, _changed(read, call.instance, lambda meta: tuple(pair for pair in meta if pair != gone))


def invent_a_value(operations: Sequence[Operation], chance: Random) -> tuple[Operation, Operation]:
    """A list with a key that nobody set."""
    reads = [read for read in _lists(operations) if _peers(read)]
    assume(reads)
    read = chance.choice(reads)
    who = chance.choice(_peers(read)).uuid
    return read, _changed(read, who, lambda meta: tuple(sorted([*meta, ("new", "invented")])))


def answer_from_before(operations: Sequence[Operation], chance: Random) -> tuple[Operation, Operation]:
    """A list as it was before a call that was answered in the meantime."""
    pairs = [
        (old, new)
        for old in _lists(operations)
        for new in _lists(operations)
        if old.kind is new.kind and old.completed < new.invoked
        for call in operations
        if call.kind is Kind.PUBLISH and call.outcome is Outcome.OK and call.shared and call.completed < new.invoked
        if not any(peer.uuid == call.instance and set(call.meta) <= set(peer.meta) for peer in _peers(old))
    ]
    assume(pairs)
    old, new = chance.choice(pairs)
    return new, replace(new, shown=old.shown)


def answer_from_after(operations: Sequence[Operation], chance: Random) -> tuple[Operation, Operation]:
    """A revision that goes back in time, because an earlier reader was told a later one."""
    boards = [one for one in operations if one.kind is Kind.PEER_DATA and one.shown]
    pairs = [
        (early, late)
        for early in boards
        for late in boards
        if early.shown and late.shown and (early.shown.revision or 0) < (late.shown.revision or 0)
        for middle in boards
        if middle.shown and early.completed < middle.invoked and middle.shown.revision == early.shown.revision
    ]
    assume(pairs)
    early, late = chance.choice(pairs)
    return early, replace(early, shown=late.shown)


def mix_up_the_order(operations: Sequence[Operation], chance: Random) -> tuple[Operation, Operation]:
    """Two peers that changed places."""
    reads = [read for read in _lists(operations) if len(_peers(read)) > 1]
    assume(reads)
    read = chance.choice(reads)
    assert read.shown
    return read, replace(read, shown=replace(read.shown, peers=read.shown.peers[::-1]))


def keep_a_change_from_a_follower(operations: Sequence[Operation], chance: Random) -> tuple[Operation, Operation]:
    """A peer that is left out, where it is known what the follower should have been told."""
    told = {one.shown.revision for one in operations if one.kind is Kind.PEER_DATA and one.shown}
    follows = [
        one
        for one in operations
        if one.kind is Kind.FOLLOW and one.shown and one.shown.peers and one.shown.revision in told
    ]
    assume(follows)
    one = chance.choice(follows)
    assert one.shown
    gone = chance.choice(one.shown.peers)
    return one, replace(one, shown=replace(one.shown, peers=tuple(peer for peer in one.shown.peers if peer != gone)))


@pytest.mark.parametrize(
    "spoil",
    [
        lose_a_write,
        show_half_a_call,
        invent_a_value,
        answer_from_before,
        answer_from_after,
        mix_up_the_order,
        keep_a_change_from_a_follower,
    ],
)
@given(seed=SEEDS)
def test_a_true_history_in_which_one_answer_is_spoilt_is_caught(spoil: Spoil, seed: int) -> None:
    chance = Random(seed)
    operations = legal.make(chance, steps=40)
    good, bad = spoil(operations, chance)
    assert check([bad if one is good else one for one in operations]).violations


def _lists(operations: Sequence[Operation]) -> list[Operation]:
    return [one for one in operations if one.kind in (Kind.SHARED, Kind.PEER_DATA)]


def _peers(read: Operation) -> tuple[Peer, ...]:
    assert read.shown
    return read.shown.peers


def _changed(
    read: Operation, who: str, change: Callable[[tuple[tuple[str, str], ...]], tuple[tuple[str, str], ...]]
) -> Operation:
    assert read.shown
    peers = tuple(replace(peer, meta=change(peer.meta)) if peer.uuid == who else peer for peer in read.shown.peers)
    return replace(read, shown=replace(read.shown, peers=tuple(peer for peer in peers if peer.meta)))


# Files


@given(SEEDS)
def test_a_history_that_was_kept_is_the_same(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    history = History({"seed": seed}, legal.make(Random(seed), steps=20))
    path: Path = tmp_path_factory.mktemp("kept") / "history.jsonl.gz"
    history.write(path)
    assert History.read(path) == history


def test_ten_thousand_operations_are_checked_in_seconds() -> None:
    operations = [one for number in range(40) for one in legal.make(Random(number), steps=250, name=f"p{number}.")]
    assert len(operations) > 10_000
    began = time.process_time()
    assert not check(legal.numbered(operations)).violations
    assert time.process_time() - began < 20
