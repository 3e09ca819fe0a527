# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What is found out before the service starts: whether the settings can be used, the store is there, and files suffice.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from peerdata.app import build
from peerdata.capacity import connections_within, files_needed
from peerdata.errors import StoreUnavailable
from peerdata.settings import Settings
from peerdata.store import migrate, opening
from peerdata.tls import server_tls

LOG = logging.getLogger(__name__)


def prepare(settings: Settings) -> bool:
    """
    See that the store can be used, and that the TLS listeners could be, before anything is started.

    Returns:
        Whether the store is there. Where it is not, the service starts without it: see `serving.Service`.

    Raises:
        SettingsInvalid: it cannot be used, now or later.
    """
    if settings.instance_api.listen_tls:
        server_tls(settings.instance_api)
    try:
        opening.try_once(lambda: prepare_store(settings))
    except StoreUnavailable as error:
        LOG.warning(
            "The store cannot be used yet: %s. The service starts without it: what is nova's is passed on, all else is "
            "answered 503 until it is there",
            error.message,
        )
        return False
    return True


def prepare_store(settings: Settings) -> None:
    """Make the store ready, as `migrate.prepare` does, and raises."""
    migrate.prepare(settings.database.connection, busy_timeout_s=settings.database.busy_timeout)


def warn_of_few_files(settings: Settings, most: int) -> None:
    """Say so where a process may have *most* descriptors and that is less than it may need."""
    needed = files_needed(settings)
    if most < needed:
        LOG.warning(
            "This process may open %d files (RLIMIT_NOFILE), and needs %d for [instance_api] max_connections = %d, "
            "nova and the store: it serves %d connections at once. Set LimitNOFILE=%d or more in its systemd unit "
            "(elsewhere: ulimit -Hn), or lower max_connections",
            most,
            needed,
            settings.instance_api.max_connections,
            connections_within(settings, most),
            needed,
        )


def warn_of_old_settings(settings: Settings) -> None:
    """Say which settings have no effect any more."""
    if settings.instance_api.graceful_shutdown_timeout is not None:
        LOG.warning(
            "[instance_api] graceful_shutdown_timeout has no effect any more: requests that were begun before SIGTERM "
            "have [nova] pass_through_timeout to finish. Take it out of the settings"
        )


def rehearse(settings: Settings) -> None:
    """
    Build all parts and let go of them, so that what keeps the service from starting is known before its workers are.

    Raises:
        SettingsInvalid: what it is.
    """

    async def build_and_close() -> None:
        async with AsyncExitStack() as stack:
            await build(settings, stack, store_ready=False)

    asyncio.run(build_and_close())
