# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`peerdata wait`: wait for a number of peers.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TextIO

from peerdata.guest import errors
from peerdata.guest.commands import Command, options
from peerdata.guest.library import Guest
from peerdata.guest.output import Output
from peerdata.guest.progress import Progress


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--count", type=options.whole_number, required=True, metavar="N", help="how many, including this instance"
    )
    options.add_prefix(parser)
    options.add_output(parser, "")
    options.add_timeout(parser, 600)


def run(arguments: Namespace, out: TextIO, err: TextIO) -> int:
    """Wait, and then print or write the list if a format was given."""
    output = Output.from_arguments(arguments, prefix=arguments.prefix)
    output.check()
    with Progress(err) as progress:
        guest = Guest(progress=progress)
        found = guest.wait(arguments.count, arguments.prefix, timeout_s=arguments.timeout)
    if not output.is_wanted:
        return errors.DONE
    return output.write(output.render(found.peers, found.own_uuid, err), out, err)


COMMAND = Command("wait until N instances share keys", add_arguments, run, options.about_formats)
