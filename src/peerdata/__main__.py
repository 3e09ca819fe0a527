# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
``python -m peerdata`` is the command `peerdata`: the guest's part, and the operator's where that is installed.

Every Python must be able to read this file, to tell that it is too old: no f-strings and annotations here.
"""

import os
import sys

GUEST = ("publish", "peers", "wait", "watch", "join", "formed", "whoami", "doctor")
"""Known before anything is imported: in an instance the command has to start quickly."""
GUEST_PYTHON = (3, 9)
SERVICE_PYTHON = (3, 11)

if sys.version_info < GUEST_PYTHON:
    versions = GUEST_PYTHON + tuple(sys.version_info[:2])
    sys.stderr.write("peerdata needs Python {}.{} or later, this is {}.{}\n".format(*versions))
    sys.exit(2)


def main():  # type: () -> int
    """The command; the service behind it needs what the extra `server` installs."""
    word = next(iter(sys.argv[1:]), "--help")
    if word in GUEST:
        sys.unraisablehook = _end_interrupted
        try:
            from peerdata.guest import cli as guest_cli

            return guest_cli.main()
        except KeyboardInterrupt:  # while it was imported, or ended
            return 130
    missing = _what_is_missing()
    if missing and word.startswith("-"):
        from peerdata.guest import cli as guest_cli

        return guest_cli.main(sys.argv[1:] or ["--help"])
    if missing:
        sys.stderr.write(
            "peerdata: in an instance the commands are {}. '{}' is none of them, and for the operator's {}\n".format(
                ", ".join(GUEST), word, missing
            )
        )
        return 2
    from peerdata import cli

    return cli.main()


def _end_interrupted(unraisable):  # type: (sys.UnraisableHookArgs) -> None
    """A Ctrl-C that falls into a finalizer or a weakref's callback, as the import system has them, still counts."""
    if unraisable.exc_type is KeyboardInterrupt:
        os._exit(130)
    sys.__unraisablehook__(unraisable)


def _what_is_missing():  # type: () -> str
    """What the operator's commands lack here."""
    if sys.version_info < SERVICE_PYTHON:
        return "Python {}.{} or later is needed".format(*SERVICE_PYTHON) + ": this is " + sys.version.split()[0]
    try:
        import peerdata.cli  # noqa: F401
    except ModuleNotFoundError as error:
        return "the module {} is missing: pip install 'peerdata[server]'".format(error.name)  # noqa: UP032
    return ""


if __name__ == "__main__":
    sys.exit(main())
