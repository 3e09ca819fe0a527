# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`peerdata doctor`: print what is wrong between this instance and the service.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import TextIO

from peerdata.guest import errors
from peerdata.guest.commands import Command, options
from peerdata.guest.doctor import examine
from peerdata.guest.progress import printable


def add_arguments(parser: ArgumentParser) -> None:
    options.add_timeout(parser, 20)


def run(arguments: Namespace, out: TextIO, _err: TextIO) -> int:
    """Print each finding with its advice; the exit code is 1 if something is wrong."""
    wrong = False
    for finding in examine(os.environ, timeout_s=arguments.timeout):
        out.write(f"{finding.level:<5} {finding.about}: {printable(finding.message)}\n")
        if finding.advice:
            out.write(f"      do: {printable(finding.advice)}\n")
        out.flush()
        wrong = wrong or finding.level == "wrong"
    return 1 if wrong else errors.DONE


COMMAND = Command("check the way from this instance to the service", add_arguments, run)
