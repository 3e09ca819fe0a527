# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The user that the servers run as: ourselves, or nobody when we are root.

PostgreSQL refuses to run as root; the rsync of Galera's state transfer would change from root to nobody by itself.
"""

import os
from pathlib import Path

# Debian's nobody and nogroup.
_NOBODY = 65534


def as_user(*places: Path) -> list[str]:
    """The beginning of a command line that runs as the servers' user, who needs to reach *places*."""
    if os.geteuid():
        return []
    command = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    if not all(map(is_open_to_all, places)):
        # The temporary directory is root's alone: let the server pass.
        command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return command


def make_directory(place: Path) -> None:
    """Make *place*, where it is missing, and let the servers' user own it."""
    place.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(place, _NOBODY, _NOBODY)


def is_open_to_all(place: Path) -> bool:
    """Whether any user may go to *place*, itself aside."""
    return all(above.stat().st_mode & 0o001 for above in place.parents)
