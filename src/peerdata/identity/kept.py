# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Nova's answers on who is who, written to the store behind the calls, so that every worker and server, and the next
start, can serve lists while nova is away.

No call waits for a write, and nothing is read unless nova failed. A store that is away costs nothing but this.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable

from peerdata.errors import PeerdataError
from peerdata.model import Instance
from peerdata.store import proofs
from peerdata.store.engine import Engine
from peerdata.store.proofs import Finding

LOG = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
"""How long an answer of nova's waits for others; all go in one transaction. As much of them is lost with a kill -9."""

RETRY_S = 10.0
"""How long a store that failed is left alone."""

READ_PATIENCE_S = 1.0
"""How long a caller waits to be found in the store."""

CLOSE_PATIENCE_S = 1.0
"""How long the end of the process waits for the last write."""

REFRESHES = 24
"""
How often a proof is written anew in ``stale_proof_lifetime``, at most. With the default of a day a polling instance
costs one row an hour, not one each ``proof_lifetime``; and lists are served for at least 23 hours after nova failed.
"""

PRUNE_EVERY_S = 3600.0

MAX_WAITING = 10_000
"""Answers that wait for a store that is away; of more, the oldest are dropped. Each costs about 400 bytes."""


class KeptProofs:
    """
    The proofs in the store.

    Args:
        store: Where they are kept.
        now: UTC, seconds since 1970: other servers read what is written.
        lifetime_s: When one is too old to be of use, and is removed.
    """

    def __init__(self, store: Engine, now: Callable[[], float], *, lifetime_s: float) -> None:
        self._store = store
        self._now = now
        self._lifetime_s = lifetime_s
        self._refresh_s = lifetime_s / REFRESHES
        self._waiting: OrderedDict[Instance, Finding] = OrderedDict()
        """The last answer on each, until it is in the store or is known to be there."""
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._pruned_at = -math.inf

    def note(self, instance: Instance, *, known: bool) -> None:
        """Remember what nova has just answered: that it knows *instance* in that project, or not (404, 403)."""
        self._waiting.pop(instance, None)
        self._waiting[instance] = Finding(instance, known, int(self._now()))
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
        self._write_in(WRITE_EVERY_S)

    async def find(self, instance: Instance) -> tuple[bool, float] | None:
        """
        Nova's last answer on *instance*, to any server: whether it knows it in that project, and the answer's age in s.

        None where nothing is kept, or what is kept is too old, or the store does not tell.
        """
        finding = self._waiting.get(instance)
        if finding is None:
            try:
                async with asyncio.timeout(READ_PATIENCE_S):
                    rows = await self._store.read(lambda connection: proofs.read(connection, [instance.uuid]))
            except (PeerdataError, TimeoutError) as error:
                LOG.info("The store did not tell whether nova knows an instance: %s", str(error) or "it is busy")
                return None
            row = rows.get(instance.uuid)
            # Nova may have answered meanwhile.
            finding = self._waiting.get(instance) or (row.finding() if row else None)
        if finding is None or finding.instance != instance:
            return None
        # Servers' clocks differ a little; one that is far ahead must not make a proof last for ever.
        age_s = self._now() - finding.at
        return (finding.known, max(0.0, age_s)) if -self._refresh_s <= age_s < self._lifetime_s else None

    def _write_in(self, delay_s: float) -> None:
        if self._timer is None and (self._writing is None or self._writing.done()):
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._writing = asyncio.ensure_future(self._write_all())
        self._writing.add_done_callback(self._wrote)

    def _wrote(self, writing: asyncio.Task[None]) -> None:
        if writing.cancelled():
            return
        if error := writing.exception():
            if not isinstance(error, PeerdataError):
                LOG.error("What nova answered on instances could not be kept", exc_info=error)
            self._write_in(RETRY_S)
        elif self._waiting:
            self._write_in(WRITE_EVERY_S)

    async def _write_all(self) -> None:
        """Write what is news, in one transaction; most of what is noted is in the store already."""
        findings = list(self._waiting.values())
        uuids = [finding.instance.uuid for finding in findings]
        kept = await self._store.read(lambda connection: proofs.read(connection, uuids))
        if any(proofs.changed(kept, findings, refresh_s=self._refresh_s)):
            await self._store.write(lambda connection: proofs.record(connection, findings, refresh_s=self._refresh_s))
        for finding in findings:
            if self._waiting.get(finding.instance) is finding:
                del self._waiting[finding.instance]
        await self._prune()

    async def _prune(self) -> None:
        now = self._now()
        if now - self._pruned_at >= PRUNE_EVERY_S:
            before = int(now - self._lifetime_s)
            await self._store.write(lambda connection: proofs.remove_old(connection, before=before))
            self._pruned_at = now

    async def close(self) -> None:
        """Write what waits, if the store is quick."""
        if self._timer:
            self._timer.cancel()
        if self._writing:
            self._writing.remove_done_callback(self._wrote)
            self._writing.cancel()
        if self._waiting:
            try:
                async with asyncio.timeout(CLOSE_PATIENCE_S):
                    await self._write_all()
            except (PeerdataError, TimeoutError) as error:
                LOG.info("What nova answered last could not be kept: %s", str(error) or "the store is busy")
