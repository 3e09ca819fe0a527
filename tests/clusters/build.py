# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.clusters.build`: unpack Debian's clustered software below `.peers`, with the libraries that it needs.

The packages are unpacked and not installed: their scripts, which would start a
service, never run. The stamp is written last, so a build that was killed is
begun anew; a file lock lets two callers share the directory.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from . import PACKAGES, Packages

# Raised when the way of building changes, so that all is unpacked anew.
RECIPE = "1"

# The C library must be the one that the machine's loader belongs to; the others belong to pages that nobody opens.
_LEFT_OUT = ("libc6", "libc-bin", "libperl", "perl_", "perl-modules", "gawk", "libjs-", "fonts-")

_APT_WAITS_S = 120.0
"""How long another apt-get may hold the package lists."""

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


class BuildFailed(Exception):
    """A command of the build failed; the message carries its output."""


def build(packages: Packages) -> bool:
    """Unpack what is missing or out of date; return whether there was anything to do."""
    packages.root.parent.mkdir(parents=True, exist_ok=True)
    with packages.stamp.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = hashlib.sha256(repr((RECIPE, PACKAGES, _LEFT_OUT)).encode()).hexdigest()
        if packages.stamp.exists() and packages.stamp.read_text() == wanted:
            return False
        packages.stamp.unlink(missing_ok=True)
        shutil.rmtree(packages.root, ignore_errors=True)
        _unpack(packages)
        packages.stamp.write_text(wanted)
    return True


def _unpack(packages: Packages) -> None:
    archives = packages.root.with_name(f"{packages.root.name}-archives")
    shutil.rmtree(archives, ignore_errors=True)
    (archives / "partial").mkdir(parents=True)
    fetch = ["apt-get", "--yes", "--download-only", "--reinstall", "--no-install-recommends"]
    fetch += ["-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root", "install", *PACKAGES]
    try:
        _run(fetch)
    except BuildFailed:
        # No package lists yet, or lists older than the archive.
        _update()
        _run(fetch)
    for part in ("bin", "sbin", "lib"):
        (packages.root / "usr" / part).mkdir(parents=True)
        (packages.root / part).symlink_to(f"usr/{part}")
    versions = []
    for archive in sorted(archives.glob("*.deb")):
        if archive.name.startswith(_LEFT_OUT):
            continue
        name, version, _ = archive.name.split("_")
        versions.append(f"{name} {version.replace('%3a', ':')}\n")
        # tar and not dpkg-deb -x: that would put a directory where /lib is a link.
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as files:
            _run(["tar", "-x", "--keep-directory-symlink", "-C", str(packages.root)], stdin=files.stdout)
    (packages.root / "versions").write_text("".join(versions))
    shutil.rmtree(archives)
    for needed in _NEEDED:
        if not (packages.root / needed).exists():
            raise BuildFailed(f"Debian's packages {', '.join(PACKAGES)} have no {needed}")


def _update() -> None:
    deadline = time.monotonic() + _APT_WAITS_S
    while True:
        try:
            _run(["apt-get", "update"])
            return
        except BuildFailed as exc:
            if "Could not get lock" not in str(exc) or time.monotonic() > deadline:
                raise
        time.sleep(1)


def _run(command: Sequence[str], *, stdin: object = subprocess.DEVNULL) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=stdin,  # type: ignore[call-overload]
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except FileNotFoundError as exc:
        raise BuildFailed(f"{command[0]} is needed to unpack the packages and is not on this machine") from exc
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout[-4000:]}")


def main() -> int:
    """Build, and return the exit status."""
    packages = Packages.default()
    started = time.monotonic()
    try:
        built = build(packages)
    except BuildFailed as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"{packages.root}: {'built' if built else 'up to date'} in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
