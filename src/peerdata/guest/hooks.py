# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Runs the user's own command (--exec, --reload) in a shell, and ends it together with us.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TERM_S = 5.0
"""How long the command may take to end after a signal, before it is killed."""


def run(command: str, warn: Callable[[str], None], *, text: str = "", environment: Mapping[str, str]) -> int:
    """
    Run *command* until it ends; nothing that a peer published is part of it.

    If a signal ends us meanwhile, the command and everything that it started are ended too. For that it gets a session
    of its own. At a terminal it does not: the terminal sends it Ctrl-C, and the command may ask its user something.

    Args:
        warn: Called if the command fails or cannot be run.
        text: Its standard input.
        environment: Variables added to our own.

    Returns:
        0 if it succeeded, otherwise 1.

    Raises:
        KeyboardInterrupt, SystemExit: a signal arrived; the command has ended.
    """
    own_session = not os.isatty(0)
    with _DeferredSignals() as signals:
        try:
            with subprocess.Popen(  # noqa: S603 - the command is the caller's own
                ["/bin/sh", "-c", command],
                stdin=subprocess.PIPE,
                env={**os.environ, **environment},
                start_new_session=own_session,
            ) as process:
                try:
                    signals.deliver()
                    process.communicate(text.encode())
                except BaseException:
                    _end(process, own_session=own_session)
                    raise
        except OSError as error:
            signals.deliver()
            warn(f"the command cannot be run: {os.strerror(error.errno or 0).lower()}: {command}")
            return 1
    if process.returncode != 0:
        warn(f"the command failed with {process.returncode}: {command}")
        return 1
    return 0


def _end(process: subprocess.Popen[bytes], *, own_session: bool) -> None:
    for number, patience_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            (os.killpg if own_session else os.kill)(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            break


class _DeferredSignals:
    """
    Signals as exceptions, kept back until `deliver`.

    While the process is being created its id is not known yet, so it could not be ended. Signals that the user had
    ignored (as nohup does with SIGHUP) stay ignored.
    """

    def __init__(self) -> None:
        self._received: list[int] = []
        self._delivering = False
        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> _DeferredSignals:
        for number, handler in self._before.items():
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def deliver(self) -> None:
        """Raise for a signal that has been received, and from now on as soon as one is."""
        self._delivering = True
        for number in self._received:
            self._raise(number)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._received.append(number)
        if self._delivering:
            self._raise(number)

    @staticmethod
    def _raise(number: int) -> None:
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
