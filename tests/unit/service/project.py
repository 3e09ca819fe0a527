"""
`Project` stands for the store: it remembers in the plainest way what happened in a project, and answers `changes`.

tests/unit/service/test_board.py asks it in the store's place; tests/store/test_history.py holds the store to it.
"""

from hypothesis import strategies as st

from peerdata.model import Changes, Peer

UUIDS = ("u1", "u2", "u3", "u4")
KEYS = ("etcd_a", "etcd_b", "etc", "x")


class Project:
    """A project as the store keeps it, with room for only a few removals."""

    def __init__(self, removals_kept: int) -> None:
        self.revision = 0
        self.forgotten = 0
        self._removals_kept = removals_kept
        self._removed: list[tuple[str, int]] = []
        self._private: set[str] = set()
        self._shared: dict[str, dict[str, str]] = {}
        self._joined: dict[str, int] = {}
        self._changed: dict[str, int] = {}

    def share(self, uuid: str, key: str) -> None:
        meta = self._shared.setdefault(uuid, {})
        if key in meta:
            return
        self.revision += 1
        meta[key] = f"{uuid} {key} {self.revision}"
        self._joined.setdefault(uuid, self.revision)
        self._changed[uuid] = self.revision

    def keep_private(self, uuid: str) -> None:
        self.revision += 1
        self._private.add(uuid)

    def remove(self, uuid: str) -> None:
        if uuid not in self._shared and uuid not in self._private:
            return
        self.revision += 1
        self._private.discard(uuid)
        if uuid not in self._shared:
            return
        del self._shared[uuid], self._joined[uuid], self._changed[uuid]
        self._removed.append((uuid, self.revision))
        if len(self._removed) > self._removals_kept:
            self.forgotten = self._removed[-self._removals_kept - 1][1]
            self._removed = self._removed[-self._removals_kept :]

    def changes(self, since: int | None) -> Changes:
        full = since is None or since > self.revision or since < self.forgotten
        after = 0 if full or since is None else since
        peers = [
            Peer(uuid, self._joined[uuid], self._changed[uuid], dict(sorted(meta.items())))
            for uuid, meta in self._shared.items()
            if self._changed[uuid] > after
        ]
        return Changes(
            self.revision,
            full=full,
            peers=tuple(sorted(peers, key=lambda peer: peer.joined)),
            removed=tuple(left for left in self._removed if left[1] > after),
            forgotten=self.forgotten,
        )


Step = tuple[str, str, str]
STEP = st.one_of(
    st.tuples(st.just("share"), st.sampled_from(UUIDS), st.sampled_from(KEYS)),
    st.tuples(st.just("remove"), st.sampled_from(UUIDS), st.just("")),
    st.tuples(st.just("private"), st.sampled_from(UUIDS), st.just("")),
    st.tuples(st.just("look"), st.just(""), st.just("")),
)
STEPS = st.lists(STEP, max_size=60)


def carry_out(project: Project, step: Step) -> None:
    what, uuid, key = step
    if what == "share":
        project.share(uuid, key)
    elif what == "remove":
        project.remove(uuid)
    elif what == "private":
        project.keep_private(uuid)
