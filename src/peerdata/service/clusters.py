# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Clusters that form themselves: each call that changes something is one transaction, decided by `verdict`; and the
question whether a founder whom the others wait for still exists.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext

from peerdata import metrics
from peerdata.errors import PeerdataError, StoreUnavailable
from peerdata.model import Cluster, ClusterPlan, Instance
from peerdata.repeats import Repeats
from peerdata.service import verdict
from peerdata.service.history import History, NameOf
from peerdata.service.publish import Publisher
from peerdata.service.rolls import Rolls
from peerdata.store import clusters, entries
from peerdata.store.clusters import Roll, Room
from peerdata.store.engine import Engine

LOG = logging.getLogger(__name__)

ASK_AGAIN_S = 5.0
"""Seconds before nova is asked of the same instance again, by this process."""

QUESTIONS = 64
"""Instances of whom nova is asked at once."""

FOUNDERS_S = 2.0
"""How long a founder is kept waiting for what nova says of those it founds with; nobody else waits for that."""

COUNT_AGAIN_S = 10.0
"""Seconds before clusters are counted again, by this process; what the store does then grows with their number."""

COUNT_PATIENCE_S = 1.0
"""Seconds for which `/metrics` waits for that."""

IsGone = Callable[[Instance], Awaitable[bool]]
"""Whether an instance is known not to exist any more; raises, or False, where that cannot be told."""


class Clusters:
    """
    The rolls, and who bootstraps.

    Args:
        clock: Seconds; only differences count.
        room: How many there may be.
        name_of: What an instance is called, for the log.
    """

    def __init__(
        self,
        store: Engine,
        rolls: Rolls,
        publisher: Publisher,
        is_gone: IsGone,
        clock: Callable[[], float],
        *,
        room: Room,
        name_of: NameOf = lambda _: "",
    ) -> None:
        self._store = store
        self._rolls = rolls
        self._publisher = publisher
        self._is_gone = is_gone
        self._clock = clock
        self._room = room
        self._history = History(name_of)
        self._unanswered = Repeats(LOG, clock)
        self._count_again_at = -math.inf
        self._asked_at: dict[Instance, float] = {}
        self._questions: dict[Instance, asyncio.Task[None]] = {}

    async def read(self, project_id: str, name: str) -> Roll:
        """
        The cluster as it is.

        Raises:
            StoreUnavailable.
        """
        return await self._read(project_id, name)

    async def _read(self, project_id: str, name: str) -> Roll:
        roll = await self._rolls.read(project_id, name)
        self._history.see(project_id, name, roll.cluster)
        return roll

    async def count(self) -> None:
        """
        Bring the metric of how many there are up to date: one statement, at most once in `COUNT_AGAIN_S`.

        A store that is away, or takes longer than `COUNT_PATIENCE_S`, leaves the last numbers.
        """
        if self._clock() < self._count_again_at:
            return
        self._count_again_at = self._clock() + COUNT_AGAIN_S
        try:
            async with asyncio.timeout(COUNT_PATIENCE_S):
                forming, formed = await self._store.read(clusters.count)
        except (StoreUnavailable, TimeoutError):
            return
        metrics.CLUSTERS.labels("forming").set(forming)
        metrics.CLUSTERS.labels("formed").set(formed)

    async def repeat(self, caller: Instance, name: str, plan: ClusterPlan, *, meta: Mapping[str, str]) -> Roll | None:
        """
        What `enter` would answer, if it would change nothing; None: it would, or its keys may be refused.

        Most calls are of this kind, from members that wait, so they take no lock and write nothing.

        Raises:
            ClusterTaken; StoreUnavailable.
        """
        roll = await self._read(caller.project_id, name)
        there = roll.cluster
        if there is None or verdict.enter(there, plan, caller.uuid) is not there:
            return None
        if not meta.items() <= roll.metas.get(caller.uuid, {}).items():
            return None
        waited = await self._ask_of_those_awaited(there, caller)
        return await self._read(caller.project_id, name) if waited else roll

    async def enter(
        self,
        caller: Instance,
        name: str,
        plan: ClusterPlan,
        *,
        meta: Mapping[str, str],
        owned: Mapping[str, str],
        now: int,
    ) -> Roll:
        """
        Put the caller on the roll, and publish *meta* with it, both or neither. A repeat changes nothing.

        Args:
            plan: What the caller says of the cluster.
            meta: As for `Publisher.publish`, shared; may be empty.
            owned: As for `Publisher.publish`.
            now: UTC, whole seconds since 1970.

        Raises:
            ClusterTaken; QuotaReached; what `Publisher.publish` raises.
        """
        offer = self._publisher.offer(caller, meta, shared=True, owned=owned, now=now) if meta else None

        def decide(cluster: Cluster | None) -> Cluster:
            return verdict.enter(cluster or verdict.begin(plan), plan, caller.uuid)

        with (
            self._publisher.settling(offer) if offer else nullcontext(),
            self._history.telling(caller, name, decide) as decision,
        ):
            cluster = await self._store.write(
                lambda connection: clusters.change(
                    connection, caller.project_id, name, decision, offer=offer, entering=caller, room=self._room
                ),
                lane=caller.project_id,
                look=entries.refuse(offer) if offer and self._publisher.look(offer) else None,
            )
        assert cluster is not None
        await self._ask_of_those_awaited(cluster, caller)
        return await self._read(caller.project_id, name)  # shared with all who enter at the same time

    async def confirm(self, caller: Instance, name: str, term: int) -> Roll:
        """
        The caller, a founder, says that the cluster stands. A repeat changes nothing.

        Of the other founders nova is asked once more, so that no cluster is formed with one that was deleted; where
        nova keeps silent, it is.

        Raises:
            NotFounder; StoreUnavailable; ServerBusy.
        """
        roll = await self._read(caller.project_id, name)
        there = roll.cluster
        # A refusal, and a repeat that changes nothing, need no lock: the roll is as it is now.
        if there is not None and verdict.confirm(there, caller.uuid, term) == there:
            return roll
        if there and _founds_with_others(there, caller):
            await self._ask_of_those_awaited(there, caller, anew=True)

        def decide(cluster: Cluster | None) -> Cluster:
            return verdict.confirm(cluster, caller.uuid, term)

        with self._history.telling(caller, name, decide) as decision:
            await self._store.write(
                lambda connection: clusters.change(connection, caller.project_id, name, decision),
                lane=caller.project_id,
            )
        return await self._read(caller.project_id, name)

    async def _ask_of_those_awaited(self, cluster: Cluster, caller: Instance, *, anew: bool = False) -> bool:
        """
        Find out whether they still exist; the caller's next call sees what came of it.

        But who founds with others waits for it, for a while: what it begins is void if one of them is gone.

        Args:
            anew: Also of those of whom nova was asked a moment ago.

        Returns:
            Whether it has waited, so that the cluster may be another by now.
        """
        open_questions = []
        now = self._clock()
        for member in verdict.awaited(cluster):
            suspect = Instance(member.uuid, caller.project_id)
            asked_at = self._asked_at.get(suspect)
            recently = asked_at is not None and now - asked_at < ASK_AGAIN_S and not anew
            if (question := self._questions.get(suspect)) is not None:
                open_questions.append(question)
                continue
            if suspect == caller or recently or len(self._questions) >= QUESTIONS:
                continue
            self._asked_at = {one: at for one, at in self._asked_at.items() if now - at < ASK_AGAIN_S}
            self._asked_at[suspect] = now
            self._questions[suspect] = task = asyncio.ensure_future(self._take_out_if_gone(suspect))
            open_questions.append(task)
        if not (open_questions and _founds_with_others(cluster, caller)):
            return False
        await asyncio.wait(open_questions, timeout=FOUNDERS_S)
        return True

    async def _take_out_if_gone(self, suspect: Instance) -> None:
        try:
            if not await self._is_gone(suspect):
                return
            with self._history.deciding(suspect.project_id):
                departures = await self._store.write(
                    lambda connection: clusters.leave_all(connection, suspect, verdict.leave), lane=suspect.project_id
                )
                self._history.tell_departures(suspect, departures)
            metrics.MEMBERS_GONE.inc(len(departures))
        except PeerdataError as error:
            line = f"It cannot be told whether instance {suspect.uuid} still exists: {error.message}"
            self._unanswered.tell(error.code, line, logging.INFO)
        finally:
            del self._questions[suspect]

    async def close(self) -> None:
        """Ask nothing more."""
        questions = list(self._questions.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)


def _founds_with_others(cluster: Cluster, caller: Instance) -> bool:
    member = cluster.member(caller.uuid)
    return bool(member and member.founder and not cluster.formed and len(cluster.founders) > 1)
