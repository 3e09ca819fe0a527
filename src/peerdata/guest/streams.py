# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
stdout and stderr of the command, as they may be: closed, full, gone, or of another alphabet.

What is printed is as good as what is written to a file: in UTF-8, and if it cannot be, that is an error. What is told
on stderr is told if it can be; that nobody can hear it changes no exit code.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO, cast


class OutputLost(Exception):
    """What was to be printed cannot be; the message says why."""


class Stdout:
    """
    *stream*, whose errors are `OutputLost`; a reader that has gone stays a BrokenPipeError.

    Args:
        stream: None: it was closed from the start.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")

    def write(self, text: str) -> int:
        if self._stream is None:
            raise OutputLost("stdout is closed")
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(os.strerror(error.errno or 0).lower()) from error

    def flush(self) -> None:
        try:
            if self._stream is not None:
                self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(os.strerror(error.errno or 0).lower()) from error

    def give_up(self) -> None:
        """Let what is still held go nowhere, or Python complains once more at its end."""
        _lead_nowhere(1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Stderr:
    """*stream* (None: it was closed), as long as it takes what it is told."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
        except OSError:
            _lead_nowhere(2)
        return len(text)

    def flush(self) -> None:
        self.write("")

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def take_standard() -> tuple[Stdout, TextIO]:
    """Put the two in place of ``sys.stdout`` and ``sys.stderr``, for all that prints."""
    while True:  # no socket may get the number of one that was closed
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break
        os.set_inheritable(descriptor, True)
    out, err = Stdout(sys.stdout), cast(TextIO, Stderr(sys.stderr))
    sys.stdout, sys.stderr = cast(TextIO, out), err
    return out, err


def _lead_nowhere(descriptor: int) -> None:
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    except OSError:
        pass
