# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A stand-in for a busy nova: `python -m bench.peers.slots PORT SLOTS SECONDS LOG`.

It works on a few requests at a time, each for a fixed time in which it only waits. All others wait in its listen queue
and are accepted in their order. Like nova under uWSGI it closes after each answer without saying so, and it does the
work for a client that has given up as well, since it learns of that only from the answer that cannot be sent.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path

from tests.chain.ports import answers, free_port
from tests.chain.run import until

from bench.peers.anybody import answer
from bench.stage import Stage

SLOTS = 8
"""Requests at a time: uWSGI with as many processes."""

QUEUE = 4096
"""Connections that may wait. uWSGI's own default, 100, would make a storm a test of TCP's repeated SYNs."""


class Slots:
    """
    The stand-in, on the core of the load.

    Args:
        name: `slots-` and a word.
        work_s: Of each request.
    """

    def __init__(self, stage: Stage, name: str, work_s: float) -> None:
        self.name = name
        self.port = free_port()
        self._stage = stage
        self._work_s = work_s
        self._log = stage.directory / f"{name}.asked"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> int:
        """Requests on which it has begun to work."""
        return self._log.stat().st_size

    def start(self) -> None:
        """Return once it answers."""
        self._log.touch()
        command = [sys.executable, "-m", __name__, str(self.port), str(SLOTS), str(self._work_s), str(self._log)]
        self._stage.start(self.name, command, environment={"PYTHONPATH": str(Path(__file__).parents[2])})
        until(f"{self.name} answers", lambda: answers(self.port))


def _work(listener: socket.socket, work_s: float, log: int) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                asked = _read(connection)
                if asked:  # else somebody only looked whether it listens
                    os.write(log, b".")
                    time.sleep(work_s)
                    connection.sendall(answer(asked))
            except OSError:  # the client has given up
                pass


def _read(connection: socket.socket) -> bytes:
    """One head; nobody here sends a body."""
    connection.settimeout(10)
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    return received


def _serve(port: int, slots: int, work_s: float, log: str) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=QUEUE) as listener:
        file = os.open(log, os.O_WRONLY | os.O_APPEND)
        working = [threading.Thread(target=_work, args=(listener, work_s, file)) for _ in range(slots)]
        for thread in working:
            thread.start()
        for thread in working:
            thread.join()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
