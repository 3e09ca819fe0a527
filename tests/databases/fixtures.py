# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The servers as fixtures, for any conftest that imports them: `postgresql`, `mariadb` and `galera`.

Each server starts when the first test asks for it, and is the same for the whole
session, in however many conftests its fixture stands. A test that breaks one
leaves it so; who needs it whole calls its `mend()`. Skipped, with the reason,
where the machine cannot or the programs were not unpacked; with
PEERDATA_DATABASES=required in the environment that is a failure.

A conftest that imports `pytest_runtest_makereport` too has failures say where the logs are.
"""

import os
from collections.abc import Generator
from functools import cached_property

import pytest

from . import Programs
from .galera import Galera
from .mariadb import Mariadb
from .postgresql import Postgresql
from .run import Run

__all__ = ["database_run", "galera", "mariadb", "postgresql", "pytest_runtest_makereport"]


class _Servers:
    """What was started in this session."""

    def __init__(self) -> None:
        if reason := Programs.default().why_not():
            _cannot(reason)
        self.run = Run.begin()

    @cached_property
    def postgresql(self) -> Postgresql:
        server = Postgresql(self.run)
        server.create()
        server.start()
        return server

    @cached_property
    def mariadb(self) -> Mariadb:
        server = Mariadb(self.run)
        server.create()
        server.start()
        return server

    @cached_property
    def galera(self) -> Galera:
        cluster = Galera(self.run)
        cluster.open()
        return cluster


_SERVERS = pytest.StashKey[_Servers]()


@pytest.fixture(scope="session")
def database_run(request: pytest.FixtureRequest) -> Run:
    """The run of all servers of this session, for a test that starts one of its own."""
    return _servers(request).run


@pytest.fixture(scope="session")
def postgresql(request: pytest.FixtureRequest) -> Postgresql:
    """PostgreSQL, answering."""
    return _servers(request).postgresql


@pytest.fixture(scope="session")
def mariadb(request: pytest.FixtureRequest) -> Mariadb:
    """MariaDB by itself, answering."""
    return _servers(request).mariadb


@pytest.fixture(scope="session")
def galera(request: pytest.FixtureRequest) -> Galera:
    """Three MariaDB nodes, all synced."""
    return _servers(request).galera


def _servers(request: pytest.FixtureRequest) -> _Servers:
    stash = request.config.stash
    if _SERVERS not in stash:
        stash[_SERVERS] = servers = _Servers()
        session = request.session
        request.config.add_cleanup(lambda: servers.run.end(keep_logs=bool(session.testsfailed)))
    return stash[_SERVERS]


def _cannot(reason: str) -> None:
    if os.environ.get("PEERDATA_DATABASES") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say in a failure's report where the logs of the servers are."""
    report = yield
    servers = item.config.stash.get(_SERVERS, None)
    if report.failed and servers:
        section = ("logs of the database servers", str(servers.run.logs))
        if section not in report.sections:  # each conftest that imports this hook adds it once more
            report.sections.append(section)
    return report
