# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`peerdata peers`: print the list of peers, or the last good one if the service cannot be reached.
"""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from typing import TextIO

from peerdata.guest import errors
from peerdata.guest.commands import Command, options
from peerdata.guest.errors import NotReached
from peerdata.guest.library import Guest
from peerdata.guest.model import PeerList
from peerdata.guest.output import Output
from peerdata.guest.progress import Progress, duration, warn


def add_arguments(parser: ArgumentParser) -> None:
    options.add_prefix(parser)
    options.add_others(parser)
    options.add_output(parser, "table")
    options.add_timeout(parser, 120)


def run(arguments: Namespace, out: TextIO, err: TextIO) -> int:
    """Print or write the list."""
    output = Output.from_arguments(arguments, prefix=arguments.prefix)
    output.check()
    found, code = _read(arguments, err)
    if code == errors.OLD_LIST and os.path.exists(output.path):
        return code  # the file may be newer than the kept list
    listed = found.others if arguments.others else found.peers
    return output.write(output.render(listed, found.own_uuid, err), out, err) or code


def _read(arguments: Namespace, err: TextIO) -> tuple[PeerList, int]:
    """The list, with the exit code; the last good one with a warning if no answer came."""
    with Progress(err) as progress:
        guest = Guest(timeout_s=arguments.timeout, progress=progress)
        try:
            return guest.peers(arguments.prefix), errors.DONE
        except NotReached as error:
            old = guest.last_good(arguments.prefix)
            if old is None:
                raise
            reason = error.message
    age_s = max(0.0, time.time() - old.read_at)
    warn(err, f"{reason}; this list is {duration(age_s)} old")
    return old, errors.OLD_LIST


COMMAND = Command(
    "print the instances that share keys, in the same order everywhere", add_arguments, run, options.about_formats
)
