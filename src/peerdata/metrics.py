# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What the service counts, for Prometheus. No metric carries a project or an instance: their number has no bound.

With several workers, each counts in a file of its own, and whoever is asked adds them up: `workers.share_metrics`.
"""

from __future__ import annotations

import os
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which prometheus_client knows where workers count together; read when it is imported."""


# When a series began is of no use to anybody here, and doubles the lines of each counter.
disable_created_metrics()  # type: ignore[no-untyped-call]

Mode = Literal["livesum", "livemax", "livemostrecent"]


def _gauge(name: str, meaning: str, *labels: str, mode: Mode = "livesum") -> Gauge:
    """*mode*: what the numbers of several workers come to."""
    return Gauge(name, meaning, labels, multiprocess_mode=mode)


BUILD_INFO = _gauge(
    "peerdata_build_info",
    "1; of what version this is, on which Python, with which schema of the store.",
    *("version", "python", "schema"),
    mode="livemax",
)
REQUESTS = Counter(
    "peerdata_requests",
    "Requests of instances, by call (`pass_through`: handed to nova) and status.",
    ("call", "status"),
)
REQUEST_SECONDS = Histogram(
    "peerdata_request_seconds",
    "Seconds from a request's last byte to its answer, by call; without those that ask to wait.",
    ("call",),
    buckets=(0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 10, 25, 60),
)
TURNED_AWAY = Counter(
    "peerdata_turned_away",
    "Connections that were rejected, or ended because of what they held, by listener and reason.",
    ("listener", "reason"),
)
CONNECTIONS = _gauge(
    "peerdata_connections", "Connections that are open, by listener, TLS handshakes included; a second old.", "listener"
)
MAX_CONNECTIONS = _gauge("peerdata_max_connections", "How many there may be, by listener.", "listener")
ACCEPT_PAUSES = Counter(
    "peerdata_accept_pauses",
    "Times that nobody could be accepted for half a second, because descriptors or memory had run out, by listener.",
    ("listener",),
)
INCOMING_BYTES = _gauge(
    "peerdata_incoming_bytes", "Bytes of requests that are not whole or wait for the one before them.", "listener"
)
UNWRITTEN_BYTES = _gauge("peerdata_unwritten_bytes", "Bytes of answers that slow clients have not read.", "listener")
UPSTREAM_SECONDS = Histogram(
    "peerdata_upstream_seconds",
    "Seconds from sending a question to nova to its whole answer, by outcome: its status, `failed`, or `silent`.",
    ("outcome",),
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 10, 25, 60),
)
NOVA_WAITING = _gauge(
    "peerdata_nova_waiting", "Questions that wait until nova may be asked; brought up to date once a second."
)
NOVA_WAITING_SECONDS = _gauge(
    "peerdata_nova_waiting_seconds", "For how long the oldest of them has waited.", mode="livemax"
)
STORE_SECONDS = Histogram(
    "peerdata_store_seconds",
    "Seconds of a transaction, with its repeats and the wait for a connection, by kind: `read`, `write`, or `open`.",
    ("kind",),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25),
)
STORE_FAILURES = Counter(
    "peerdata_store_failures", "Transactions that failed because the store was away, by kind.", ("kind",)
)
CLUSTERS = _gauge(
    "peerdata_clusters",
    "Clusters with members in the store, by state: `forming` or `formed`; counted at most every 10 s.",
    "state",
    mode="livemostrecent",
)
MEMBERS_GONE = Counter(
    "peerdata_members_gone", "Members for whom a cluster waited, and of whom nova said that they do not exist any more."
)
PUBLISHED_KEYS = Counter("peerdata_published_keys", "Keys accepted.")
PROOFS = _gauge("peerdata_proofs", "Instances whose proof of identity is remembered.")
CACHED_PROJECTS = _gauge("peerdata_cached_projects", "Projects held in memory.")
CACHED_BYTES = _gauge("peerdata_cached_bytes", "Estimated memory of the projects and clusters held.")
WAITING = _gauge("peerdata_waiting", "Answers that are held until something changes.")


def forget_gauges() -> None:
    """Begin with nothing held: a worker that is started again goes on in the file of the one that died."""
    for gauge in (NOVA_WAITING, NOVA_WAITING_SECONDS, PROOFS, CACHED_PROJECTS, CACHED_BYTES, WAITING):
        gauge.set(0)


def render() -> bytes:
    """All of it, of all workers, in Prometheus' text format."""
    if not os.environ.get(SHARED_DIRECTORY):
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
