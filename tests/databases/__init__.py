# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Real database servers for tests and benchmarks: PostgreSQL, MariaDB and a Galera cluster, from Debian's packages.

`python -m tests.databases` unpacks the packages; nothing is installed and no
service of the machine is started. `postgresql.py`, `mariadb.py` and `galera.py`
run servers of our own on free ports, below the directory of a `run.Run`;
`fixtures.py` hands them to pytest, and `python -m tests.databases.measure`
says what they cost. This module says where the programs are.
"""

import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]

# galera-4 is the wsrep provider; rsync carries a whole state to a node that joins, and asks `ss` about its port;
# libfaketime moves the clock of one process.
PACKAGES = ("postgresql-15", "mariadb-server", "galera-4", "rsync", "iproute2", "libfaketime")


@dataclass(frozen=True)
class Programs:
    """Debian's packages, unpacked below *root*."""

    root: Path

    @classmethod
    def default(cls) -> "Programs":
        """In the directory named by PEERDATA_PEERS_DIR, else in `.peers` in the project."""
        peers = Path(os.environ.get("PEERDATA_PEERS_DIR") or PROJECT / ".peers")
        return cls(peers.resolve() / "debian-databases")

    @property
    def stamp(self) -> Path:
        """Holds the hash of what was unpacked, once it was unpacked to the end."""
        return self.root.with_name(f"{self.root.name}.stamp")

    @property
    def postgresql(self) -> Path:
        """The directory of initdb and postgres."""
        return self.root / "usr/lib/postgresql/15/bin"

    @property
    def mariadb(self) -> Path:
        """What MariaDB calls its basedir."""
        return self.root / "usr"

    @property
    def wsrep_provider(self) -> Path:
        """The library that makes a MariaDB server a node of a Galera cluster."""
        return self.root / "usr/lib/galera/libgalera_smm.so"

    @property
    def faketime(self) -> Path:
        """The library that, preloaded, moves the clock of a process with threads."""
        return next(self.root.glob("usr/lib/*-linux-gnu*/faketime/libfaketimeMT.so.1"), self.root / "no-libfaketime")

    def version(self, package: str) -> str:
        """Debian's version of one of the packages."""
        with gzip.open(self.root / f"usr/share/doc/{package}/changelog.Debian.gz", "rt", encoding="utf-8") as changes:
            return changes.readline().partition("(")[2].partition(")")[0]

    def environment(self) -> dict[str, str]:
        """The environment in which the programs find each other and their libraries."""
        own = [str(self.root / part) for part in ("usr/sbin", "usr/bin", "sbin", "bin")]
        libraries = [
            str(path) for part in ("usr/lib", "lib") for path in sorted((self.root / part).glob("*-linux-gnu*"))
        ]
        return {
            "PATH": os.pathsep.join([*own, os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"]),
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        }

    def tool(self, name: str) -> str:
        """The full path of a program, unpacked or of this machine; "" where there is none."""
        return shutil.which(name, path=self.environment()["PATH"]) or ""

    def why_not(self) -> str:
        """Why there are no programs to run; "" where there are."""
        return (
            "" if self.stamp.exists() else "the database servers are not unpacked; `python -m tests.databases` does it"
        )
