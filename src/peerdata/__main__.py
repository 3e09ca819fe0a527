# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
``python -m peerdata`` is the command `peerdata`: dispatches to the guest's commands, or to the operator's if installed.

Every Python must be able to read this file, to report that it is too old: no f-strings and annotations here.
"""

import os
import sys

GUEST_COMMANDS = ("publish", "peers", "wait", "watch", "join", "formed", "whoami", "doctor")
"""The same as `peerdata.guest.commands.NAMES`; a copy, so that a guest's command imports nothing of the operator's."""
GUEST_PYTHON = (3, 9)
SERVICE_PYTHON = (3, 11)

if sys.version_info < GUEST_PYTHON:
    versions = GUEST_PYTHON + tuple(sys.version_info[:2])
    sys.stderr.write("peerdata needs Python {}.{} or later, this is {}.{}\n".format(*versions))
    sys.exit(2)


def main():  # type: () -> int
    """Run the command; the operator's commands need the packages of the extra `server`."""
    sys.unraisablehook = _exit_if_interrupted
    try:
        return _main()
    except KeyboardInterrupt:  # during an import, or at the end
        return 130


def _main():  # type: () -> int
    command = next(iter(sys.argv[1:]), "--help")
    if command in GUEST_COMMANDS:
        from peerdata.guest import cli as guest_cli

        return guest_cli.main()
    missing = _missing_for_service()
    if missing and command.startswith("-"):
        from peerdata.guest import cli as guest_cli

        return guest_cli.main(sys.argv[1:] or ["--help"])
    if missing:
        sys.stderr.write(
            "peerdata: '{}' is not a command for instances, which are {}; for the operator's commands {}\n".format(
                command, ", ".join(GUEST_COMMANDS), missing
            )
        )
        return 2
    from peerdata import cli

    return cli.main()


def _exit_if_interrupted(unraisable):  # type: (sys.UnraisableHookArgs) -> None
    """Exit after a Ctrl-C in a finalizer or a weakref's callback (the import system has some), which Python ignores."""
    if unraisable.exc_type is KeyboardInterrupt:
        os._exit(130)
    sys.__unraisablehook__(unraisable)


def _missing_for_service():  # type: () -> str
    """What the operator's commands lack here; empty: nothing."""
    if sys.version_info < SERVICE_PYTHON:
        return "Python {}.{} or later is needed".format(*SERVICE_PYTHON) + ": this is " + sys.version.split()[0]
    try:
        import peerdata.cli  # noqa: F401
    except ModuleNotFoundError as error:
        return "the module {} is missing: pip install 'peerdata[server]'".format(error.name)  # noqa: UP032
    return ""


if __name__ == "__main__":
    sys.exit(main())
