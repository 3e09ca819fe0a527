# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What an operator does to a store by hand, each in one transaction; the service may run beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from peerdata.model import Instance
from peerdata.store import entries, migrate
from peerdata.store.database import connect, translated_errors


def remove_instance(url: str, uuid: str, *, busy_timeout_s: float) -> dict[str, int]:
    """
    Take all keys of an instance away, in every project that knows it.

    Returns:
        How many there were, by project.

    Raises:
        SettingsInvalid, StoreUnavailable.
    """
    with _writing(url, busy_timeout_s) as connection:
        return {
            project_id: entries.remove(connection, Instance(uuid, project_id))
            for project_id in entries.find_projects(connection, uuid)
        }


def list_instances(url: str, *, busy_timeout_s: float) -> list[tuple[str, str, int, int]]:
    """
    Who has published: see `entries.list_instances`.

    Raises:
        SettingsInvalid, StoreUnavailable.
    """
    with _writing(url, busy_timeout_s) as connection:
        return entries.list_instances(connection)


def restart_revisions(url: str, *, busy_timeout_s: float) -> int:
    """
    After a backup was put back; see `entries.restart_revisions`.

    Raises:
        SettingsInvalid, StoreUnavailable.
    """
    with _writing(url, busy_timeout_s) as connection:
        return entries.restart_revisions(connection, now=int(time.time()))


@contextmanager
def _writing(url: str, busy_timeout_s: float) -> Iterator[Connection]:
    migrate.prepare(url, busy_timeout_s=busy_timeout_s)
    database = connect(url, busy_timeout_s=busy_timeout_s, writes=True)
    try:
        with translated_errors("writing"), database.begin() as connection:
            yield connection
    finally:
        database.dispose()
