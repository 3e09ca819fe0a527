# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Why an instance was refused, to be read again: neutron's old agents replace the body of an error by a page of their own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from peerdata.errors import PeerdataError
from peerdata.model import Instance, Refusal
from peerdata.repeats import Repeats
from peerdata.store import refusals
from peerdata.store.engine import Engine

LOG = logging.getLogger(__name__)


PATIENCE_S = 1.0
"""How long a refusal waits to be kept before it is answered."""

WINDOW_S = 5.0
"""In so many seconds one instance has at most `AT_ONCE` refusals written at once, and the last of all others late."""

AT_ONCE = 4
"""As many as a start script meets that goes wrong; with the late one, an instance costs one write a second."""


AT_ONCE_OF_PROJECT = 256
"""The same for all instances of a project together, however many of them are refused."""

LATE_AT_ONCE = 16
"""Late ones that wait for the store at a time. They share transactions, and leave the places to those that publish."""


class Refusals:
    """
    The last refusal of each instance.

    Whoever is refused again and again costs the store no more than a write a second: the first few of a window are
    written at once, so that any server can tell them; of the others, and of those for which the store had no time, the
    last, when the window ends. Until then it is told from the memory of the server that made it. A project with many
    such instances has a bound of its own.
    """

    def __init__(self, store: Engine) -> None:
        self._store = store
        self._unkept = Repeats(LOG, time.monotonic)
        self._numbers: dict[Instance, int] = {}
        """How many each instance has had in this window."""
        self._of_project: dict[str, int] = {}
        """How many of each project were written at once in this window."""
        self._unwritten: dict[Instance, Refusal] = {}
        """The last of each instance, until it is in the store."""
        self._late: dict[Instance, Refusal] = {}
        """Those of them that are written when the window ends."""
        self._window: asyncio.TimerHandle | None = None
        self._writing_late: asyncio.Task[None] | None = None

    def is_one_of_many(self, instance: Instance) -> bool:
        """Whether so many refusals of the instance, or of its project, came lately that one more is no news."""
        return (
            self._numbers.get(instance, 0) >= AT_ONCE
            or self._of_project.get(instance.project_id, 0) >= AT_ONCE_OF_PROJECT
        )

    async def remember(self, instance: Instance, error: Mapping[str, object], call: str, *, now: int) -> None:
        """Keep what is about to be answered. A store that cannot, or not soon, must not make a refusal worse."""
        if self._window is None:
            self._window = asyncio.get_running_loop().call_later(WINDOW_S, self._end_window)
        refusal = Refusal(error, call, now)
        self._unwritten[instance] = refusal
        late = self.is_one_of_many(instance)
        self._numbers[instance] = self._numbers.get(instance, 0) + 1
        if not late:
            self._of_project[instance.project_id] = self._of_project.get(instance.project_id, 0) + 1
            late = not await self._write(instance, refusal)
        if late and self._unwritten.get(instance) is refusal:
            self._late[instance] = refusal

    async def _write(self, instance: Instance, refusal: Refusal) -> bool:
        """Whether *refusal* is kept now."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._store.write_together(refusals.remember_all, (instance, refusal), lane=instance.project_id)
        except (PeerdataError, TimeoutError) as failure:
            reason = str(failure) or "the store is busy"
            self._unkept.tell(reason, f"A refusal could not be kept: {reason}", logging.INFO)
            return False
        self._forget(instance, refusal)
        return True

    def _forget(self, instance: Instance, refusal: Refusal) -> None:
        """It is kept, or cannot be; unless there is a later one by now."""
        if self._unwritten.get(instance) is refusal:
            del self._unwritten[instance]

    def _end_window(self) -> None:
        self._window = None
        self._numbers.clear()
        self._of_project.clear()
        if self._writing_late and not self._writing_late.done():
            self._window = asyncio.get_running_loop().call_later(WINDOW_S, self._end_window)
        elif self._late:
            late, self._late = self._late, {}
            self._writing_late = asyncio.ensure_future(self._write_late(late))

    async def _write_late(self, late: dict[Instance, Refusal]) -> None:
        """A few at a time, so that no publish is turned away for their sake; none after one that failed."""
        waiting = list(late.items())
        kept = True
        for start in range(0, len(waiting), LATE_AT_ONCE):
            # Of some there is a later one by now.
            some = [one for one in waiting[start : start + LATE_AT_ONCE] if self._unwritten.get(one[0]) is one[1]]
            if kept:
                kept = all(await asyncio.gather(*(self._write(*one) for one in some)))
            for one in some:
                self._forget(*one)

    async def close(self) -> None:
        """Write what is left."""
        if self._window:
            self._window.cancel()
        if self._writing_late:
            await self._writing_late
        await self._write_late(self._late)

    async def last(self, instance: Instance, *, now: int) -> Refusal | None:
        """
        The last one, unless it is more than a day old.

        Raises:
            StoreUnavailable.
        """
        if unwritten := self._unwritten.get(instance):
            return unwritten
        return await self._store.read(lambda connection: refusals.read(connection, instance, now=now))
