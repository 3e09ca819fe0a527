# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The write path: check, then decide and store in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping

from peerdata import metrics
from peerdata.model import Entry, Instance, Quota
from peerdata.service import rules
from peerdata.store import entries
from peerdata.store.engine import Engine


class Publisher:
    """Sets keys of instances, once."""

    def __init__(self, store: Engine, quota: Quota, *, max_value_chars: int) -> None:
        self._store = store
        self._quota = quota
        self._max_value_chars = max_value_chars

    def check(self, meta: Mapping[str, str]) -> None:
        """Raise for keys and values that can never be published, before anybody is asked; see `rules.check_meta`."""
        rules.check_meta(meta, max_value_chars=self._max_value_chars)

    async def publish(
        self, caller: Instance, meta: Mapping[str, str], *, shared: bool, owned: Mapping[str, str], now: int
    ) -> dict[str, Entry]:
        """
        Set every key of *meta* for the calling instance, once and for good, or none of them.

        The same values and sharing again change nothing, so a guest that lost the answer can simply ask again.

        Args:
            caller: The instance, as proved by `identity`.
            meta: Without the ``from_server_`` prefix.
            shared: Visible to the whole project, or to this instance alone.
            owned: What the owner set through nova under such names, without the prefix; counts as set, unshared.
            now: UTC, whole seconds since 1970.

        Returns:
            All entries of the instance, by key, at the revision that this call made or found.

        Raises:
            MetaEmpty, KeyInvalid, ValueInvalid, ValueTooLong; KeyTaken; QuotaReached; StoreUnavailable; ServerBusy.

        Source: docs/protocol.md, "Publish".
        """
        self.check(meta)
        accepted = 0

        def decide(existing: Mapping[str, Entry], project_keys: int) -> tuple[Entry, ...]:
            nonlocal accepted
            new = rules.decide_publish(
                existing, owned, meta, shared=shared, project_keys=project_keys, quota=self._quota
            )
            accepted = len(new)
            return new

        all_entries = await self._store.write(
            lambda connection: entries.publish(connection, caller, decide, now=now), lane=caller.project_id
        )
        metrics.PUBLISHED_KEYS.inc(accepted)
        return all_entries
