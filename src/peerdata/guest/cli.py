# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The command line of the guest: parses the arguments, runs a command, and turns every error into a message and exit code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO, cast

from peerdata import __version__
from peerdata.guest import commands, errors, streams
from peerdata.guest.errors import GuestError, Misused
from peerdata.guest.progress import warn

COMMANDS = commands.NAMES

EXIT_CODES = """\
exit codes:
  0  done
  1  the service was not reached, or something on this machine failed
  2  the arguments are invalid
  3  refused: the key or the cluster is taken, a quota is full, nova does not
     know this instance; join: the cluster has all its members
  4  not yet: the timeout is over, what was waited for has not happened
  5  the metadata service here is without peerdata
  6  peers: not reached, the last good list was printed
"""

ADDRESS = """\
The service is reached at 169.254.169.254, else at fe80::a9fe:a9fe on each
interface; or only at PEERDATA_URL, if that is set. No proxy is used.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the guest; returns the exit code."""
    out, err = streams.take_standard()
    try:
        try:
            return _main(list(sys.argv[1:] if arguments is None else arguments), cast(TextIO, out), err)
        finally:
            out.flush()
    except streams.OutputLost as lost:
        out.give_up()
        err.write(f"peerdata: the output is lost: {lost}\n")
        return 1
    except BrokenPipeError:
        out.give_up()
        return 1


def _main(arguments: list[str], out: TextIO, err: TextIO) -> int:
    if arguments and arguments[0] in COMMANDS:
        command = commands.load(arguments[0])
        parser = _Parser(prog=f"peerdata {arguments[0]}", **_texts(command))
        command.add_arguments(parser)
        # Options may come before, between and after KEY=VALUE operands; parse_args accepts only the first group.
        parsed = _unmark(parser.parse_intermixed_args(_mark_operands(arguments[1:])))
        return run(command, parsed, out, err)
    if arguments == ["--version"]:  # without importing the commands, whose help the parser below shows
        out.write(f"peerdata {__version__}\n")
        return errors.DONE
    whole = argparse.ArgumentParser(
        prog="peerdata",
        description="Lets the instances of a project find each other through the metadata address.",
        epilog=f"{ADDRESS}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"peerdata {__version__}")
    add_commands(whole.add_subparsers(metavar="COMMAND", required=True))
    whole.parse_args(arguments)
    return Misused.exit_code


_OPERAND = "\0"
"""Marks, internally, an operand that looks like an option; an argument of a process cannot contain it."""


def _mark_operands(arguments: list[str]) -> list[str]:
    """Mark everything after ``--`` as operands: argparse's own handling differs between versions, and fails in some."""
    if "--" not in arguments:
        return arguments
    at = arguments.index("--")
    before = arguments[:at]
    if before and before[-1] == "--addresses":
        before[-1] += "="  # its optional PREFIX is not the first operand
    return before + [_OPERAND + operand for operand in arguments[at + 1 :]]


def _unmark(parsed: argparse.Namespace) -> argparse.Namespace:
    for name, value in vars(parsed).items():
        if isinstance(value, str):
            setattr(parsed, name, value.replace(_OPERAND, ""))
        elif isinstance(value, list):
            setattr(parsed, name, [item.replace(_OPERAND, "") for item in value])
    return parsed


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(message.replace(_OPERAND, ""))


def add_commands(parsers: Any) -> None:
    """Add the guest's commands to argparse's *parsers*, for a help that also shows the operator's."""
    for name in COMMANDS:
        command = commands.load(name)
        command.add_arguments(parsers.add_parser(name, help=command.about, **_texts(command)))


def _texts(command: commands.Command) -> dict[str, Any]:
    about = command.about
    return {
        "description": f"{about[0].upper()}{about[1:]}.",
        "epilog": command.notes() + EXIT_CODES,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def run(command: commands.Command, parsed: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Run *command*; every error becomes a message on *err* and an exit code."""
    try:
        code = command.run(parsed, out, err)
        out.flush()
        return code
    except GuestError as error:
        warn(err, error.message)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
