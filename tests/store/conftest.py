"""A store that is ready, on a file of the test's own, and engines on it that end with the test."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from peerdata.store import migrate
from peerdata.store.engine import Engine

settings.register_profile("peerdata", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("peerdata")

MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without entries, to be copied."""
    path = tmp_path_factory.mktemp("store") / "empty.sqlite"
    migrate.prepare(f"sqlite:///{path}", busy_timeout_s=1)
    return path


@pytest.fixture
def empty_url(tmp_path: Path) -> str:
    """Where a store may be made."""
    return f"sqlite:///{tmp_path}/peerdata.sqlite"


@pytest.fixture
def store_file(tmp_path: Path, empty_store: Path) -> Path:
    """A store without entries, for this test."""
    path = tmp_path / "peerdata.sqlite"
    shutil.copy(empty_store, path)
    return path


@pytest.fixture
def make_engine(store_file: Path) -> Iterator[MakeEngine]:
    """Engines on the one store, each as another process would have it."""
    made: list[Engine] = []

    def make(*, busy_timeout_s: float = 5, max_waiting_writes: int = 1000) -> Engine:
        engine = Engine(f"sqlite:///{store_file}", busy_timeout_s=busy_timeout_s, max_waiting_writes=max_waiting_writes)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    """One engine on the store."""
    return make_engine()
