# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A database that accepts everything and answers nothing is a 503, and soon: neutron's agents give up after 32 s."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.databases.mariadb import Mariadb
from tests.databases.postgresql import Postgresql
from tests.databases.run import Run
from tests.live.service import BLUE, Service

BUSY_S = 1.0
"""[database] busy_timeout, for a short test."""

MOST_S = 4 * BUSY_S
"""With the default of 5 s that is 20 s."""

NOISE_S = 4.0
"""What a busy machine may add. Without a deadline the database would keep a call waiting until it is resumed."""

Kind = Callable[[Run, str], Postgresql | Mariadb]


@contextmanager
def silenced(kind: Kind, run: Run, directory: Path) -> Iterator[Service]:
    """A service that has worked, on a database that stands still now."""
    server = kind(run, f"silent-{directory.name}")
    server.create()
    server.start()
    database = {"connection": server.new_database(), "busy_timeout": BUSY_S}
    service = Service(directory, {"database": database, "nova": {"pass_through_timeout": 1}})
    assert service.run("db", "upgrade").returncode == 0
    try:
        service.start()
        assert service.publish("127.0.0.11", before="1").status == 200
        assert service.shared()  # so that there are connections for both, which the database has answered on
        server.pause()
        yield service
    finally:
        server.resume()
        service.end()
        server.kill()


@pytest.mark.parametrize("kind", [Postgresql, Mariadb])
def test_a_silent_database_is_answered_503_within_four_times_the_busy_timeout(
    kind: Kind, database_run: Run, tmp_path: Path
) -> None:
    with silenced(kind, database_run, tmp_path) as service:

        def read(source: str) -> int:
            try:
                return service.ask(source, "GET", "shared.json", timeout_s=MOST_S + NOISE_S).status
            except TimeoutError:
                return 0

        with ThreadPoolExecutor() as pool:
            assert list(pool.map(read, list(BLUE)[:4])) == [503] * 4


def test_sigterm_ends_the_service_in_time_though_the_database_is_silent(database_run: Run, tmp_path: Path) -> None:
    """Within drain, which is 0 here, pass_through_timeout and busy_timeout together."""
    with silenced(Postgresql, database_run, tmp_path) as service:
        with suppress(TimeoutError):
            service.ask("127.0.0.12", "POST", "metadata?shared=project&meta.a=1", timeout_s=0.5)
        service.signal(signal.SIGTERM)
        assert service.wait(MOST_S + NOISE_S) == 0
