# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""`python -m tests.chain.peers [NAME ...]`: build the peers that are missing or out of date, and say where they are."""

import argparse
import sys

from ...build import tell
from . import OPTIONAL, USUAL, Peers
from .build import build


def main() -> int:
    """Build, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chain.peers", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(USUAL + OPTIONAL)}; default: {', '.join(USUAL)}"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(USUAL + OPTIONAL)
    if unknown:
        parser.error(f"unknown peer: {', '.join(sorted(unknown))}")
    peers = Peers.default()
    names = tuple(arguments.names) or USUAL
    return tell(peers.root, lambda: "built " + ", ".join(built) if (built := build(peers, names)) else "")


if __name__ == "__main__":
    sys.exit(main())
