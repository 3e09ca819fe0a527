# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
How much instances and operators may take of one process, from its settings and the descriptors that it may open.
"""

from __future__ import annotations

import resource

from peerdata.httpd.admission import TOLD
from peerdata.httpd.messages import HttpLimits
from peerdata.settings import Settings
from peerdata.store.engine import READERS, WRITERS
from peerdata.upstream.connections import MAX_LINGERING

SPARE_FILES = 64
"""Descriptors besides those that settings bound: log, event loop, listeners, the operators' own calls."""

OPERATORS = HttpLimits(connections=SPARE_FILES)
"""Limits of the operators' listeners."""


def files_needed(settings: Settings) -> int:
    """How many descriptors one process may come to need."""
    nova = settings.nova.max_connections + MAX_LINGERING if settings.nova.metadata_url else 0
    # SQLite has three connections, each with three files.
    return settings.instance_api.max_connections + TOLD + nova + WRITERS + READERS + SPARE_FILES


def connections_within(settings: Settings, most: int) -> int:
    """How many connections of instances there may be where a process may have *most* descriptors; at least one."""
    reserve = files_needed(settings) - settings.instance_api.max_connections
    return max(1, min(settings.instance_api.max_connections, most - reserve))


def http_limits(settings: Settings) -> HttpLimits:
    """
    How much instances may take of this process.

    What its descriptors do not suffice for is taken off their connections, so that operators, the store and nova have
    theirs at any time; and should any of these take more than was reckoned with, the last are still no instance's.
    """
    api = settings.instance_api
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most if most != resource.RLIM_INFINITY else 1 << 30
    return HttpLimits(
        body_bytes=settings.limits.max_body_bytes,
        head_timeout_s=api.head_timeout,
        body_timeout_s=api.body_timeout,
        idle_timeout_s=api.idle_timeout,
        connections=connections_within(settings, most),
        connections_of_address=api.max_connections_per_address if settings.identity_mode == "inventory" else 0,
        descriptors=max(TOLD, most - SPARE_FILES // 2),
        incoming_bytes=api.max_incoming_bytes,
        unwritten_bytes=api.max_unwritten_bytes,
        unwritten_bytes_of_account=api.max_unwritten_bytes_per_project,
    )
