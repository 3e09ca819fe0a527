# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Several processes that answer, under one that starts them, starts again those that die, and hands signals on.

Cotyledon does that, as it does under oslo.service for nova. What is here is what the workers share: the listeners,
which the first process opens and they inherit, and the files in which each of them counts.
"""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import cotyledon
import uvloop
from prometheus_client import values

from peerdata.errors import PeerdataError
from peerdata.settings import Settings

if TYPE_CHECKING:
    from peerdata.app import Listeners, Service

LOG = logging.getLogger(__name__)

SPARE_S = 2
"""How much longer than its own limits allow a worker may take to end, before it is cut off."""

_number = "none"
"""Of the worker that this process is."""


def share_metrics() -> tempfile.TemporaryDirectory[str]:
    """
    Let workers count together; to be called before anything that counts is imported.

    Each is known by its number, so that one which was started again goes on where the one before it ended.

    Returns:
        The directory of their files, which may go when the last worker has.
    """
    assert "peerdata.metrics" not in sys.modules
    directory = tempfile.TemporaryDirectory(prefix="peerdata-metrics-", ignore_cleanup_errors=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory.name
    values.ValueClass = values.MultiProcessValue(lambda: _number)  # type: ignore[no-untyped-call]
    return directory


def supervise(settings: Settings, listeners: Listeners, make_service: Callable[[], Service]) -> None:
    """
    Run as many workers as *settings* say, until SIGTERM; exits the process then.

    Args:
        settings: Of all of them.
        listeners: From which all of them accept.
        make_service: Called in each of them, once it is a process of its own.
    """
    ending_s = settings.instance_api.graceful_shutdown_timeout + settings.database.busy_timeout + SPARE_S
    manager = cotyledon.ServiceManager(
        graceful_shutdown_timeout=math.ceil(ending_s) + 1,
        mp_context=multiprocessing.get_context("fork"),  # so that they inherit what is open
    )
    manager.register_hooks(on_terminate=listeners.close)
    manager.add(_Worker, settings.instance_api.workers, args=(make_service, math.ceil(ending_s)))
    manager.run()


class _Worker(cotyledon.Service):
    """
    One process that answers. Cotyledon keeps its main thread for signals, and calls each method in another.

    Args:
        worker_id: 0 and so on.
        make_service: Makes what it runs.
        ending_s: Within how many seconds it must end.
    """

    name = "instance_api"

    def __init__(self, worker_id: int, make_service: Callable[[], Service], ending_s: int) -> None:
        global _number
        super().__init__(worker_id)  # type: ignore[arg-type]  # cotyledon has a type of its own for it
        _number = str(worker_id)
        self.graceful_shutdown_timeout = ending_s  # type: ignore[misc]
        self._service = make_service()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_loop = threading.Event()
        self._ended = threading.Event()

    def run(self) -> None:
        """Answer until `terminate`. Who cannot start says why, ends, and is started again."""
        try:
            uvloop.run(self._run())
        except PeerdataError as error:
            LOG.error("Worker %s cannot start: %s", _number, error.message)
            sys.exit(1)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._has_loop.set()
        try:
            await self._service.run()
        finally:
            self._ended.set()

    def terminate(self) -> None:
        """Let running requests finish."""
        self._in_loop(self._service.stop)
        self._ended.wait()

    def reload(self) -> None:
        """SIGHUP."""
        self._in_loop(self._service.reload)

    def _in_loop(self, action: Callable[[], None]) -> None:
        self._has_loop.wait()
        assert self._loop is not None
        self._loop.call_soon_threadsafe(action)
