# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A Falcon application with one route, for uvicorn."""

from __future__ import annotations

from typing import Any

import falcon.asgi  # type: ignore[import-not-found]  # in the contestants' environment

from bench.servers.signed import BODIES, CONTENT_TYPE, genuine


class Shared:
    """The resource."""

    async def on_get(self, request: Any, response: Any, version: str) -> None:
        """One request."""
        instance_id, signature = request.get_header("x-instance-id"), request.get_header("x-instance-id-signature")
        if not genuine(instance_id.encode(), signature.encode()):
            response.status = 403
            return
        response.content_type = CONTENT_TYPE
        response.data = BODIES[f"/openstack/{version}/shared.json"]


app = falcon.asgi.App()
app.add_route("/openstack/{version}/shared.json", Shared())
