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
from collections import OrderedDict
from collections.abc import Callable, Mapping

from peerdata import metrics
from peerdata.errors import StoreUnavailable
from peerdata.model import Changes, Entry, Instance
from peerdata.service.board import Board
from peerdata.store import entries
from peerdata.store.engine import Engine


class Discovery:
    """
    The boards of the projects that are being read.

    Args:
        store: Asked before every answer.
        clock: Seconds; only differences count.
        max_bytes: Memory for boards, by their own estimate; the one unread for longest leaves. The last read stays.
    """

    def __init__(self, store: Engine, clock: Callable[[], float], *, max_bytes: int) -> None:
        self._store = store
        self._clock = clock
        self._max_bytes = max_bytes
        self._bytes = 0
        self._boards: OrderedDict[str, Board] = OrderedDict()
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
        answer: asyncio.Future[Board] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(project_id, []).append(answer)
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask_while_anyone_waits())
        return await answer

    def peek(self, project_id: str) -> Board | None:
        """What `read` would give, if that can be told without waiting."""
        board = self._boards.get(project_id)
        if board is None or board.checked_at is None or board.checked_at != self._store.version():
            return None
        self._boards.move_to_end(project_id)
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
        finally:
            self._asking = None

    async def _refresh(self, project_ids: list[str]) -> dict[str, Board]:
        """The boards of *project_ids*, all as of a moment within this call."""
        # Before the question: a commit between the two makes the next reader ask again, for nothing at worst.
        version = self._store.version()
        held = {project_id: self._boards[project_id] for project_id in project_ids if project_id in self._boards}
        known = {project_id: board.revision for project_id, board in held.items()}
        changes = await self._store.read(lambda connection: entries.read_news(connection, project_ids, known))
        boards = {project_id: self._move_on(project_id, changes.get(project_id)) for project_id in project_ids}
        for board in boards.values():
            board.checked_at = version
        # Only now: a board that made room for another of these would miss what its changes begin from.
        self._make_room()
        return boards

    def _move_on(self, project_id: str, changes: Changes | None) -> Board:
        """The project's board, with *changes*, marked as read last."""
        now = self._clock()
        board = self._boards.pop(project_id, None)
        if board is None:
            board = Board(now)
        else:
            self._bytes -= board.size
        if changes:
            board.apply(changes, now)
        self._boards[project_id] = board
        self._bytes += board.size
        return board

    def _make_room(self) -> None:
        while self._bytes > self._max_bytes and len(self._boards) > 1:
            self._bytes -= self._boards.popitem(last=False)[1].size
        metrics.CACHED_PROJECTS.set(len(self._boards))
        metrics.CACHED_BYTES.set(self._bytes)

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
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
