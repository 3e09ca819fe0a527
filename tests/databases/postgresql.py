# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A PostgreSQL server of our own: fsync on, on a free port of 127.0.0.1."""

import signal

from .run import Run
from .server import Server
from .user import make_directory

# Small, as the tests' data are. Everything about durability stays at its default.
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_line_prefix": "%m [%p] ",
}


class Postgresql(Server):
    """
    One server, below the run's directory.

    Args:
        run: Whose directory, logs and mark it uses.
        name: Of its directory and its log.
        durable: Turn off to let the server skip fsync, where a test is about something else.
    """

    dialect = "postgresql"
    driver = "psycopg"
    user = "peerdata"
    first_database = "postgres"
    start_s = 30.0  # it can start within a second
    stop_signal = signal.SIGINT  # a "fast" shutdown
    nothing = "SELECT 1"

    def __init__(self, run: Run, name: str = "postgresql", *, durable: bool = True) -> None:
        super().__init__(run, name)
        self._durable = durable

    def create(self) -> None:
        """Make the data directory, which the server's user owns."""
        make_directory(self.directory)
        # --no-sync: a crash of the machine in this second would end the test as well.
        command = [*self._as_user(), str(self.programs.postgresql / "initdb"), f"--pgdata={self.data}"]
        command += [f"--username={self.user}", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self.run.finish(self.name, command, self.programs.environment())

    def command(self, *more: str) -> list[str]:
        """The command line of the server."""
        options = _OPTIONS | {"port": str(self.port), "fsync": "on" if self._durable else "off"}
        command = [*self._as_user(), str(self.programs.postgresql / "postgres"), "-D", str(self.data)]
        return [*command, *(part for name, value in options.items() for part in ("-c", f"{name}={value}")), *more]
