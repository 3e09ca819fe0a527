# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What the service counts, for Prometheus. No metric carries a project or an instance: their number has no bound.

With several workers, each counts in a file of its own, and whoever is asked adds them up: `workers.share_metrics`.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which prometheus_client knows where workers count together; read when it is imported."""


def _gauge(name: str, meaning: str) -> Gauge:
    return Gauge(name, meaning, multiprocess_mode="livesum")


REQUESTS = Counter(
    "peerdata_requests",
    "Requests of instances, by call (`pass_through`: handed to nova) and status.",
    ("call", "status"),
)
REQUEST_SECONDS = Histogram(
    "peerdata_request_seconds",
    "Seconds from a request's last byte to its answer, by call; without those that ask to wait.",
    ("call",),
    buckets=(0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 25),
)
TURNED_AWAY = Counter(
    "peerdata_turned_away",
    "Connections that were ended before a request of theirs was read, by listener and reason.",
    ("listener", "reason"),
)
UPSTREAM_SECONDS = Histogram(
    "peerdata_upstream_seconds",
    "Seconds for one question to nova, by outcome: its status, `failed`, or `silent`.",
    ("outcome",),
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 5, 25),
)
MEMBERS_GONE = Counter(
    "peerdata_members_gone", "Members for whom a cluster waited, and of whom nova said that they do not exist any more."
)
PUBLISHED_KEYS = Counter("peerdata_published_keys", "Keys accepted.")
PROOFS = _gauge("peerdata_proofs", "Instances whose proof of identity is remembered.")
CACHED_PROJECTS = _gauge("peerdata_cached_projects", "Projects held in memory.")
CACHED_BYTES = _gauge("peerdata_cached_bytes", "Estimated memory of the projects and clusters held.")
WAITING = _gauge("peerdata_waiting", "Answers that are held until something changes.")


def render() -> bytes:
    """All of it, of all workers, in Prometheus' text format."""
    if not os.environ.get(SHARED_DIRECTORY):
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
