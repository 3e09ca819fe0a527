# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What the database servers of our own have in common: they start and stop, are killed, stand still, and answer again.

`postgresql.py` and `mariadb.py` say how each is made and which command line it has.
"""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from .ports import free_port
from .run import Process, Run, until
from .user import as_user


class Server(ABC):
    """
    One server on a free port, below the run's directory.

    Args:
        run: Whose directory, logs and mark it uses.
        name: Of its directory and its log.
        address: Where clients find it.
    """

    # Parts of the URL. Where the first database is None, a URL may be without one.
    dialect: ClassVar[str]
    driver: ClassVar[str]
    user: ClassVar[str]
    first_database: ClassVar[str | None]

    start_s: ClassVar[float]
    """How long a test waits at most for a server that starts."""
    stop_signal: ClassVar[signal.Signals]
    """What lets it end in its own orderly way, without waiting for its clients."""
    nothing: ClassVar[str]
    """A statement that does nothing, and is answered by a server that works."""
    patience: ClassVar[Mapping[str, Any]] = {}
    """What its driver is told for `ask`."""

    def __init__(self, run: Run, name: str, *, address: str = "127.0.0.1") -> None:
        self.name = name
        self.address = address
        self.port = free_port()
        self.directory = run.directory / name
        self.run = run
        self.programs = run.programs()
        self._process: Process | None = None
        self._databases = 0

    @abstractmethod
    def create(self) -> None:
        """Make the data directory, which the server's user owns."""

    @abstractmethod
    def command(self, *more: str) -> list[str]:
        """The command line of the server, with *more* options at its end."""

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self.directory / "data"

    @property
    def running(self) -> bool:
        """Whether the server's first process lives."""
        return self._process is not None and self._process.running

    def start(self, *more: str) -> None:
        """Start the server, after a crash with its recovery, and wait until it answers."""
        self._process = process = self.run.start(self.name, self.command(*more), self.programs.environment())

        def answers() -> bool:
            process.check()
            return self.answers()

        until(f"{self.name} answers", answers, within_s=self.start_s, every_s=0.02)

    def stop(self) -> None:
        """End the server in its own orderly way, without waiting for its clients."""
        if self._process:
            self._process.stop(self.stop_signal)

    def kill(self) -> None:
        """End all its processes at once."""
        if self._process:
            self._process.kill()

    def pause(self) -> None:
        """Let all its processes stand still: connections stay, and nothing is answered."""
        if self._process:
            self._process.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        if self._process:
            self._process.resume()

    def mend(self) -> None:
        """Make it answer again, whatever a test did to it."""
        self.resume()
        if not self.running:
            self.start()

    def url(self, database: str = "", *, driver: str = "") -> str:
        """The SQLAlchemy URL of *database*, else of the first one, with *driver*, else with the one of the class."""
        made = URL.create(
            f"{self.dialect}+{driver or self.driver}",
            self.user,
            host=self.address,
            port=self.port,
            database=database or self.first_database,
        )
        return made.render_as_string(hide_password=False)

    def new_database(self, *, driver: str = "") -> str:
        """The SQLAlchemy URL of a database that was made just now and is empty."""
        self._databases += 1
        name = f"test_{self._databases}_{time.monotonic_ns()}"
        self.ask(f"CREATE DATABASE {name}")
        return self.url(name, driver=driver)

    def ask(self, statement: str) -> list[tuple[str, ...]]:
        """The rows that *statement* answers, through a connection of its own; none where it answers no rows."""
        engine = create_engine(
            self.url(),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,  # a node without a majority would refuse it
            pool_reset_on_return=None,
            connect_args=dict(self.patience),
        )
        with engine.connect() as connection:
            answer = connection.execute(text(statement))
            return [tuple(row) for row in answer] if answer.returns_rows else []

    def answers(self) -> bool:
        """Whether a query is answered now."""
        try:
            self.ask(self.nothing)
        except DBAPIError:
            return False
        return True

    def _as_user(self) -> list[str]:
        """The beginning of a command line that runs as the servers' user."""
        return as_user(self.programs.root / "usr", self.directory)
