# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The write path: check, then decide and store in one transaction.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from peerdata import metrics
from peerdata.errors import KeyTaken, PeerdataError, QuotaReached
from peerdata.model import Entry, Instance, Quota, Usage
from peerdata.service import rules
from peerdata.store import entries
from peerdata.store.engine import Engine
from peerdata.store.entries import Offer

IDLE_MAX = 16_384
"""Instances of which it is remembered that their last call changed nothing; 3 MB."""


class Publisher:
    """Sets keys of instances, once."""

    def __init__(self, store: Engine, quota: Quota, *, max_value_chars: int) -> None:
        self._store = store
        self._quota = quota
        self._max_value_chars = max_value_chars
        self._idle: OrderedDict[Instance, None] = OrderedDict()
        """Instances whose last call changed nothing, the latest last."""

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
            meta: Without the ``from_server_`` prefix; has passed `check`.
            shared: Visible to the whole project, or to this instance alone.
            owned: What the owner set through nova under such names, without the prefix; counts as set, unshared.
            now: UTC, whole seconds since 1970.

        Returns:
            All entries of the instance, by key, at the revision that this call made or found.

        Raises:
            KeyTaken; QuotaReached; StoreUnavailable; ServerBusy.

        Source: docs/protocol.md, "Publish".
        """
        offer = self.offer(caller, meta, shared=shared, owned=owned, now=now)
        try:
            found = await self._store.write_together(
                entries.publish_all, offer, lane=caller.project_id, look=self.look(offer)
            )
        except (KeyTaken, QuotaReached):
            self._note(offer, idle=True)
            raise
        self._note(offer)
        return found

    def look(self, offer: Offer) -> Callable[..., list[dict[str, Entry] | PeerdataError | None]] | None:
        """
        What can settle an offer that changes nothing without the store's lock, for `Engine.write_together`.

        Only where the last call of the instance changed nothing: a call with something new, which is the usual one,
        must not pay for a look. That is all that the memory of that call decides.
        """
        return entries.judge_all if offer.instance in self._idle else None

    @contextmanager
    def settling(self, offer: Offer) -> Iterator[None]:
        """Inside, *offer* is decided and stored by another. How that ends is counted, and remembered for `look`."""
        try:
            yield
        except (KeyTaken, QuotaReached):
            self._note(offer, idle=True)
            raise
        self._note(offer)

    def _note(self, offer: Offer, *, idle: bool = False) -> None:
        decision = offer.decide
        assert isinstance(decision, _Decision)
        if not idle and decision.accepted:
            metrics.PUBLISHED_KEYS.inc(decision.accepted)
            if self._idle:
                self._idle.pop(offer.instance, None)
            return
        self._idle[offer.instance] = None
        self._idle.move_to_end(offer.instance)
        if len(self._idle) > IDLE_MAX:
            self._idle.popitem(last=False)

    def offer(
        self, caller: Instance, meta: Mapping[str, str], *, shared: bool, owned: Mapping[str, str], now: int
    ) -> Offer:
        """What `publish` hands to the store."""
        return Offer(caller, _Decision(meta, shared, owned, self._quota), now)


@dataclass(slots=True)
class _Decision:
    """`rules.decide_publish` on one offer, as the store asks for it; it may have to ask more than once."""

    meta: Mapping[str, str]
    shared: bool
    owned: Mapping[str, str]
    quota: Quota
    accepted: int = 0
    """Keys that were new when it was asked last."""

    def __call__(self, existing: Mapping[str, Entry], project: Usage) -> tuple[Entry, ...]:
        new = rules.decide_publish(
            existing, self.owned, self.meta, shared=self.shared, project=project, quota=self.quota
        )
        self.accepted = len(new)
        return new
