# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`peerdata publish`: set keys of this instance.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TextIO

from peerdata.guest import errors
from peerdata.guest.commands import Command, options
from peerdata.guest.library import Guest
from peerdata.guest.progress import Progress


def add_arguments(parser: ArgumentParser) -> None:
    options.add_pairs(parser)
    parser.add_argument("--private", action="store_true", help="visible to this instance only, not to its project")
    options.add_addresses(parser)
    options.add_timeout(parser, 120)


def run(arguments: Namespace, _out: TextIO, err: TextIO) -> int:
    """Publish the keys; print nothing."""
    with Progress(err) as progress:
        guest = Guest(timeout_s=arguments.timeout, progress=progress)
        guest.end_within(arguments.timeout)  # includes the look-up for --addresses
        guest.publish(options.keys_from_arguments(arguments, guest, ""), private=arguments.private)
    return errors.DONE


COMMAND = Command("set keys, once and for good", add_arguments, run)
