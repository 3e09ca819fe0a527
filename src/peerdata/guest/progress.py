# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What a person at the terminal sees of a long wait: one line, written over. A script sees nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

AGAIN_S = 600.0
"""A follower that runs for weeks says at most so often that the service is away."""


class Progress:
    """The line on *stream*, where that is a terminal; call it with what is being waited for."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._shown = False
        self._looks = stream.isatty()

    def __call__(self, text: str) -> None:
        if self._looks:
            self._stream.write(f"\r\x1b[K{printable(text)} ({self._clock() - self._began:.0f} s)")
            self._stream.flush()
            self._shown = True

    def end(self) -> None:
        """Leave the terminal as if there had been no line."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False


class Log:
    """The same for a follower without an end: lines, also for a log, but seldom."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._said_at: float | None = None

    def __call__(self, text: str) -> None:
        now = self._clock()
        if self._said_at is None or now - self._said_at >= AGAIN_S:
            self._said_at = now
            self._stream.write(f"peerdata: {printable(text)}; the last list stays in force\n")
            self._stream.flush()

    def end(self) -> None:
        """Nothing to clear."""


def printable(text: str) -> str:
    """*text* on one line, without what a terminal would obey."""
    return "".join(part if part.isprintable() else part.encode("unicode_escape").decode("ascii") for part in text)
