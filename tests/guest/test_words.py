"""What an answer says, checked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerdata.guest.errors import NotReached
from peerdata.guest.words import Peer, PeerList, apply, read_me, read_verdict


def told(**members: Any) -> dict[str, Any]:
    return {"revision": 1, "full": False, "self": "me", "poll_after_s": 2, "peers": [], "removed": [], **members}


def peer(uuid: str, joined: int, **meta: str) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "revision": joined,
        "joined": joined,
        "meta": {f"from_server_{k}": v for k, v in meta.items()},
    }


def test_what_changed_replaces_what_was_known_and_what_left_is_dropped() -> None:
    first = apply(None, told(full=True, peers=[peer("a", 1, k="1"), peer("b", 2, k="2")]))
    second = apply(first, told(revision=5, peers=[peer("a", 1, k="9"), peer("c", 4)], removed=["b"]))
    assert second.peers == (Peer("a", {"k": "9"}, 1), Peer("c", {}, 4))


def test_who_left_and_came_back_stands_at_its_new_place() -> None:
    first = apply(None, told(full=True, peers=[peer("a", 1), peer("b", 2)]))
    assert [one.uuid for one in apply(first, told(peers=[peer("a", 3)])).peers] == ["b", "a"]


def test_a_full_answer_replaces_everything() -> None:
    first = apply(None, told(full=True, peers=[peer("a", 1)]))
    assert [one.uuid for one in apply(first, told(full=True, peers=[peer("b", 2)])).peers] == ["b"]


def test_the_others_are_all_but_oneself() -> None:
    peers = PeerList(1, "a", (Peer("a", {}, 1), Peer("b", {}, 2)), 1.0)
    assert [one.uuid for one in peers.others] == ["b"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_no_answer_is_an_error_of_the_service_and_never_an_empty_list(document: Any) -> None:
    for read in (lambda it: apply(None, it), read_verdict, read_me):
        with pytest.raises(NotReached):
            read(document)


@pytest.mark.parametrize("member", ["revision", "full", "self", "peers", "removed"])
def test_an_answer_that_lacks_a_member_is_none(member: str) -> None:
    document = told(full=True)
    del document[member]
    if member == "full":
        with pytest.raises(NotReached):
            apply(apply(None, told(full=True)), document)
    else:
        with pytest.raises(NotReached):
            apply(None, document)


def test_a_poll_that_is_told_oddly_is_kept_within_a_minute() -> None:
    assert apply(None, told(full=True, poll_after_s=1e9)).poll_after_s == 60
    assert apply(None, told(full=True, poll_after_s=-1)).poll_after_s == 0
