# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""``python -m peerdata`` is the command `peerdata`: the guest's part, and the operator's where that is installed."""

import sys

GUEST = ("publish", "peers", "wait", "watch", "join", "formed", "whoami", "doctor")
"""Known before anything is imported: in an instance the command has to start quickly."""
SERVICE_PYTHON = (3, 11)


def main() -> int:
    """The command; the service behind it needs what the extra `server` installs."""
    word = next(iter(sys.argv[1:]), "--help")
    if word in GUEST:
        from peerdata.guest import cli as guest_cli

        return guest_cli.main()
    missing = _what_is_missing()
    if missing and word.startswith("-"):
        from peerdata.guest import cli as guest_cli

        return guest_cli.main(sys.argv[1:] or ["--help"])
    if missing:
        print(
            f"peerdata: in an instance the commands are {', '.join(GUEST)}. '{word}' is none of them, and for the "
            f"operator's {missing}",
            file=sys.stderr,
        )
        return 2
    from peerdata import cli

    return cli.main()


def _what_is_missing() -> str:
    """What the operator's commands lack here."""
    if sys.version_info < SERVICE_PYTHON:
        return f"Python {'.'.join(map(str, SERVICE_PYTHON))} or later is needed: this is {sys.version.split()[0]}"
    try:
        import peerdata.cli  # noqa: F401
    except ModuleNotFoundError as error:
        return f"the module {error.name} is missing: pip install 'peerdata[server]'"
    return ""


if __name__ == "__main__":
    sys.exit(main())
