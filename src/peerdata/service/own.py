# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The entries of one instance, for its own metadata: as new as the store, from memory where nothing was committed since.

The rule is that of boards (`discover`): what was read is used again only while `Engine.version` is what it was before
the question, and each question begins after whoever asked. So an answer holds everything that was answered 200 before
(promise G3), through any server. Instances that ask while a question is under way share the next one.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from peerdata.errors import StoreUnavailable
from peerdata.model import Entry, Instance
from peerdata.service.memory import Memory
from peerdata.store import entries
from peerdata.store.engine import Engine

MAX_TOGETHER = 256
"""Instances of one statement, as in a group of writes; SQLite's expressions are at most 1000 deep."""

# Measured (tracemalloc): what an instance and one of its entries hold beside their text.
_INSTANCE_BYTES = 850
_ENTRY_BYTES = 210


class _Kept(NamedTuple):
    own: Mapping[str, Entry]
    checked_at: int
    """The store's version at which this was all."""
    size: int


class OwnEntries:
    """
    What instances read of themselves.

    Args:
        store: Asked before every answer.
        memory: What is kept counts there; what was unused for longest leaves, and is read anew.
    """

    def __init__(self, store: Engine, memory: Memory) -> None:
        self._store = store
        self._memory = memory
        self._kept: dict[Instance, _Kept] = {}
        self._waiting: dict[Instance, list[asyncio.Future[Mapping[str, Entry]]]] = {}
        self._asking: asyncio.Task[None] | None = None

    def peek(self, instance: Instance) -> Mapping[str, Entry] | None:
        """What `read` would give, if that can be told without waiting."""
        kept = self._kept.get(instance)
        if kept is None or kept.checked_at != self._store.version():
            return None
        self._memory.touch(instance, kept.size)
        return kept.own

    async def read(self, instance: Instance) -> Mapping[str, Entry]:
        """
        All entries of *instance* as they are now, shared or not, by key in alphabetical order; not to be changed.

        Raises:
            StoreUnavailable: it cannot be told; old ones are never given instead.
        """
        if (own := self.peek(instance)) is not None:
            return own
        answer: asyncio.Future[Mapping[str, Entry]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(instance, []).append(answer)
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask_while_anyone_waits())
        return await answer

    async def _ask_while_anyone_waits(self) -> None:
        try:
            while self._waiting:
                together = list(self._waiting)[:MAX_TOGETHER]
                waiting = {instance: self._waiting.pop(instance) for instance in together}
                # Before the question: a commit between the two makes the next reader ask again, for nothing at worst.
                version = self._store.version()
                try:
                    found = await self._store.read(partial(entries.read_instances, instances=together))
                except Exception as error:
                    _settle(waiting, dict.fromkeys(waiting, error))
                    if isinstance(error, StoreUnavailable):  # those who came meanwhile need not wait as long again
                        late, self._waiting = self._waiting, {}
                        _settle(late, dict.fromkeys(late, error))
                    continue
                _settle(waiting, found)
                for instance, own in found.items():
                    self._keep(instance, own, version)
                self._memory.report()
        except Exception as defect:  # nobody is to wait for ever
            lost, self._waiting = self._waiting, {}
            _settle(lost, dict.fromkeys(lost, defect))
            raise
        finally:
            self._asking = None

    def _keep(self, instance: Instance, own: Mapping[str, Entry], version: int | None) -> None:
        if version is None:
            return  # the store has to be asked each time
        self._kept[instance] = kept = _Kept(own, version, _size(own))
        self._memory.use(instance, kept.size, partial(self._kept.pop, instance, None))


def _size(own: Mapping[str, Entry]) -> int:
    """Bytes of memory, about, of an instance with these entries."""
    return _INSTANCE_BYTES + sum(_ENTRY_BYTES + entry.bytes for entry in own.values())


def _settle(
    waiting: Mapping[Instance, list[asyncio.Future[Mapping[str, Entry]]]],
    outcomes: Mapping[Instance, Mapping[str, Entry] | Exception],
) -> None:
    for instance, answers in waiting.items():
        outcome = outcomes[instance]
        for answer in answers:
            if answer.cancelled():
                continue
            if isinstance(outcome, Exception):
                answer.set_exception(copy.copy(outcome))  # each raise adds its own frames
            else:
                answer.set_result(outcome)
