"""A prefix is cut out of what is rendered already: byte for byte what rendering the chosen keys would give."""

import json
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from peerdata.model import PREFIX, Changes, Peer
from peerdata.service.board import Board, render

KEYS = st.text(st.sampled_from("abAZ09-_:. "), min_size=1, max_size=5)
VALUES = st.text(st.sampled_from('",\\:{}[]\n\tü🙂 a') | st.characters(exclude_categories=["Cs"]), max_size=12) | (
    st.sampled_from(['","from_server_a":"', ',"from_server_a":"', ',"meta":{', '"meta":{"from_server_b":"x"}}', ","])
)
METAS = st.lists(st.dictionaries(KEYS, VALUES, min_size=1, max_size=6), min_size=1, max_size=6)


def board_of(metas: list[dict[str, str]], *, alphabetical: bool = True) -> Board:
    peers = tuple(
        Peer(f"u{number}", number, number, dict(sorted(meta.items()) if alphabetical else meta))
        for number, meta in enumerate(metas, start=1)
    )
    board = Board(0)
    board.apply(Changes(len(metas), full=True, peers=peers, removed=(), forgotten=0), 0)
    return board


def naive(number: int, meta: Mapping[str, str], prefix: str) -> bytes | None:
    chosen = {PREFIX + key: value for key, value in sorted(meta.items()) if key.startswith(prefix)}
    return render({"uuid": f"u{number}", "revision": number, "joined": number, "meta": chosen}) if chosen else None


@given(METAS, KEYS | st.just(""), st.booleans())
def test_a_prefix_gives_what_rendering_the_chosen_keys_would(
    metas: list[dict[str, str]], prefix: str, alphabetical: bool
) -> None:
    board = board_of(metas, alphabetical=alphabetical)
    expected = [one for number, meta in enumerate(metas, start=1) if (one := naive(number, meta, prefix))]
    assert board.news(None, prefix).peers == expected
    assert board.news(0, prefix).peers == expected


@given(METAS, st.integers(0, 5), st.integers(0, 5))
def test_a_prefix_that_is_a_whole_key_finds_it(metas: list[dict[str, str]], which: int, key: int) -> None:
    meta = metas[which % len(metas)]
    prefix = sorted(meta)[key % len(meta)]
    found = board_of(metas).news(None, prefix).peers
    assert any(f"{PREFIX}{prefix}" in json.loads(peer)["meta"] for peer in found)


@given(METAS)
def test_all_peers_in_one_text_are_the_peers_one_by_one(metas: list[dict[str, str]]) -> None:
    board = board_of(metas)
    assert board.peers_json == b",".join(board.news(None, "").peers)
    assert board.peers_json is board.peers_json
