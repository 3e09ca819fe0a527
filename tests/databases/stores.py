# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The store on each kind of server, ready and empty: URLs of it, and engines as peerdata's own processes have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine

from peerdata.store import migrate, schema
from peerdata.store.engine import Engine

from .galera import Galera
from .mariadb import Mariadb
from .postgresql import Postgresql

KINDS = ("postgresql", "mariadb", "galera")

_PREPARED = pytest.StashKey[dict[str, list[str]]]()

MakeEngine = Callable[..., Engine]


@pytest.fixture(params=KINDS)
def store_urls(request: pytest.FixtureRequest) -> list[str]:
    """The URLs of one store, one for each server through which it can be reached; without entries."""
    prepared = request.config.stash.setdefault(_PREPARED, {})
    server = request.getfixturevalue(request.param)
    server.mend()
    if request.param not in prepared:
        database = server.new_database()
        prepared[request.param] = database if isinstance(database, list) else [database]
        migrate.upgrade(prepared[request.param][0], busy_timeout_s=10)
    urls = prepared[request.param]
    database = create_engine(urls[0])
    with database.begin() as connection:
        for table in schema.metadata.sorted_tables:
            connection.execute(table.delete())
    database.dispose()
    return urls


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest) -> str:
    """The URL of a store that is not made yet, through the first of its servers."""
    server: Postgresql | Mariadb | Galera = request.getfixturevalue(request.param)
    server.mend()
    database = server.new_database()
    return database[0] if isinstance(database, list) else database


@pytest.fixture
def make_engine(store_urls: list[str]) -> Iterator[MakeEngine]:
    """Engines on the store, each through the next of its servers, as other processes would have them."""
    made: list[Engine] = []

    def make(*, busy_timeout_s: float = 10) -> Engine:
        url = store_urls[len(made) % len(store_urls)]
        made.append(Engine(url, busy_timeout_s=busy_timeout_s, max_waiting_writes=1000))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    """One of them."""
    return make_engine()
