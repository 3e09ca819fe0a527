# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A PostgreSQL server of our own: fsync on, on a free port of 127.0.0.1."""

import signal
import time

from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from . import Programs
from .ports import free_port
from .run import Process, Run, until
from .user import as_user, make_directory

# A test waits no longer than this for a server that can start within a second.
_START_S = 30.0

# Small, as the tests' data are. Everything about durability stays at its default.
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_line_prefix": "%m [%p] ",
}


class Postgresql:
    """
    One server, below the run's directory.

    Args:
        run: Whose directory, logs and mark it uses.
        name: Of its directory and its log.
        durable: Turn off to let the server skip fsync, where a test is about something else.
    """

    def __init__(self, run: Run, name: str = "postgresql", *, durable: bool = True) -> None:
        self.name = name
        self.directory = run.directory / name
        self.port = free_port()
        self._run = run
        self._programs = Programs.default()
        self._durable = durable
        self._process: Process | None = None
        self._databases = 0

    @property
    def running(self) -> bool:
        """Whether the server's first process lives."""
        return self._process is not None and self._process.running

    def create(self) -> None:
        """Make the data directory, which the server's user owns."""
        make_directory(self.directory)
        # --no-sync: a crash of the machine in this second would end the test as well.
        command = [*self._as_user(), str(self._programs.postgresql / "initdb"), f"--pgdata={self.directory / 'data'}"]
        command += ["--username=peerdata", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run.finish(self.name, command, self._programs.environment())

    def start(self) -> None:
        """Start the server, after a crash with its recovery, and wait until it answers."""
        options = _OPTIONS | {"port": str(self.port), "fsync": "on" if self._durable else "off"}
        command = [*self._as_user(), str(self._programs.postgresql / "postgres"), "-D", str(self.directory / "data")]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._process = process = self._run.start(self.name, command, self._programs.environment())

        def answers() -> bool:
            process.check()
            return self.answers()

        until(f"{self.name} answers", answers, within_s=_START_S, every_s=0.02)

    def stop(self) -> None:
        """End the server in its own orderly way, without waiting for its clients (a "fast" shutdown)."""
        if self._process:
            self._process.stop(signal.SIGINT)

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

    def url(self, database: str = "postgres", *, driver: str = "psycopg") -> str:
        """The SQLAlchemy URL of *database*."""
        made = URL.create(f"postgresql+{driver}", "peerdata", host="127.0.0.1", port=self.port, database=database)
        return made.render_as_string(hide_password=False)

    def new_database(self, *, driver: str = "psycopg") -> str:
        """The SQLAlchemy URL of a database that was made just now and is empty."""
        self._databases += 1
        name = f"test_{self._databases}_{time.monotonic_ns()}"
        engine = create_engine(self.url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return self.url(name, driver=driver)

    def answers(self) -> bool:
        """Whether a query is answered now."""
        try:
            with create_engine(self.url(), poolclass=NullPool).connect() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError:
            return False
        return True

    def _as_user(self) -> list[str]:
        return as_user(self._programs.postgresql, self.directory)
