# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Why an instance was refused, to be read again: neutron's old agents replace the body of an error by a page of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from peerdata.errors import PeerdataError
from peerdata.model import Instance, Refusal
from peerdata.store import refusals
from peerdata.store.engine import Engine

LOG = logging.getLogger(__name__)


PATIENCE_S = 1.0
"""How long a refusal waits to be kept before it is answered."""


class Refusals:
    """The last refusal of each instance."""

    def __init__(self, store: Engine) -> None:
        self._store = store

    async def remember(self, instance: Instance, error: Mapping[str, object], call: str, *, now: int) -> None:
        """Keep what is about to be answered. A store that cannot, or not soon, must not make a refusal worse."""
        refusal = Refusal(error, call, now)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._store.write(
                    lambda connection: refusals.remember(connection, instance, refusal), lane=instance.project_id
                )
        except (PeerdataError, TimeoutError) as failure:
            LOG.info("A refusal could not be kept: %s", failure or "the store is busy")

    async def last(self, instance: Instance, *, now: int) -> Refusal | None:
        """
        The last one, unless it is more than a day old.

        Raises:
            StoreUnavailable.
        """
        return await self._store.read(lambda connection: refusals.read(connection, instance, now=now))
