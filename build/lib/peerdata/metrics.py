# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What the service counts, for Prometheus. No metric carries a project or an instance: their number has no bound.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "peerdata_requests",
    "Requests of instances, by call (`pass_through`: handed to nova) and status.",
    ("call", "status"),
)
REQUEST_SECONDS = Histogram(
    "peerdata_request_seconds",
    "Seconds from a request's last byte to its answer, by call.",
    ("call",),
    buckets=(0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 25),
)
UPSTREAM_SECONDS = Histogram(
    "peerdata_upstream_seconds",
    "Seconds for one question to nova, by outcome: its status, `failed`, or `silent`.",
    ("outcome",),
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 5, 25),
)
PUBLISHED_KEYS = Counter("peerdata_published_keys", "Keys accepted.")
PROOFS = Gauge("peerdata_proofs", "Instances whose proof of identity is remembered.")
CACHED_PROJECTS = Gauge("peerdata_cached_projects", "Projects held in memory.")
CACHED_BYTES = Gauge("peerdata_cached_bytes", "Estimated memory of the projects held.")
