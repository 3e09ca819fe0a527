# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""`python -m tests.databases`: unpack the database servers, where they are missing or out of date, and say where."""

import sys

from ..build import tell
from . import Programs
from .build import build


def main() -> int:
    """Build, and return the exit status."""
    programs = Programs.default()
    return tell(programs.root, lambda: "built" if build(programs) else "")


if __name__ == "__main__":
    sys.exit(main())
