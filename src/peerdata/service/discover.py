# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The read path: every answer is as new as the store, though most are made from memory.

Before a board is used, the store is asked whether anything was committed since it was last found current
(`Engine.version`, which does not wait), and if so, whether this project has moved on. Each question begins after
the reader arrived, so whatever was answered 200 before is in the answer (promise G3), through this process or any
other. Readers that arrive while a question is on its way share the next one, whatever their projects: a hundred
readers cost the store one round trip.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from peerdata import metrics
from peerdata.errors import StoreUnavailable
from peerdata.model import Changes, Entry, Instance
from peerdata.service.board import Board
from peerdata.service.memory import Memory
from peerdata.store import entries
from peerdata.store.engine import Engine


class Discovery:
    """
    The boards of the projects that are being read.

    Args:
        store: Asked before every answer.
        clock: Seconds; only differences count.
        memory: What boards hold counts there; the one unread for longest leaves, and is read anew when it is asked for.
    """

    def __init__(self, store: Engine, clock: Callable[[], float], memory: Memory) -> None:
        self._store = store
        self._clock = clock
        self._memory = memory
        self._boards: dict[str, Board] = {}
        self._waiting: dict[str, list[asyncio.Future[Board]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def read(self, project_id: str) -> Board:
        """
        The project as it is now: one snapshot that holds everything answered 200 before this call.

        Raises:
            StoreUnavailable: it cannot be told; an old board is never given instead.
        """
        if (board := self.peek(project_id)) is not None:
            return board
        return await self._ask(project_id)

    async def read_all(self, project_ids: Sequence[str]) -> dict[str, Board | Exception]:
        """Each of *project_ids* as `read` gives it, or why it cannot be told; without a task for each."""
        found: dict[str, Board | Exception] = {}
        asked = {}
        for project_id in project_ids:
            if (board := self.peek(project_id)) is not None:
                found[project_id] = board
            else:
                asked[project_id] = self._ask(project_id)
        for project_id, answer in asked.items():
            try:
                found[project_id] = await answer
            except Exception as error:
                found[project_id] = error
        return found

    def _ask(self, project_id: str) -> asyncio.Future[Board]:
        answer: asyncio.Future[Board] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(project_id, []).append(answer)
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask_while_anyone_waits())
        return answer

    def peek(self, project_id: str) -> Board | None:
        """What `read` would give, if that can be told without waiting."""
        board = self._boards.get(project_id)
        if board is None or board.checked_at is None or board.checked_at != self._store.version():
            return None
        self._memory.touch(project_id, board.size)
        return board

    def version(self) -> int | None:
        """See `Engine.version`."""
        return self._store.version()

    async def read_own(self, instance: Instance) -> dict[str, Entry]:
        """
        All entries of one instance, shared or not, by key.

        Raises:
            StoreUnavailable.
        """
        return await self._store.read(lambda connection: entries.read_instance(connection, instance))

    async def _ask_while_anyone_waits(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                try:
                    boards = await self._refresh(list(waiting))
                except Exception as error:
                    _settle(waiting, dict.fromkeys(waiting, error))
                    # Those who came meanwhile need not find out for themselves, one patience later: an answer must be
                    # new, but a failure may be old.
                    if isinstance(error, StoreUnavailable):
                        late, self._waiting = self._waiting, {}
                        _settle(late, dict.fromkeys(late, error))
                else:
                    _settle(waiting, boards)
        except Exception as defect:  # nobody is to wait for ever
            lost, self._waiting = self._waiting, {}
            _settle(lost, dict.fromkeys(lost, defect))
            raise
        finally:
            self._asking = None

    async def _refresh(self, project_ids: list[str]) -> dict[str, Board]:
        """The boards of *project_ids*, all as of a moment within this call."""
        # Before the question: a commit between the two makes the next reader ask again, for nothing at worst.
        version = self._store.version()
        held = {project_id: self._boards[project_id] for project_id in project_ids if project_id in self._boards}
        known = {project_id: board.revision for project_id, board in held.items()}
        changes = await self._store.read(lambda connection: entries.read_news(connection, project_ids, known))
        # What was held is moved on, and not what is held now: it may have made room for others meanwhile, and the
        # changes begin where it was.
        boards = {
            project_id: self._move_on(held.get(project_id), changes.get(project_id)) for project_id in project_ids
        }
        for project_id, board in boards.items():
            board.checked_at = version
            self._boards[project_id] = board
            self._memory.use(project_id, board.size, partial(self._boards.pop, project_id, None))
        self._memory.report()
        metrics.CACHED_PROJECTS.set(len(self._boards))
        return boards

    def _move_on(self, held: Board | None, changes: Changes | None) -> Board:
        """The board that was held of a project, or a new one, with *changes*, which begin at its revision."""
        now = self._clock()
        board = Board(now) if held is None else held  # one without peers is false
        if changes:
            board.apply(changes, now)
        return board

    def quiet_s(self, board: Board) -> float:
        """Seconds since this server saw the board's project change."""
        return max(0.0, self._clock() - board.changed_at)


def _settle(waiting: dict[str, list[asyncio.Future[Board]]], outcomes: Mapping[str, Board | Exception]) -> None:
    for project_id, answers in waiting.items():
        outcome = outcomes[project_id]
        for answer in answers:
            if answer.cancelled():
                continue
            if isinstance(outcome, Exception):
                answer.set_exception(copy.copy(outcome))  # each raise adds its own frames
            else:
                answer.set_result(outcome)
