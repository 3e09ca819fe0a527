# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Every way in which a call of the guest fails, as one tree.

    GuestError
    ├── NotReached     no answer came, or not a valid one; it may pass
    ├── Refused        the service refused the call; a repeat would not help
    ├── NoService      the server at the metadata address is not peerdata
    ├── NotYet         the service answers, but what was waited for has not happened
    ├── Unusable       a value that a peer published, or something of this machine, cannot be used
    └── Misused        the arguments of the call are invalid

The exit code of the command is the ``exit_code`` of the class (docs/guest.md, "Exit codes").
"""

from __future__ import annotations

DONE = 0
OLD_LIST = 6
"""The last good list was printed, because the service could not be reached."""


class GuestError(Exception):
    """The base class: a program that uses the library can catch all errors by it."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotReached(GuestError):
    """No answer came in time, or it was cut, or it was not valid. Whether a write was carried out is unknown."""

    exit_code = 1


class Refused(GuestError):
    """The service refused the call, and a repeat would be refused too; nothing was carried out."""

    exit_code = 3

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        """A code of docs/errors.md; empty where the reason was lost."""


class NoService(GuestError):
    """The metadata service here is plain nova or something else: it does not list ``shared.json``."""

    exit_code = 5


class NotYet(GuestError):
    """The timeout is over, although the service was reached."""

    exit_code = 4


class Unusable(GuestError):
    """A peer's value, a missing key or a file of this machine cannot be used."""

    exit_code = 1


class Misused(GuestError):
    """An argument is invalid, whatever the service would answer."""

    exit_code = 2
