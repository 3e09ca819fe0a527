# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What an operator does to a store by hand, each in one transaction; the service may run beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from peerdata.model import Cluster, Instance
from peerdata.store import clusters, entries, migrate
from peerdata.store.clusters import Roll
from peerdata.store.database import connect, translated_errors

Leave = Callable[[Cluster, str], Cluster]
"""A cluster, and who leaves it -> the cluster without it."""


def remove_instance(url: str, uuid: str, *, leave: Leave, busy_timeout_s: float) -> dict[str, tuple[int, int]]:
    """
    Take all keys of an instance away, and it off all rolls, in every project that knows it.

    Args:
        leave: How a cluster goes on without it.

    Returns:
        How many keys there were, and rolls, by project.

    Raises:
        SettingsInvalid, StoreUnavailable.
    """
    with _writing(url, busy_timeout_s) as connection:
        removed = {}
        for project_id in sorted({*entries.find_projects(connection, uuid), *clusters.find_projects(connection, uuid)}):
            instance = Instance(uuid, project_id)
            removed[project_id] = (
                entries.remove(connection, instance),
                len(clusters.leave_all(connection, instance, leave)),
            )
        return removed


def list_clusters(url: str, *, busy_timeout_s: float) -> list[tuple[str, str, Cluster]]:
    """
    All clusters: see `clusters.list_clusters`.

    Raises:
        SettingsInvalid, StoreUnavailable.
    """
    with _writing(url, busy_timeout_s) as connection:
        return clusters.list_clusters(connection)


def read_cluster(url: str, project_id: str, name: str, *, busy_timeout_s: float) -> Roll:
    """
    One cluster: see `clusters.read`.

    Raises:
        SettingsInvalid, StoreUnavailable.
    """
    with _writing(url, busy_timeout_s) as connection:
        return clusters.read(connection, project_id, name)


def change_cluster(
    url: str, project_id: str, name: str, change: Callable[[Cluster], Cluster], *, busy_timeout_s: float
) -> tuple[Cluster, Cluster] | None:
    """
    Let *change* say how a cluster goes on; nothing is written where it gives what it was given.

    Returns:
        The cluster before and after; None where nobody has heard of it.

    Raises:
        SettingsInvalid, StoreUnavailable.
    """
    before: list[Cluster] = []

    def decide(cluster: Cluster | None) -> Cluster | None:
        if cluster is None:
            return None
        before.append(cluster)
        return change(cluster)

    with _writing(url, busy_timeout_s) as connection:
        if clusters.read(connection, project_id, name).cluster is None:
            return None
        after = clusters.change(connection, project_id, name, decide)
        assert after is not None
        return before[0], after


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
