# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""`python -m tests.databases`: unpack the database servers, where they are missing or out of date, and say where."""

import sys
import time

from . import Programs
from .build import BuildFailed, build


def main() -> int:
    """Build, and return the exit status."""
    programs = Programs.default()
    started = time.monotonic()
    try:
        built = build(programs)
    except BuildFailed as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"{programs.root}: {'built' if built else 'up to date'} in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
