# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
stdout and stderr of the command, which may be closed, full, without a reader, or in another encoding.

Output is UTF-8, as in a file, and an error if it cannot be written. Messages on stderr are written if possible; if not,
they are lost, and the exit code does not change.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO, cast


class OutputLost(Exception):
    """The output cannot be written; the message is the reason."""


class Stdout:
    """
    A stream whose errors are `OutputLost`; a pipe without a reader still raises BrokenPipeError.

    Args:
        stream: None: stdout was closed when the process started.
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
        """Discard what is buffered, because Python would report the error again when it exits."""
        _redirect_to_null(1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Stderr:
    """A stream (None: stderr was closed) that loses what cannot be written."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
        except OSError:
            _redirect_to_null(2)
        return len(text)

    def flush(self) -> None:
        self.write("")

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def take_standard() -> tuple[Stdout, TextIO]:
    """Replace ``sys.stdout`` and ``sys.stderr``, for everything that prints."""
    while True:  # a socket must not get the descriptor of a closed standard stream
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break
        os.set_inheritable(descriptor, True)
    out, err = Stdout(sys.stdout), cast(TextIO, Stderr(sys.stderr))
    sys.stdout, sys.stderr = cast(TextIO, out), err
    return out, err


def _redirect_to_null(descriptor: int) -> None:
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
    except OSError:
        pass
