# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`peerdata whoami`: print what the metadata service knows of this instance.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import TextIO

from peerdata.guest import errors
from peerdata.guest.commands import Command, options
from peerdata.guest.library import Guest
from peerdata.guest.progress import Progress, printable


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("uuid", "json", "env"), default="uuid", help="json and env: also name, keys, ..."
    )
    options.add_timeout(parser, 120)


def run(arguments: Namespace, out: TextIO, err: TextIO) -> int:
    """Print the uuid, or everything."""
    with Progress(err) as progress:
        me = Guest(timeout_s=arguments.timeout, progress=progress).whoami()
    if arguments.format == "json":
        out.write(json.dumps(me._asdict(), indent=1) + "\n")
    elif arguments.format == "env":
        from peerdata.guest.formats.nodes import single_quoted  # here for a short start time

        for name in ("uuid", "name", "hostname", "project_id"):
            out.write(f"PEERDATA_{name.upper()}={single_quoted(getattr(me, name))}\n")
    else:
        out.write(f"{printable(me.uuid)}\n")
    return errors.DONE


COMMAND = Command("print this instance's uuid", add_arguments, run)
