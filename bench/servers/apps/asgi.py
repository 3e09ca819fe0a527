# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A bare ASGI application, for granian and uvicorn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bench.servers.signed import BODIES, CONTENT_TYPE, genuine


async def app(scope: dict[str, Any], _receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Source: the ASGI specification, HTTP connection scope."""
    instance_id = signature = b""
    for name, value in scope["headers"]:
        if name == b"x-instance-id":
            instance_id = value
        elif name == b"x-instance-id-signature":
            signature = value
    good = genuine(instance_id, signature)
    body = BODIES[scope["path"]] if good else b""
    given = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200 if good else 403, "headers": given})
    await send({"type": "http.response.body", "body": body})
