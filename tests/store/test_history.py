"""Any history: the store tells what the plainest model of a project tells, and a board follows it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy import Engine as Database

from peerdata.model import Entry, Instance
from peerdata.service.board import Board
from peerdata.store import entries, migrate
from peerdata.store.database import connect

from ..unit.service.project import STEPS, Project, Step, carry_out

_numbers = count()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One store for all examples; each has a project of its own in it."""
    path: Path = tmp_path_factory.mktemp("history") / "peerdata.sqlite"
    migrate.prepare(f"sqlite:///{path}", busy_timeout_s=1)
    database = connect(f"sqlite:///{path}", busy_timeout_s=1, writes=True)
    yield database
    database.dispose()


def carry_out_in(connection: Connection, project_id: str, step: Step, model: Project) -> None:
    """The same step as `carry_out`, on the store; *model* has taken it already."""
    what, uuid, key = step
    instance = Instance(uuid, project_id)
    if what == "remove":
        entries.remove(connection, instance)
    if what not in ("share", "private"):
        return
    shared = what == "share"
    key = key if shared else f"private {model.revision}"

    def decide(existing: object, _project: object) -> tuple[Entry, ...]:
        assert isinstance(existing, dict)
        return () if key in existing else (Entry(key, f"{uuid} {key} {model.revision}", shared),)

    entries.publish_offer(connection, entries.Offer(instance, decide, now=0))


@given(steps=STEPS, removals_kept=st.integers(1, 4))
def test_the_store_tells_what_happened_since_any_revision(
    database: Database, steps: list[Step], removals_kept: int
) -> None:
    project_id = f"p{next(_numbers)}"
    model = Project(removals_kept)
    followed, whole = Board(0), Board(0)
    with pytest.MonkeyPatch.context() as patch, database.connect() as connection, connection.begin() as transaction:
        patch.setattr(entries, "REMOVALS_KEPT", removals_kept)
        for step in (*steps, ("look", "", "")):
            before = model.revision
            carry_out(model, step)
            carry_out_in(connection, project_id, step, model)
            assert model.revision - before in (0, 1)
            if step[0] == "look":
                followed.apply(entries.read_changes(connection, project_id, followed.revision), 0)
        if model.revision:
            for since in (None, *range(model.revision + 2)):
                assert entries.read_changes(connection, project_id, since) == model.changes(since)
        whole.apply(model.changes(None), 0)
        assert followed.shared_json == whole.shared_json
        assert followed.revision == model.revision
        transaction.rollback()
