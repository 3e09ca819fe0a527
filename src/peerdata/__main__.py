# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""``python -m peerdata`` is the command `peerdata`."""

import sys


def main() -> int:
    """The command; the service behind it needs what the extra `server` installs."""
    try:
        from peerdata import cli
    except ModuleNotFoundError as error:
        print(f"peerdata: the module {error.name} is missing: pip install 'peerdata[server]'", file=sys.stderr)
        return 1
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
