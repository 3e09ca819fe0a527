"""The board: whatever way a reader came to a revision, it knows what a full read at that revision says."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from peerdata.model import Changes, Peer
from peerdata.service.board import Board, News, render

from .project import STEPS, Project, Step, carry_out


def read_in_full(project: Project) -> Board:
    board = Board(0)
    board.apply(project.changes(None), 0)
    return board


class Reader:
    """A program that follows `since` with a prefix, as docs/protocol.md tells it to."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.since: int | None = None
        self.peers: dict[str, Any] = {}

    def ask(self, board: Board) -> News:
        news = board.news(self.since, self._prefix)
        if news.full:
            self.peers = {}
        for uuid in news.removed:
            self.peers.pop(uuid, None)
        for rendered in news.peers:
            peer = json.loads(rendered)
            self.peers[peer["uuid"]] = peer
        self.since = news.revision
        return news

    def in_order(self) -> list[Any]:
        return sorted(self.peers.values(), key=lambda peer: int(peer["joined"]))


@given(STEPS, st.integers(1, 4))
def test_applying_changes_in_any_grouping_equals_a_full_read(steps: Sequence[Step], removals_kept: int) -> None:
    project = Project(removals_kept)
    board = Board(0)
    for step in (*steps, ("look", "", "")):
        carry_out(project, step)
        if step[0] != "look":
            continue
        board.apply(project.changes(board.revision), 0)
        whole = read_in_full(project)
        assert board.shared_json == whole.shared_json
        assert (board.revision, board.removed, board.forgotten) == (whole.revision, whole.removed, whole.forgotten)
        assert len(board) == len(whole)
        assert board.size == whole.size
        for since in (None, *range(project.revision + 2)):
            for prefix in ("", "etcd_"):
                assert board.news(since, prefix) == whole.news(since, prefix)


@given(STEPS, st.integers(1, 4), st.sampled_from(["", "etcd_", "etcd_a", "x", "nothing"]))
def test_a_reader_that_follows_knows_what_a_full_read_says(
    steps: Sequence[Step], removals_kept: int, prefix: str
) -> None:
    """G6: with removals, returns, and removals that the store has forgotten."""
    project = Project(removals_kept)
    reader = Reader(prefix)
    for step in (*steps, ("look", "", "")):
        carry_out(project, step)
        if step[0] == "look":
            board = read_in_full(project)
            reader.ask(board)
            assert reader.in_order() == [json.loads(peer) for peer in board.news(None, prefix).peers]
            assert reader.since == project.revision


@given(STEPS, st.integers(1, 4), st.integers(0, 70), st.sampled_from(["", "etcd_"]))
def test_news_never_lists_a_peer_as_removed_and_present(
    steps: Sequence[Step], removals_kept: int, since: int, prefix: str
) -> None:
    project = Project(removals_kept)
    for step in steps:
        carry_out(project, step)
    news = read_in_full(project).news(since, prefix)
    present = [json.loads(peer)["uuid"] for peer in news.peers]
    assert len({*present, *news.removed}) == len(present) + len(news.removed)
    assert [json.loads(peer)["joined"] for peer in news.peers] == sorted(
        json.loads(peer)["joined"] for peer in news.peers
    )


def published() -> Project:
    """u1 shares at 1, u2 at 2, u1 again at 3, u3 keeps something to itself at 4."""
    project = Project(removals_kept=2)
    project.share("u1", "etcd_b")
    project.share("u2", "x")
    project.share("u1", "etcd_a")
    project.keep_private("u3")
    return project


def test_shared_json_lists_peers_as_they_joined_and_keys_in_alphabetical_order() -> None:
    assert read_in_full(published()).shared_json == (
        b'[{"meta":{"from_server_etcd_a":"u1 etcd_a 3","from_server_etcd_b":"u1 etcd_b 1"},"uuid":"u1"},'
        b'{"meta":{"from_server_x":"u2 x 2"},"uuid":"u2"}]\n'
    )


def test_a_blank_board_shows_an_empty_list_at_revision_0() -> None:
    board = Board(7)
    assert board.shared_json == b"[]\n"
    assert board.news(None, "") == News(0, full=True, peers=[], removed=[])
    assert board.news(0, "") == News(0, full=False, peers=[], removed=[])
    assert board.changed_at == 7


def test_a_peer_tells_its_last_change_and_when_it_joined() -> None:
    assert [json.loads(peer) for peer in read_in_full(published()).news(None, "etcd_").peers] == [
        {
            "uuid": "u1",
            "revision": 3,
            "joined": 1,
            "meta": {"from_server_etcd_a": "u1 etcd_a 3", "from_server_etcd_b": "u1 etcd_b 1"},
        }
    ]


def test_only_what_changed_after_since_is_told() -> None:
    board = read_in_full(published())
    uuids = {since: [json.loads(peer)["uuid"] for peer in board.news(since, "").peers] for since in range(5)}
    assert uuids == {0: ["u1", "u2"], 1: ["u1", "u2"], 2: ["u1"], 3: [], 4: []}
    assert all(not board.news(since, "").full for since in range(5))


def test_a_revision_from_the_future_is_answered_in_full() -> None:
    news = read_in_full(published()).news(99, "")
    assert news.full
    assert len(news.peers) == 2
    assert news.revision == 4


def test_a_peer_that_left_and_came_back_joins_last() -> None:
    project = published()
    board = read_in_full(project)
    project.remove("u1")
    project.share("u1", "x")
    board.apply(project.changes(board.revision), 0)
    assert [peer["uuid"] for peer in json.loads(board.shared_json)] == ["u2", "u1"]
    news = board.news(4, "")
    assert [json.loads(peer)["uuid"] for peer in news.peers] == ["u1"]
    assert news.removed == []


def test_a_peer_that_came_back_without_keys_of_the_prefix_is_removed_for_who_follows_that_prefix() -> None:
    project = published()
    project.remove("u1")
    project.share("u1", "x")
    news = read_in_full(project).news(4, "etcd_")
    assert news.removed == ["u1"]
    assert news.peers == []


def test_who_is_behind_the_removals_that_are_still_known_reads_in_full() -> None:
    project = published()
    project.share("u3", "x")  # at 5
    for uuid in ("u1", "u2", "u3"):  # at 6, 7 and 8; two are kept
        project.remove(uuid)
    board = read_in_full(project)
    assert board.forgotten == 6
    assert board.news(5, "").full
    assert board.news(6, "") == News(8, full=False, peers=[], removed=["u2", "u3"])


def test_a_board_that_moves_on_notes_when() -> None:
    project = published()
    board = read_in_full(project)
    project.keep_private("u1")
    board.apply(project.changes(board.revision), 9)
    assert (board.revision, board.changed_at) == (5, 9)


def test_what_was_read_from_a_board_stays_as_it_was_when_the_board_moves_on() -> None:
    """An answer may still be on its way to a slow reader."""
    project = published()
    board = read_in_full(project)
    shared_json, news = board.shared_json, board.news(None, "")
    before = (bytes(shared_json), list(news.peers), list(news.removed))
    project.remove("u1")
    board.apply(project.changes(board.revision), 9)
    assert (shared_json, news.peers, news.removed) == before
    assert board.shared_json != shared_json


def test_a_peer_that_comes_and_goes_for_ever_leaves_nothing_behind() -> None:
    project = Project(removals_kept=2)
    board = Board(0)
    for number in range(1000):
        project.share("u1", f"k{number % 10}")
        project.remove("u1")
        board.apply(project.changes(board.revision), 0)
    assert board.size == Board(0).size
    assert board.news(project.revision - 1, "").removed == ["u1"]


def test_values_come_through_as_utf8_and_what_json_must_escape_is_escaped() -> None:
    peer = Peer("u", 1, 1, {"k": 'ü🙂"\\\n\u2028\x7f'})
    board = Board(0)
    board.apply(Changes(1, full=True, peers=(peer,), removed=(), forgotten=0), 0)
    assert "ü🙂".encode() in board.shared_json
    assert json.loads(board.shared_json)[0]["meta"] == {"from_server_k": peer.meta["k"]}


@given(st.text())
def test_whatever_text_is_rendered_reads_back_as_it_was(text: str) -> None:
    assert json.loads(render({"k": text}).decode("utf-8")) == {"k": text}
