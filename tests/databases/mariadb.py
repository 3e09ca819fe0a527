# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A MariaDB server of our own: durable at each commit, with small buffers, on a free port.

`Mariadb` is a server by itself. `galera.py` gives it the options that make it a
node of a cluster and a place in a network namespace.
"""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from . import Programs
from .ports import free_port
from .run import Process, Run, until
from .user import as_user, make_directory

# Recovery after a kill takes a second or two; a state transfer some more.
_START_S = 60.0

# Everything about durability and collation stays as Debian has it. Sizes are small: three servers share a laptop.
_OPTIONS = (
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=32M",
    "--innodb-temp-data-file-path=ibtmp1:4M:autoextend",
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=1M",
    "--max-connections=200",
    "--skip-name-resolve",
)

# PyMySQL would else wait for ever for a server that is silent, and read the machine's certificates for each connection
# (24 ms), although these servers do not speak TLS.
PATIENCE: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 40, "write_timeout": 40, "ssl_disabled": True}

# Root may come over TCP and from another namespace, without a password: nobody else is in these networks.
# (The installer begins without accounts; FLUSH PRIVILEGES lets it know of them.)
_ROOT_FROM_ANYWHERE = """
FLUSH PRIVILEGES;
CREATE OR REPLACE USER root@'%' IDENTIFIED BY '';
GRANT ALL PRIVILEGES ON *.* TO root@'%' WITH GRANT OPTION;
"""


class Mariadb:
    """
    One server, below the run's directory.

    Args:
        run: Whose directory, logs and mark it uses.
        name: Of its directory and its log.
        address: Where clients find it.
        options: More options of `mariadbd`; they come last and so win.
        inside: The beginning of the command line, where the server lives in a namespace.
    """

    def __init__(
        self,
        run: Run,
        name: str = "mariadb",
        *,
        address: str = "127.0.0.1",
        options: Sequence[str] = (),
        inside: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.address = address
        self.port = free_port()
        self.directory = run.directory / name
        self.run = run
        self.programs = Programs.default()
        self.options = tuple(options)
        self._inside = tuple(inside)
        self._process: Process | None = None
        self._databases = 0

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self.directory / "data"

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.running

    def create(self) -> None:
        """Make the data directory, with Debian's empty system tables."""
        make_directory(self.directory)
        first = self.directory / "first.sql"
        first.write_text(_ROOT_FROM_ANYWHERE)
        command = [*self._as_user(), self.programs.tool("mariadb-install-db"), "--no-defaults"]
        command += [f"--basedir={self.programs.mariadb}", f"--datadir={self.data}", f"--extra-file={first}", *_OPTIONS]
        command += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        command += ["--force"]  # even where the machine's own name has no address
        self.run.finish(self.name, command, self.programs.environment())

    def command(self, *more: str) -> list[str]:
        """The command line of the server."""
        return [
            *self._inside,
            *self._as_user(),
            self.programs.tool("mariadbd"),
            "--no-defaults",
            f"--basedir={self.programs.mariadb}",
            f"--datadir={self.data}",
            f"--bind-address={self.address}",
            f"--port={self.port}",
            "--socket=socket",  # in the data directory: a longer path might not fit into a socket's name
            "--pid-file=pid",
            *_OPTIONS,
            *self.options,
            *more,
        ]

    def launch(self, *more: str) -> None:
        """Start the server and return at once."""
        self._process = self.run.start(self.name, self.command(*more), self.programs.environment())

    def start(self, *more: str) -> None:
        """Start the server, after a crash with its recovery, and wait until it answers."""
        self.launch(*more)
        until(f"{self.name} answers", self.answers_or_ended, within_s=_START_S, every_s=0.02)

    def stop(self) -> None:
        """End the server in its own orderly way."""
        if self._process and self._process.running:
            self._process.stop(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, with what it started."""
        if self._process:
            self._process.kill()

    def pause(self) -> None:
        """Let the server stand still: connections stay, and nothing is answered."""
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

    def url(self, database: str = "", *, driver: str = "pymysql") -> str:
        """The SQLAlchemy URL of *database*, or of none."""
        made = URL.create(f"mysql+{driver}", "root", host=self.address, port=self.port, database=database or None)
        return made.render_as_string(hide_password=False)

    def new_database(self, *, driver: str = "pymysql") -> str:
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
            connect_args=PATIENCE | {"read_timeout": 20},
        )
        with engine.connect() as connection:
            answer = connection.execute(text(statement))
            return [tuple(row) for row in answer] if answer.returns_rows else []

    def answers(self) -> bool:
        """Whether a query is answered now."""
        try:
            self.ask("DO 1")
        except DBAPIError:
            return False
        return True

    def answers_or_ended(self) -> bool:
        """Like `answers`; raises `Late` with the end of the log where the server has died."""
        if self._process:
            self._process.check()
        return self.answers()

    def _as_user(self) -> list[str]:
        return as_user(self.programs.root, self.directory)
