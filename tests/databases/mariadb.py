# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A MariaDB server of our own: durable at each commit, with small buffers, on a free port.

`Mariadb` is a server by itself. `galera.py` gives it the options that make it a
node of a cluster and a place in a network namespace.
"""

import signal
from collections.abc import Sequence
from typing import Any

from .run import Run
from .server import Server
from .user import make_directory

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


class Mariadb(Server):
    """
    One server, below the run's directory.

    Args:
        run: Whose directory, logs and mark it uses.
        name: Of its directory and its log.
        address: Where clients find it.
        options: More options of `mariadbd`; they come last and so win.
        inside: The beginning of the command line, where the server lives in a namespace.
    """

    dialect = "mysql"
    driver = "pymysql"
    user = "root"
    first_database = None
    start_s = 60.0  # recovery after a kill takes a second or two; a state transfer some more
    stop_signal = signal.SIGTERM
    nothing = "DO 1"
    patience = PATIENCE | {"read_timeout": 20}

    def __init__(
        self,
        run: Run,
        name: str = "mariadb",
        *,
        address: str = "127.0.0.1",
        options: Sequence[str] = (),
        inside: Sequence[str] = (),
    ) -> None:
        super().__init__(run, name, address=address)
        self.options = tuple(options)
        self._inside = tuple(inside)

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
