# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`peerdata formed`: confirm a cluster that this instance has started.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TextIO

from peerdata.guest import errors
from peerdata.guest.commands import Command, options
from peerdata.guest.library import Guest
from peerdata.guest.progress import Progress


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("cluster", metavar="CLUSTER", help="its name")
    parser.add_argument(
        "--term",
        type=options.whole_number,
        metavar="T",
        help="the term of the verdict (default: of the last bootstrap on this machine)",
    )
    options.add_timeout(parser, 120)


def run(arguments: Namespace, _out: TextIO, err: TextIO) -> int:
    """Confirm; print nothing."""
    with Progress(err) as progress:
        Guest(timeout_s=arguments.timeout, progress=progress).formed(arguments.cluster, arguments.term)
    return errors.DONE


COMMAND = Command("confirm that a cluster runs, after bootstrapping it", add_arguments, run)
