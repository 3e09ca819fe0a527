# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Real clusters, formed by the start scripts of `examples/` on Debian's packages, and checked by their own queries.

`machine.py` is a member: a computer with its own address, name, processes and disk, on which the packages look
installed. `bed.py` is the network, with two `peerdata serve` on one store behind the metadata address. One small module
for each software says what it runs and when its cluster stands; `cases.py` has what all of them must pass.

`python -m tests.clusters.build` unpacks the packages; nothing is installed, and no service of this machine is started.
`python -m tests.clusters` passes every case and writes docs/clusters-runs.md. `python -m tests.clusters.vm` boots the
user-data in virtual machines, whose image `vm_image.py` makes.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]

PACKAGES = (
    "etcd-server",
    "etcd-client",
    "mariadb-server",
    "galera-4",
    "redis-server",
    "rabbitmq-server",
    "nats-server",
    "serf",
    "prometheus",
    # What start scripts and the bed use, where this machine has them not.
    "curl",
    "haproxy",
    "hostname",
    "iproute2",
    "rsync",
)


@dataclass(frozen=True)
class Packages:
    """Debian's packages, unpacked below *root* as one system has them: with /bin, /sbin and /lib inside /usr."""

    root: Path

    @classmethod
    def default(cls) -> "Packages":
        """In the directory named by PEERDATA_PEERS_DIR, else in `.peers` in the project."""
        peers = Path(os.environ.get("PEERDATA_PEERS_DIR") or PROJECT / ".peers")
        return cls(peers.resolve() / "debian-clusters")

    @property
    def stamp(self) -> Path:
        """Holds the hash of what was unpacked, once it was unpacked to the end."""
        return self.root.with_name(f"{self.root.name}.stamp")

    def version(self, package: str) -> str:
        """Debian's version of one of the packages."""
        listed = (self.root / "versions").read_text().splitlines()
        return next((line.split()[1] for line in listed if line.split()[0] == package), "")

    def why_not(self) -> str:
        """Why there is nothing to run; "" where there is."""
        return "" if self.stamp.exists() else "the packages are not unpacked; `python -m tests.clusters.build` does it"
