# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Messages on stderr: warnings, and what a long wait is waiting for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

AGAIN_S = 600.0
"""How often a follower that runs for weeks reports that the service is unavailable."""


class Progress:
    """
    One line on *stream*, overwritten by each call, until the context ends; nothing if *stream* is not a terminal.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._shown = False
        self._is_terminal = stream.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False

    def __call__(self, text: str) -> None:
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K{printable(text)} ({self._clock() - self._began:.0f} s)")
            self._stream.flush()
            self._shown = True


class Log:
    """The progress of a follower without end: a line, at most one in `AGAIN_S`, suitable for a log."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._written_at: float | None = None

    def __call__(self, text: str) -> None:
        now = self._clock()
        if self._written_at is None or now - self._written_at >= AGAIN_S:
            self._written_at = now
            warn(self._stream, f"{text}; the last list stays in force")
            self._stream.flush()


def warn(stream: TextIO, text: str) -> None:
    """Write a message of the command."""
    stream.write(f"peerdata: {printable(text)}\n")


def duration(seconds: float) -> str:
    """A duration for a person: the largest unit of which there are two."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def printable(text: str) -> str:
    """*text* on one line, with escapes in place of characters that control a terminal."""
    return "".join(part if part.isprintable() else part.encode("unicode_escape").decode("ascii") for part in text)
