# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Unpacks Debian's database servers, with the libraries that this machine lacks, side by side below one directory.
"""

from ..build import BuildFailed, locked, renew, run, unpack
from . import PACKAGES, Programs

# Raised when the way of building changes, so that all is unpacked anew.
RECIPE = "1"

# Depended on by tools that no test uses. The C library must be the one that the machine's loader belongs to.
_LEFT_OUT = ("perl", "libperl", "libc6", "libc-bin", "gawk")


def build(programs: Programs) -> bool:
    """Unpack what is missing or out of date; return whether there was anything to do."""
    with locked(programs.stamp.with_suffix(".lock")):
        return renew(programs.root, repr((RECIPE, PACKAGES, _LEFT_OUT)).encode(), lambda: _unpack(programs))


def _unpack(programs: Programs) -> None:
    unpack(PACKAGES, programs.root, left_out=_LEFT_OUT)
    needed_files = (
        programs.postgresql / "initdb",
        programs.mariadb / "sbin/mariadbd",
        programs.wsrep_provider,
        programs.faketime,
    )
    for needed in needed_files:
        if not needed.exists():
            raise BuildFailed(f"Debian's packages {', '.join(PACKAGES)} have no {needed.relative_to(programs.root)}")
    _check_libraries(programs)


def _check_libraries(programs: Programs) -> None:
    """An unpacked program that lacks a library would fail in a test; it fails here instead, by name."""
    for program in (programs.postgresql / "postgres", programs.mariadb / "sbin/mariadbd", programs.wsrep_provider):
        needed = run(["ldd", str(program)], more=programs.environment())
        lacking = [line.split()[0] for line in needed.splitlines() if "not found" in line]
        if lacking:
            raise BuildFailed(f"{program}: without {', '.join(lacking)}")
