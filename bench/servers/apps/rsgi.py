# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A bare RSGI application, for granian; its specification is in granian's docs/spec/RSGI.md."""

from __future__ import annotations

from typing import Any

from bench.servers.signed import BODIES, CONTENT_TYPE, genuine

_GIVEN = {path: [("content-type", CONTENT_TYPE), ("content-length", str(len(body)))] for path, body in BODIES.items()}


async def app(scope: Any, protocol: Any) -> None:
    """One request."""
    headers = scope.headers
    if genuine(headers.get("x-instance-id").encode(), headers.get("x-instance-id-signature").encode()):
        protocol.response_bytes(200, _GIVEN[scope.path], BODIES[scope.path])
    else:
        protocol.response_empty(403, [])
