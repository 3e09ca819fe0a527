# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.torture.served`: the command `peerdata`, in a process whose wall clock libfaketime moves.

libfaketime 0.9.10, told to leave the monotonic clock alone, refuses every sleep until a moment of that clock with
EINVAL, and such a sleep is what Python's `time.sleep` is. A lock that nobody gives waits as long, and is left alone.
"""

from __future__ import annotations

import sys
import threading
import time

from peerdata.cli import main


def sleep(seconds: float) -> None:
    """`time.sleep` by other means."""
    threading.Event().wait(seconds)


def serve() -> int:
    """Run the command; returns its exit code."""
    time.sleep = sleep  # type: ignore[assignment]
    return main()


if __name__ == "__main__":
    sys.exit(serve())
