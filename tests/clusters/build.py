# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.clusters.build`: unpack Debian's clustered software below `.peers`, with the libraries that it needs.
"""

import sys

from ..build import BuildFailed, locked, renew, tell, unpack
from . import PACKAGES, Packages

# Raised when the way of building changes, so that all is unpacked anew.
RECIPE = "1"

# The C library must be the one that the machine's loader belongs to; the others belong to pages that nobody opens.
_LEFT_OUT = ("libc6", "libc-bin", "libperl", "perl_", "perl-modules", "gawk", "libjs-", "fonts-")

_NEEDED = (
    "usr/bin/etcd",
    "usr/bin/etcdctl",
    "usr/sbin/mariadbd",
    "usr/lib/galera/libgalera_smm.so",
    "usr/bin/redis-server",
    "usr/bin/redis-cli",
    "usr/lib/rabbitmq/bin/rabbitmq-server",
    "usr/sbin/nats-server",
    "usr/bin/serf",
    "usr/bin/prometheus",
)


def build(packages: Packages) -> bool:
    """Unpack what is missing or out of date; return whether there was anything to do."""
    with locked(packages.stamp.with_suffix(".lock")):
        return renew(packages.root, repr((RECIPE, PACKAGES, _LEFT_OUT)).encode(), lambda: _unpack(packages))


def _unpack(packages: Packages) -> None:
    for part in ("bin", "sbin", "lib"):
        (packages.root / "usr" / part).mkdir(parents=True)
        (packages.root / part).symlink_to(f"usr/{part}")
    versions = unpack(PACKAGES, packages.root, left_out=_LEFT_OUT)
    (packages.root / "versions").write_text("".join(f"{name} {version}\n" for name, version in versions.items()))
    for needed in _NEEDED:
        if not (packages.root / needed).exists():
            raise BuildFailed(f"Debian's packages {', '.join(PACKAGES)} have no {needed}")


def main() -> int:
    """Build, and return the exit status."""
    packages = Packages.default()
    return tell(packages.root, lambda: "built" if build(packages) else "")


if __name__ == "__main__":
    sys.exit(main())
