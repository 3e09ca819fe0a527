# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The fixtures of the chain: the cloud for the session, new tenants for each test, and the upstream the agents use.

Skipped, with the reason, where namespaces are not permitted or the peers were
not built (`python -m tests.chain.peers`). With PEERDATA_CHAIN=required in the
environment that is a failure.
"""

import os
from collections.abc import Generator, Iterator

import pytest

from . import namespaces
from .cloud import NEEDED, Cloud, Tenants
from .echo import Echo
from .peers import Peers
from .run import Run
from .service import Service


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """This session's run; its logs stay where a test failed, until the next session."""
    run = Run.begin()
    request.config.stash[_RUN] = run
    try:
        yield run
    finally:
        run.end(keep_logs=bool(request.session.testsfailed))


@pytest.fixture(scope="session")
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """Nova, the agents and the networks, all listening."""
    peers = Peers.default()
    if missing := peers.missing(NEEDED):
        _cannot(f"not built: {', '.join(missing)}; `python -m tests.chain.peers {' '.join(missing)}` builds them")
    os.environ.update(peers.environment())  # where the machine itself has no ip or curl
    if reason := namespaces.why_not():
        _cannot(reason)
    cloud = Cloud(request.getfixturevalue("run"), peers)
    try:
        cloud.open()
        yield cloud
    finally:
        cloud.close()


@pytest.fixture
def tenants(cloud: Cloud) -> Tenants:
    """New instances of new projects on every seat."""
    return cloud.settle()


@pytest.fixture
def residents(cloud: Cloud, request: pytest.FixtureRequest) -> Tenants:
    """Instances on every seat, for tests that change none: those of the test before, where it changed none either."""
    stash = request.config.stash
    if cloud.tenants is None or stash.get(_RESIDENTS, None) is not cloud.tenants:
        stash[_RESIDENTS] = cloud.settle()
    return stash[_RESIDENTS]


@pytest.fixture(scope="session")
def echo_server() -> Iterator[Echo]:
    """The echo, listening."""
    echo = Echo()
    yield echo
    echo.shutdown()


@pytest.fixture
def echo(cloud: Cloud, echo_server: Echo) -> Echo:
    """The agents' upstream is the echo."""
    echo_server.begin()
    cloud.send_to(echo_server.url)
    return echo_server


@pytest.fixture
def nova_alone(cloud: Cloud) -> Cloud:
    """The agents' upstream is nova itself."""
    cloud.send_to(cloud.nova.url)
    return cloud


@pytest.fixture(scope="session")
def started_service(cloud: Cloud) -> Service:
    """Peerdata in front of nova; its process is the run's to end."""
    service = Service(cloud.run, cloud.nova)
    service.start()
    return service


@pytest.fixture
def service(cloud: Cloud, started_service: Service) -> Service:
    """The agents' upstream is peerdata."""
    cloud.send_to(started_service.url)
    return started_service


_RUN = pytest.StashKey[Run]()
_RESIDENTS = pytest.StashKey[Tenants]()


def _cannot(reason: str) -> None:
    if os.environ.get("PEERDATA_CHAIN") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say in a failure's report where the logs of all servers are."""
    report = yield
    if report.failed and (run := item.config.stash.get(_RUN, None)):
        report.sections.append(("logs of the chain", str(run.logs)))
    return report
