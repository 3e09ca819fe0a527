# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Tells whoever started the service how it is: systemd's protocol of datagrams, sd_notify(3).

Where nobody asked for it (no ``NOTIFY_SOCKET``), every call does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Protocol

LOG = logging.getLogger(__name__)


class Observer(Protocol):
    """Who wants to know how one process is: the service manager, or in a worker the process above it."""

    def ready(self) -> None:
        """It answers; also: it has finished to reload."""

    def reloading(self) -> None:
        """It reads its settings again."""

    def stopping(self) -> None:
        """It is about to end."""

    async def keep_alive(self) -> None:
        """Say again and again that the event loop runs, until cancelled; returns at once where nobody wants that."""


class Notifier:
    """
    The service manager, as an `Observer`.

    Args:
        address: Of its socket: a path, or ``@`` and a name in the abstract namespace. Empty: there is none.
        watchdog_s: Within how many seconds it wants a sign of life; None: never.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else None
        self._failed = False

    @classmethod
    def take(cls, environment: MutableMapping[str, str] | None = None) -> Notifier:
        """
        The one that *environment* (by default this process') names.

        Its variables are taken out, so that no process below takes them for its own; cotyledon would, and say that the
        service is ready before a worker listens.
        """
        variables = os.environ if environment is None else environment
        address = variables.pop("NOTIFY_SOCKET", "")
        interval_us = variables.pop("WATCHDOG_USEC", "")
        pid = variables.pop("WATCHDOG_PID", "")
        wanted = interval_us.isdigit() and int(interval_us) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(interval_us) / 1e6 if wanted else None)

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        # The time is for Type=notify-reload, which takes older messages for those of another reload.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """One sign of life."""
        self._send("WATCHDOG=1")

    async def keep_alive(self) -> None:
        while self.watchdog_s:
            self.alive()
            await asyncio.sleep(self.watchdog_s / 2)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._failed:
                LOG.warning("The service manager cannot be told '%s': %s", message.partition("\n")[0], error)
            self._failed = True
        else:
            self._failed = False
