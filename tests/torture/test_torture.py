# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The promises hold on every engine while servers and databases are killed, cut off, filled up and put out of time.

The short version; `make torture` is the long one. PEERDATA_TORTURE_SEED chooses other faults.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.databases.run import Run

from .beds import ENGINES
from .checker import check
from .history import History
from .storm import storm

SEED = os.environ.get("PEERDATA_TORTURE_SEED", "1")

SECONDS = 8.0
"""At least; until every kind of fault was there once."""

PUBLISHES = 20
"""At least; or nothing was tried."""

LONG = ("node restarted", "node stood still")
"""Faults that take long to mend, and are left to the long version."""


@pytest.mark.parametrize("engine", ENGINES)
def test_the_promises_hold_whatever_is_broken(
    engine: str, database_run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    galera = request.getfixturevalue("galera") if engine == "galera" else None
    result = storm(
        engine,
        database_run,
        tmp_path,
        seed=SEED,
        seconds=SECONDS,
        calm_s=0.3,
        galera=galera,
        leave_out=LONG,
        publishes=PUBLISHES,
    )
    print(result)
    assert result.good, str(result)


def test_without_asking_the_store_before_each_answer_the_check_fails(database_run: Run, tmp_path: Path) -> None:
    """A list that is shown for half a second as it was; and the history that is kept says the same again."""
    result = storm("sqlite", database_run, tmp_path, seed=SEED, seconds=2, kinds=(), without="asking", keep=tmp_path)
    assert "G3" in {one.promise for one in result.verdict.violations}, str(result)
    assert result.kept
    assert check(History.read(result.kept).operations) == result.verdict


def test_without_wsrep_sync_wait_the_check_fails(
    database_run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A Galera node that cannot apply for a moment is enough."""
    result = storm(
        "galera",
        database_run,
        tmp_path,
        seed=SEED,
        seconds=4,
        calm_s=0.3,
        galera=request.getfixturevalue("galera"),
        kinds=("node held up",),
        without="sync-wait",
        keep=tmp_path,
    )
    assert "G3" in {one.promise for one in result.verdict.violations}, str(result)
