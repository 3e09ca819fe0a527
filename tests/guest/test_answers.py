"""Answers become values, and everything else is rejected."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerdata.guest.answers import apply, read_me, read_verdict
from peerdata.guest.errors import NotReached
from peerdata.guest.model import Peer, PeerList


def answer(**members: Any) -> dict[str, Any]:
    return {"revision": 1, "full": False, "self": "0e", "poll_after_s": 2, "peers": [], "removed": [], **members}


def peer(uuid: str, joined: int, **meta: str) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "revision": joined,
        "joined": joined,
        "meta": {f"from_server_{k}": v for k, v in meta.items()},
    }


def test_an_answer_updates_changed_peers_and_drops_removed_ones() -> None:
    first = apply(None, answer(full=True, peers=[peer("a", 1, k="1"), peer("b", 2, k="2")]))
    second = apply(first, answer(revision=5, peers=[peer("a", 1, k="9"), peer("c", 4)], removed=["b"]))
    assert second.peers == (Peer("a", {"k": "9"}, 1), Peer("c", {}, 4))


def test_a_peer_that_left_and_returned_has_its_new_position() -> None:
    first = apply(None, answer(full=True, peers=[peer("a", 1), peer("b", 2)]))
    assert [one.uuid for one in apply(first, answer(peers=[peer("a", 3)])).peers] == ["b", "a"]


def test_a_full_answer_replaces_everything() -> None:
    first = apply(None, answer(full=True, peers=[peer("a", 1)]))
    assert [one.uuid for one in apply(first, answer(full=True, peers=[peer("b", 2)])).peers] == ["b"]


def test_the_others_are_all_peers_but_this_instance() -> None:
    peers = PeerList(1, "a", (Peer("a", {}, 1), Peer("b", {}, 2)), 1.0)
    assert [one.uuid for one in peers.others] == ["b"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_malformed_answer_is_an_error_and_never_an_empty_list(document: Any) -> None:
    for read in (lambda it: apply(None, it), lambda it: read_verdict(it, "db"), read_me):
        with pytest.raises(NotReached):
            read(document)


@pytest.mark.parametrize("member", ["revision", "full", "self", "peers", "removed"])
def test_an_answer_without_a_required_member_is_rejected(member: str) -> None:
    document = answer(full=True)
    del document[member]
    if member == "full":
        with pytest.raises(NotReached):
            apply(apply(None, answer(full=True)), document)
    else:
        with pytest.raises(NotReached):
            apply(None, document)


def test_an_odd_poll_interval_is_replaced_or_capped() -> None:
    assert apply(None, answer(full=True, poll_after_s=1e9)).poll_after_s == 60
    assert apply(None, answer(full=True, poll_after_s=10**400)).poll_after_s == 60
    odds: list[Any] = [-1, float("nan"), None, "1", [], True]
    for odd in odds:
        assert apply(None, answer(full=True, poll_after_s=odd)).poll_after_s == 5


def verdict(**members: Any) -> dict[str, Any]:
    member = {"uuid": "0e", "ordinal": 0, "founder": True, "meta": {"from_server_db_addr": "10.0.0.1"}}
    return {
        "cluster": "db", "verdict": "bootstrap", "size": 3, "founders": "one", "closed": False, "term": 1, "ordinal": 0,
        "formed": False, "members": [member], "why": "why", "self": "0e", "revision": 1, "poll_after_s": 1, **members
    }  # fmt: skip


def test_a_verdict_is_read() -> None:
    read = read_verdict(verdict(), "db")
    assert (read.verdict, read.members) == ("bootstrap", (Peer("0e", {"db_addr": "10.0.0.1"}, 0, True),))


INFINITE, SURROGATE = float("inf"), "\ud800"


@pytest.mark.parametrize(
    "wrong",
    [
        {"revision": INFINITE}, {"revision": -1}, {"revision": 2**63}, {"revision": "1"}, {"revision": True},
        {"self": json.loads("[" * 900 + "]" * 900)},
        {"peers": {}}, {"peers": ""}, {"removed": {}}, {"removed": [[]]}, {"self": ""}, {"self": SURROGATE},
        {"peers": [{**peer("a", 1), "joined": INFINITE}]}, {"peers": [{**peer("a", 1), "uuid": "a" * 37}]},
        {"peers": [{**peer("a", 1), "uuid": '";id;"'}]}, {"peers": [peer("a", 1, k=SURROGATE)]},
        {"peers": [{**peer("a", 1), "meta": {SURROGATE: "1"}}]},
    ],
)  # fmt: skip
def test_a_list_with_an_impossible_value_is_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(NotReached):
        apply(None, answer(**{"full": True, **wrong}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"cluster": "other"}, {"cluster": "$(id)"}, {"founders": "some\nEVIL=1"}, {"term": INFINITE}, {"term": -1},
        {"size": INFINITE}, {"ordinal": "0"}, {"members": {}}, {"members": ""}, {"members": []}, {"self": "0f"},
        {"self": '";id;"'}, {"why": SURROGATE},
    ],
    ids=repr,
)  # fmt: skip
def test_an_impossible_verdict_is_rejected(wrong: dict[str, Any]) -> None:
    """The sender of the answer could otherwise inject into the start script of etcd."""
    with pytest.raises(NotReached) as caught:
        read_verdict(verdict(**wrong), "db")
    assert len(caught.value.message) < 300


def test_an_instance_that_is_not_a_member_may_get_any_verdict_but_bootstrap() -> None:
    for word in ("wait", "full", "join"):
        assert read_verdict(verdict(verdict=word, members=[], ordinal=None), "db").verdict == word


@pytest.mark.parametrize("uuid", ["", "u1", "0e\n", SURROGATE, "0" * 37, None])
def test_an_invalid_uuid_is_rejected(uuid: Any) -> None:
    with pytest.raises(NotReached):
        read_me({"uuid": uuid})
