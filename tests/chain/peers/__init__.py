# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The real peers of the chain: where each one lives once `python -m tests.chain.peers` has built it.

Standard library only, so that any Python 3.11 can build and find them.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOCKS = Path(__file__).parent
PROJECT = LOCKS.parents[2]

# Built unless the caller names others. neutron-27 answers like 29 but takes calls side by side; it is optional.
USUAL = ("nova", "neutron-25", "neutron-29", "debian", "gunicorn", "apache")
OPTIONAL = ("neutron-27",)


@dataclass(frozen=True)
class Peers:
    """The directory that holds the built peers."""

    root: Path

    @classmethod
    def default(cls) -> "Peers":
        """The directory named by PEERDATA_PEERS_DIR, else `.peers` in the project."""
        return cls(Path(os.environ.get("PEERDATA_PEERS_DIR") or PROJECT / ".peers").resolve())

    def python(self, name: str) -> Path:
        """The interpreter of the virtual environment of peer *name*."""
        return self.root / name / "bin" / "python"

    @property
    def nova_databases(self) -> Path:
        """An api and a cell database with nova's schema and nothing in them, to be copied."""
        return self.root / "nova-databases"

    @property
    def debian(self) -> Path:
        """The root of the unpacked Debian packages."""
        return self.root / "debian"

    @property
    def apache(self) -> "Peers":
        """Apache with mod_wsgi, unpacked by itself; its programs and libraries are found as Debian's are."""
        return Peers(self.root / "apache")

    def tool(self, name: str) -> str:
        """The full path of a Debian program, unpacked or already on this machine; "" where there is none."""
        return shutil.which(name, path=self.search_path()) or ""

    def search_path(self) -> str:
        """PATH with the unpacked programs first."""
        own = [str(self.debian / part) for part in ("usr/sbin", "usr/bin", "sbin", "bin")]
        return os.pathsep.join([*own, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

    def environment(self) -> dict[str, str]:
        """The environment in which the unpacked programs find each other and their libraries."""
        libraries = [
            str(path) for part in ("usr/lib", "lib") for path in sorted((self.debian / part).glob("*-linux-gnu*"))
        ]
        return {"PATH": self.search_path(), "LD_LIBRARY_PATH": os.pathsep.join(libraries)}

    def debian_python(self) -> str:
        """Debian's Python, for which its Python packages are made: the unpacked one, else the machine's."""
        unpacked = self.debian / "usr/bin/python3"
        return str(unpacked) if unpacked.exists() else "/usr/bin/python3"

    def python_environment(self) -> list[str]:
        """What makes Debian's Python find the unpacked packages, as arguments of `env`."""
        return [f"PYTHONPATH={self.debian / 'usr/lib/python3/dist-packages'}"]

    def missing(self, names: Sequence[str] = USUAL) -> list[str]:
        """Those of *names* that were never built to the end."""
        return [name for name in names if not (self.root / f"{name}.stamp").exists()]
