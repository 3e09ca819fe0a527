# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Every way in which a guest's call ends without its answer, as one tree.

    GuestError
    ├── NotReached     nobody answered, or not with an answer; it may pass
    ├── Refused        the service said no, and asking again would not help
    ├── NoService      who answers at the metadata address is not peerdata
    ├── NotYet         the service answers; what was waited for has not come
    ├── Unusable       what peers published, or this machine has, does not do for what was asked
    └── Misused        the call cannot be made so

The command's exit code is the class's ``exit_code`` (docs/guest.md, "Exit codes").
"""

from __future__ import annotations

DONE = 0
OLD_LIST = 6
"""The last good list was given, because the service could not be reached."""


class GuestError(Exception):
    """Something that a program which uses the library can catch as a whole."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotReached(GuestError):
    """Nobody answered in time, or what came back was cut or is no answer. Whether a write was done is not known."""

    exit_code = 1


class Refused(GuestError):
    """The service refused the call, for good; nothing of it was done."""

    exit_code = 3

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        """Of docs/errors.md; empty where it could not be learned."""


class NoService(GuestError):
    """There is a metadata service, but plain nova or something else: ``shared.json`` is not listed."""

    exit_code = 5


class NotYet(GuestError):
    """The time is over, though the service was reached."""

    exit_code = 4


class Unusable(GuestError):
    """A peer's value, a missing key or a file does not do."""

    exit_code = 1


class Misused(GuestError):
    """An argument that no service could make sense of."""

    exit_code = 2
