# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The commands, one module each: its help, its options and its run function. A new one needs its module and its name here.

Only the module of the command that runs is imported, because in an instance a command has to start quickly.
"""

from __future__ import annotations

import importlib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import NamedTuple, TextIO

NAMES = ("publish", "peers", "wait", "watch", "join", "formed", "whoami", "doctor")
"""In the order of the help. `peerdata.__main__` has them too, to know them before anything is imported."""


def _no_notes() -> str:
    return ""


class Command(NamedTuple):
    """What each module of this package has as ``COMMAND``."""

    about: str
    """One line for the help, in lower case and without a full stop."""
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, TextIO, TextIO], int]
    """Arguments, stdout and stderr to the exit code; a `GuestError` becomes a message and its exit code."""
    notes: Callable[[], str] = _no_notes
    """The part of the help after the options."""


def load(name: str) -> Command:
    """Import the command *name*, one of `NAMES`."""
    command: Command = importlib.import_module(f"peerdata.guest.commands.{name}").COMMAND
    return command
