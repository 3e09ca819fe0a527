# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""One run of boots on one kind of store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from peerdata.store import migrate
from tests.databases.postgresql import Postgresql

from .boots import HANGS_AFTER_S, Plan, Tally, boot_all
from .cloud import Cloud

ENGINES = ("postgresql", "sqlite")


def boot(
    engine: str,
    directory: Path,
    plans: Sequence[Plan],
    *,
    seed: int,
    postgresql: Postgresql | None = None,
    module: str = "peerdata",
    hangs_after_s: float = HANGS_AFTER_S,
) -> Tally:
    """
    Boot a cluster for each of *plans* through two servers on one new store.

    Args:
        directory: For the files of servers and guests, and of SQLite.
        seed: Of what befalls the servers.
        postgresql: The server, where that is the engine.
        module: What the servers run: peerdata, or what a test made of it.
        hangs_after_s: Since its first guest booted, a cluster of which not all have ended.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if engine == "postgresql":
        assert postgresql
        url = postgresql.new_database()
    else:
        url = f"sqlite:///{directory / 'store.sqlite'}"
    migrate.upgrade(url, busy_timeout_s=10)
    return asyncio.run(_boot(plans, directory, url, module, seed, hangs_after_s))


async def _boot(
    plans: Sequence[Plan], directory: Path, url: str, module: str, seed: int, hangs_after_s: float
) -> Tally:
    cloud = Cloud(directory, url, module=module)  # belongs to this loop
    return await boot_all(plans, cloud, directory, seed=seed, hangs_after_s=hangs_after_s)
