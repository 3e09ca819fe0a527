# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`peerdata watch`: follow the list of peers, and hand on each change.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TextIO

from peerdata.guest import errors, formats, hooks
from peerdata.guest.commands import Command, options
from peerdata.guest.errors import Unusable
from peerdata.guest.formats.nodes import View
from peerdata.guest.library import Guest
from peerdata.guest.output import Output
from peerdata.guest.progress import Log, warn


def add_arguments(parser: ArgumentParser) -> None:
    options.add_prefix(parser)
    options.add_others(parser)
    parser.add_argument("--exec", metavar="CMD", help="run CMD for each list, which it reads as JSON from its input")
    options.add_output(parser, "")


def run(arguments: Namespace, out: TextIO, err: TextIO) -> int:
    """Write each list to the file, hand it to the command, or print it; without end."""
    output = Output.from_arguments(arguments, prefix=arguments.prefix)
    output.check()
    if not output.is_wanted:
        output = output._replace(format="json")
    for found in Guest(progress=Log(err)).follow(arguments.prefix):
        listed = found.others if arguments.others else found.peers
        if output.path or not arguments.exec:
            try:
                output.write(output.render(listed, found.own_uuid, err), out, err)
                out.flush()
            except Unusable as error:  # the next list may be usable
                warn(err, error.message)
        if arguments.exec:
            hooks.run(
                arguments.exec,
                lambda problem: warn(err, problem),
                text=formats.render("json", View(listed, found.own_uuid)),
                environment={"PEERDATA_REVISION": str(found.revision), "PEERDATA_COUNT": str(len(listed))},
            )
    return errors.DONE


COMMAND = Command("follow the list of peers, and write it after each change", add_arguments, run, options.about_formats)
