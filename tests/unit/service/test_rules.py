"""The pure decisions: what may be a key, what may be published, when to ask again."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerdata.errors import (
    KeyInvalid,
    KeyTaken,
    MetaEmpty,
    QuotaReached,
    RequestInvalid,
    ValueInvalid,
    ValueTooLong,
)
from peerdata.model import KEY_NAME, PREFIX, Entry, Quota, Usage
from peerdata.service.rules import POLL_LEAST_S, check_meta, decide_publish, poll_after_s, printable

ROOMY = Quota(keys_per_instance=128, keys_per_project=20_000)

# Keys and values


@pytest.mark.parametrize("key", ["k", "K", "7", "-", "_", ":", ".", " ", "a b", "etcd_addr", "a:b.c-d_e f", "k" * 243])
def test_a_key_of_novas_alphabet_is_accepted(key: str) -> None:
    check_meta({key: "v"}, max_value_chars=255)


def test_the_longest_key_fits_novas_255_characters_with_its_prefix() -> None:
    assert KEY_NAME.fullmatch("k" * 243)
    assert not KEY_NAME.fullmatch("k" * 244)
    assert len(PREFIX) + 243 == 255


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param("k" * 244, id="one too long"),
        pytest.param("k" * 100_000, id="much too long"),
        pytest.param("a/b", id="slash"),
        pytest.param("a=b", id="equals"),
        pytest.param("a,b", id="comma"),
        pytest.param("a\tb", id="tab"),
        pytest.param("k\n", id="line break at the end, which nova's own rule lets through"),
        pytest.param("\nk", id="line break in front"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("ké", id="accent"),
        pytest.param("k١", id="a digit, but not 0-9"),
        pytest.param("\u212aelvin", id="KELVIN SIGN, which folds to k"),
        pytest.param("k\u200b", id="zero width space"),
        pytest.param("k\u00a0", id="no-break space"),
        pytest.param("\ud800", id="lone surrogate"),
        pytest.param("🙂", id="emoji"),
        pytest.param("k\\", id="backslash"),
        pytest.param("k[]", id="brackets"),
    ],
)
def test_a_key_outside_the_alphabet_is_refused_with_a_printable_message(key: str) -> None:
    with pytest.raises(KeyInvalid) as refused:
        check_meta({key: "v"}, max_value_chars=255)
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 300
    assert refused.value.facts["key"] == printable(key)


@pytest.mark.parametrize("value", ["", "v", "v" * 255, "ü" * 255, "🙂" * 255, "\n\t\r", "\u2028", '"', "\x1b[31m"])
def test_a_value_of_up_to_255_characters_is_accepted(value: str) -> None:
    check_meta({"k": value}, max_value_chars=255)


@pytest.mark.parametrize("value", ["v" * 256, "ü" * 256, "🙂" * 256, "v" * 65_536])
def test_a_longer_value_is_refused_and_the_limit_is_named(value: str) -> None:
    with pytest.raises(ValueTooLong) as refused:
        check_meta({"k": value}, max_value_chars=255)
    assert refused.value.facts == {"key": "k", "limit": 255}
    assert str(len(value)) in refused.value.message


def test_the_operator_may_raise_the_limit_of_a_value() -> None:
    check_meta({"k": "v" * 65_536}, max_value_chars=65_536)
    with pytest.raises(ValueTooLong):
        check_meta({"k": "v" * 65_537}, max_value_chars=65_536)


@pytest.mark.parametrize("value", ["\0", "a\0b", "v\0", "\ud800", "v\udfff", "a\udc80b", "\ude00\ud83d"])
def test_a_value_that_not_every_reader_can_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueInvalid) as refused:
        check_meta({"k": value}, max_value_chars=255)
    assert refused.value.message.isprintable()


def test_no_key_at_all_is_refused() -> None:
    with pytest.raises(MetaEmpty):
        check_meta({}, max_value_chars=255)


def test_the_first_fault_in_alphabetical_order_is_reported() -> None:
    with pytest.raises(ValueTooLong, match="'b'"):
        check_meta({"c/": "v", "a": "v", "b": "v" * 256}, max_value_chars=255)


@given(st.dictionaries(st.text(st.characters(), max_size=260), st.text(st.characters(), max_size=300), max_size=4))
def test_whatever_is_offered_either_passes_or_is_invalid(meta: dict[str, str]) -> None:
    try:
        check_meta(meta, max_value_chars=255)
    except RequestInvalid:
        return
    for key, value in meta.items():
        assert (PREFIX + key).isascii()
        assert len(PREFIX + key) <= 255
        assert len(value.encode()) <= 4 * 255
        assert "\0" not in value


@given(st.text(st.characters()))
def test_anything_can_be_shown_in_a_message(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 61
    shown.encode()


# Publishing

HELD = {
    "quiet": Entry("quiet", "1", shared=False),
    "loud": Entry("loud", "2", shared=True),
}


def decide(
    offered: Mapping[str, str],
    *,
    shared: bool = False,
    existing: Mapping[str, Entry] = HELD,
    owned: Mapping[str, str] | None = None,
    project_keys: int = 2,
    quota: Quota = ROOMY,
) -> tuple[Entry, ...]:
    return decide_publish(existing, owned or {}, offered, shared=shared, project=Usage(project_keys, 0), quota=quota)


def test_new_keys_are_accepted_in_alphabetical_order_with_the_sharing_of_the_call() -> None:
    assert decide({"b": "2", "a": "1"}, shared=True) == (Entry("a", "1", shared=True), Entry("b", "2", shared=True))
    assert decide({"a": ""}, shared=False) == (Entry("a", "", shared=False),)


def test_the_same_keys_with_the_same_value_and_sharing_change_nothing() -> None:
    assert decide({"quiet": "1"}, shared=False) == ()
    assert decide({"loud": "2"}, shared=True) == ()


def test_of_a_call_that_holds_old_and_new_keys_only_the_new_ones_are_stored() -> None:
    assert decide({"loud": "2", "a": "1"}, shared=True) == (Entry("a", "1", shared=True),)


TAKEN = [
    pytest.param({"quiet": "other"}, False, {}, "quiet", id="another value"),
    pytest.param({"loud": "other"}, True, {}, "loud", id="another value, shared"),
    pytest.param({"quiet": ""}, False, {}, "quiet", id="an empty value is another"),
    pytest.param({"quiet": "1 "}, False, {}, "quiet", id="white space counts"),
    pytest.param({"quiet": "1"}, True, {}, "quiet", id="unshared, to be shared"),
    pytest.param({"loud": "2"}, False, {}, "loud", id="shared, to be unshared"),
    pytest.param({"new": "v", "quiet": "other"}, False, {}, "quiet", id="one of two"),
    pytest.param({"owner": "theirs"}, False, {"owner": "ours"}, "owner", id="the owner's, with another value"),
    pytest.param({"owner": "ours"}, True, {"owner": "ours"}, "owner", id="the owner's, to be shared"),
    pytest.param({"quiet": "x", "loud": "x"}, False, {}, "loud", id="the first in alphabetical order"),
]


@pytest.mark.parametrize(("offered", "shared", "owned", "taken"), TAKEN)
def test_a_key_that_is_set_refuses_the_whole_call(
    offered: dict[str, str], shared: bool, owned: dict[str, str], taken: str
) -> None:
    with pytest.raises(KeyTaken) as refused:
        decide(offered, shared=shared, owned=owned)
    assert refused.value.facts["key"] == taken
    assert f"'{taken}'" in refused.value.message


def test_keys_differ_by_case() -> None:
    assert decide({"QUIET": "2"}) == (Entry("QUIET", "2", shared=False),)


def test_what_the_owner_set_counts_as_set_unshared() -> None:
    assert decide({"owner": "ours"}, owned={"owner": "ours"}) == ()
    assert decide({"owner": "ours", "new": "v"}, owned={"owner": "ours"}) == (Entry("new", "v", shared=False),)


def test_what_the_instance_set_first_is_not_the_owners_to_change() -> None:
    assert decide({"loud": "2"}, shared=True, owned={"loud": "other"}) == ()
    with pytest.raises(KeyTaken) as refused:
        decide({"loud": "other"}, shared=True, owned={"loud": "other"})
    assert "owner" not in refused.value.message


def test_the_refusal_says_whose_key_it_is_but_not_what_it_holds() -> None:
    with pytest.raises(KeyTaken, match="set by the owner") as refused:
        decide({"owner": "x"}, owned={"owner": "a secret"})
    assert "a secret" not in refused.value.message


@pytest.mark.parametrize(
    ("keys_per_instance", "keys_per_project", "project_keys", "offered", "scope"),
    [
        (3, 100, 2, {"a": "1"}, None),
        (2, 100, 2, {"a": "1"}, "instance"),
        (3, 100, 2, {"a": "1", "b": "1"}, "instance"),
        (1, 100, 2, {"a": "1"}, "instance"),
        (100, 11, 10, {"a": "1"}, None),
        (100, 10, 10, {"a": "1"}, "project"),
        (100, 11, 10, {"a": "1", "b": "1"}, "project"),
        (2, 10, 10, {"a": "1"}, "instance"),
        (2, 2, 2, {"quiet": "1"}, None),
        (1, 1, 2, {"quiet": "1"}, None),
        (3, 3, 2, {"quiet": "1", "a": "1"}, None),
    ],
)
def test_quotas_count_the_keys_that_would_be_added(
    keys_per_instance: int, keys_per_project: int, project_keys: int, offered: dict[str, str], scope: str | None
) -> None:
    """The same again is not over a quota, even one that was lowered meanwhile."""
    quota = Quota(keys_per_instance, keys_per_project)
    if scope is None:
        decide(offered, project_keys=project_keys, quota=quota)
        return
    with pytest.raises(QuotaReached) as refused:
        decide(offered, project_keys=project_keys, quota=quota)
    assert refused.value.facts["scope"] == scope
    assert refused.value.facts["limit"] == (keys_per_instance if scope == "instance" else keys_per_project)


@pytest.mark.parametrize(
    ("bytes_per_instance", "bytes_per_project", "offered", "scope"),
    [
        (8, 100, {"a": "1"}, "instance_bytes"),
        (9, 100, {"a": "1"}, None),
        (9, 100, {"a": "ü"}, "instance_bytes"),
        (10, 100, {"a": "ü"}, None),
        (11, 100, {"a": "🙂"}, "instance_bytes"),
        (12, 100, {"a": "🙂"}, None),
        (100, 41, {"a": "1"}, "project_bytes"),
        (100, 42, {"a": "1"}, None),
        (100, 42, {"a": "1", "b": ""}, "project_bytes"),
        (1, 1, {"quiet": "1"}, None),
        (1, 1, {"a": "1"}, "instance_bytes"),
    ],
)
def test_quotas_count_bytes_of_keys_and_values_as_utf8(
    bytes_per_instance: int, bytes_per_project: int, offered: dict[str, str], scope: str | None
) -> None:
    held = {"quiet": Entry("quiet", "1", shared=True), "k": Entry("k", "", shared=True)}
    quota = Quota(10, 10, bytes_per_instance, bytes_per_project)

    def ask() -> None:
        decide_publish(held, {}, offered, shared=True, project=Usage(keys=2, bytes=40), quota=quota)

    if scope is None:
        ask()
        return
    with pytest.raises(QuotaReached, match="bytes") as refused:
        ask()
    assert refused.value.facts["scope"] == scope
    assert refused.value.facts["limit"] == (bytes_per_instance if scope == "instance_bytes" else bytes_per_project)


def test_the_owners_keys_do_not_use_up_the_instances_quota() -> None:
    assert decide({"a": "1"}, owned={"x": "1", "y": "1"}, quota=Quota(3, 100))


def test_a_key_that_is_set_is_reported_before_a_full_quota() -> None:
    with pytest.raises(KeyTaken):
        decide({"a": "1", "quiet": "x"}, quota=Quota(0, 0))


KEYS = st.sampled_from("abcd")
VALUES = st.sampled_from(["", "1", "2"])


@given(
    existing=st.dictionaries(KEYS, st.tuples(VALUES, st.booleans())),
    owned=st.dictionaries(KEYS, VALUES),
    offered=st.dictionaries(KEYS, VALUES, min_size=1),
    shared=st.booleans(),
    others=st.integers(0, 5),
    quota=st.builds(Quota, st.integers(0, 6), st.integers(0, 8)),
)
def test_a_decision_is_all_or_nothing_and_can_be_repeated(
    existing: dict[str, tuple[str, bool]],
    owned: dict[str, str],
    offered: dict[str, str],
    shared: bool,
    others: int,
    quota: Quota,
) -> None:
    held = {key: Entry(key, *entry) for key, entry in existing.items()}
    project_keys = len(held) + others

    def offer() -> tuple[Entry, ...]:
        return decide(offered, shared=shared, existing=held, owned=owned, project_keys=project_keys, quota=quota)

    try:
        new = offer()
    except (KeyTaken, QuotaReached):
        return
    # Nothing that was there is touched, the bounds hold, and everything offered is there now, just so.
    assert not {entry.key for entry in new} & held.keys()
    if new:
        assert len(held) + len(new) <= quota.keys_per_instance
        assert project_keys + len(new) <= quota.keys_per_project
    held |= {entry.key: entry for entry in new}
    project_keys += len(new)
    for key, value in offered.items():
        assert held.get(key, Entry(key, owned.get(key, ""), shared=False)) == Entry(key, value, shared)
    assert offer() == ()


# Polling

CHANCE = st.floats(0, 1)
PEERS = st.integers(0, 1_000_000)
QUIET = st.floats(0, 1e9)


@given(PEERS, QUIET, CHANCE)
def test_the_pace_stays_within_one_and_forty_seconds(peers: int, quiet_s: float, chance: float) -> None:
    assert 1 <= poll_after_s(peers=peers, quiet_s=quiet_s, chance=chance) <= 40


@given(PEERS, QUIET, CHANCE, st.integers(0, 1000), st.floats(0, 1000))
def test_the_pace_only_slows_with_more_peers_and_longer_quiet(
    peers: int, quiet_s: float, chance: float, more: int, longer_s: float
) -> None:
    pace = poll_after_s(peers=peers, quiet_s=quiet_s, chance=chance)
    assert poll_after_s(peers=peers + more, quiet_s=quiet_s + longer_s, chance=chance) >= pace


@given(PEERS, QUIET)
def test_chance_spreads_callers_by_a_quarter_to_both_sides(peers: int, quiet_s: float) -> None:
    soonest = poll_after_s(peers=peers, quiet_s=quiet_s, chance=0)
    latest = poll_after_s(peers=peers, quiet_s=quiet_s, chance=1)
    assert latest / soonest == pytest.approx(5 / 3, rel=0.01)


def test_a_project_that_is_just_forming_is_asked_every_two_seconds() -> None:
    assert poll_after_s(peers=3, quiet_s=0, chance=0.5) == POLL_LEAST_S == 2


def test_a_thousand_instances_ask_their_agents_at_most_a_thousand_times_a_second() -> None:
    for peers in (10, 1000, 30_000):
        assert peers / poll_after_s(peers=peers, quiet_s=0, chance=0.5) <= 1000
