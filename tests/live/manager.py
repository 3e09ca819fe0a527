"""What systemd is to the service: a socket that it is told things on, and the environment that names it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


class Manager:
    """
    Listens from the beginning; `messages` is what it was told so far.

    Args:
        address: A path, or ``@`` and a name in the abstract namespace.
        watchdog_s: Within how many seconds it wants a sign of life; None: it wants none.
    """

    def __init__(self, address: str, *, watchdog_s: float | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)
        self._told: list[str] = []
        self.environment = {"NOTIFY_SOCKET": address}
        if watchdog_s:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))

    @property
    def messages(self) -> list[str]:
        """All of them, in order."""
        while True:
            try:
                self._told.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self._told

    @property
    def words(self) -> list[str]:
        """What the messages are about, signs of life left out."""
        return [message.partition("=")[0] for message in self.messages if message != "WATCHDOG=1"]

    @property
    def pings(self) -> int:
        """How many signs of life there were."""
        return self.messages.count("WATCHDOG=1")

    def forget(self) -> None:
        """Begin anew."""
        self.messages.clear()

    def wait(self, true: Callable[[], object], within_s: float = 15) -> None:
        """Return once it is *true*."""
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.02)

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
