# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.torture.broken`: the command `peerdata` with one care left out, which the checker must notice.

PEERDATA_TORTURE_WITHOUT says which:

- ``asking``: a board that was read once is shown for half a second without asking the store whether it is still new;
- ``sync-wait``: a Galera node is not told to wait for what the others have committed.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from pymysql.cursors import Cursor  # type: ignore[import-untyped]

from peerdata.service.board import Board
from peerdata.service.discover import Discovery

from .served import serve

WITHOUT = "PEERDATA_TORTURE_WITHOUT"

STALE_S = 0.5


def _leave_out_asking() -> None:
    refreshed: dict[int, float] = {}
    move_on = Discovery._move_on

    def note(self: Discovery, held: Board | None, changes: Any) -> Board:
        board = move_on(self, held, changes)
        refreshed[id(board)] = time.monotonic()
        return board

    def peek(self: Discovery, project_id: str) -> Board | None:
        board = self._boards.get(project_id)
        return board if board and time.monotonic() - refreshed.get(id(board), 0.0) < STALE_S else None

    Discovery._move_on = note  # type: ignore[method-assign]
    Discovery.peek = peek  # type: ignore[method-assign]


def _leave_out_sync_wait() -> None:
    execute = Cursor.execute

    def careless(self: Cursor, query: str, args: Any = None) -> Any:
        return execute(self, "DO 1" if "wsrep_sync_wait" in str(query) else query, args)

    Cursor.execute = careless


if __name__ == "__main__":
    {"asking": _leave_out_asking, "sync-wait": _leave_out_sync_wait}[os.environ[WITHOUT]]()
    sys.exit(serve())
