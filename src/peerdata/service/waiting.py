# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Readers who wait until their project has something to tell.

A change may be made through any process or server, so the store is looked at ten times a second, for all who wait at
once, and only while somebody does. Where it can tell by itself that nothing was committed (SQLite), a look costs
microseconds; else it is one question, however many wait and however many projects they are of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from peerdata import metrics
from peerdata.service.board import Board
from peerdata.service.discover import Discovery

LOOK_S = 0.1
"""Seconds between two looks: how late a change wakes whoever waits for it, at worst."""


@dataclass(eq=False, slots=True)
class _Waiter:
    since: int
    prefix: str
    seen: int
    """The revision up to which there is nothing to tell it."""
    woken: asyncio.Future[Board]


class Waiting:
    """
    Holds readers back, each for a while.

    Args:
        discovery: Read for all who wait.
        most_s: The longest that anybody waits; 0: nobody does.
        most: How many wait at once.
        most_of_project: How many of one project.
    """

    def __init__(self, discovery: Discovery, *, most_s: float, most: int, most_of_project: int) -> None:
        self._discovery = discovery
        self._most_s = most_s
        self._most = most
        self._most_of_project = most_of_project
        self._number = 0
        self._waiters: dict[str, set[_Waiter]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._last_look: asyncio.Task[None] | None = None
        self._closed = False

    async def read(self, project_id: str, since: int | None, prefix: str, seconds: float) -> Board:
        """
        The project as it is once it has news for such a reader, or after *seconds*, or at once where nobody may wait.

        Whatever it is, it is as new as what `Discovery.read` would give now.

        Args:
            since, prefix: As for `Board.news`.

        Raises:
            StoreUnavailable: it cannot be told, also if that is so only after some waiting.
        """
        board = await self._discovery.read(project_id)
        seconds = min(seconds, self._most_s)
        if seconds <= 0 or since is None or board.news(since, prefix) or not self._has_room(project_id):
            return board
        waiter = _Waiter(since, prefix, board.revision, asyncio.get_running_loop().create_future())
        self._enter(project_id, waiter)
        try:
            async with asyncio.timeout(seconds):
                return await waiter.woken
        except TimeoutError:
            return await self._discovery.read(project_id)
        finally:
            self._leave(project_id, waiter)

    def _has_room(self, project_id: str) -> bool:
        of_project = len(self._waiters.get(project_id, ()))
        return not self._closed and self._number < self._most and of_project < self._most_of_project

    def _enter(self, project_id: str, waiter: _Waiter) -> None:
        self._waiters.setdefault(project_id, set()).add(waiter)
        self._number += 1
        metrics.WAITING.set(self._number)
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look_while_anyone_waits())

    def _leave(self, project_id: str, waiter: _Waiter) -> None:
        waiters = self._waiters[project_id]
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[project_id]
        self._number -= 1
        metrics.WAITING.set(self._number)

    async def _look_while_anyone_waits(self) -> None:
        seen: int | None = None
        try:
            while self._waiters:
                # Before the look: what is committed during it is seen by the next.
                version = self._discovery.version()
                if version is None or version != seen:
                    await self._look()
                seen = version
                await asyncio.sleep(LOOK_S)
        finally:
            self._looking = None

    async def _look(self) -> None:
        """Wake all whose project has news for them; or those for whom it cannot be told."""
        outcomes = await self._discovery.read_all(list(self._waiters))
        for project_id, board in outcomes.items():
            waiters = self._waiters.get(project_id, ())
            if isinstance(board, Exception) or self._closed:
                _wake(waiters, board)
            else:
                _wake(_whom_it_concerns(waiters, board), board)

    def close(self) -> None:
        """Let nobody wait any more, and wake everybody, as soon as the store has been asked once more."""
        self._closed = True
        self._last_look = asyncio.ensure_future(self._look())


def _whom_it_concerns(waiters: Iterable[_Waiter], board: Board) -> list[_Waiter]:
    """
    Those for whom *board* has news. What changed is looked at once for each prefix, however many wait.

    Up to the revision that a waiter has seen there was nothing for it, so only what came later counts.
    """
    found = []
    told: dict[tuple[int, str], bool] = {}
    for waiter in waiters:
        if waiter.seen == board.revision:
            continue
        asked = waiter.seen, waiter.prefix
        if (news := told.get(asked)) is None:
            news = told[asked] = bool(board.news(*asked))
        # Of removals that are forgotten by now it is not known whether they concern it.
        if news or waiter.since < board.forgotten:
            found.append(waiter)
        waiter.seen = board.revision
    return found


def _wake(waiters: Iterable[_Waiter], outcome: Board | Exception) -> None:
    for waiter in waiters:
        if waiter.woken.done():
            continue
        if isinstance(outcome, Exception):
            waiter.woken.set_exception(outcome)
        else:
            waiter.woken.set_result(outcome)
