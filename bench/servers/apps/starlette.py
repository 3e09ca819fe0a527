# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A Starlette application with one route, for uvicorn."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette  # type: ignore[import-not-found]  # in the contestants' environment
from starlette.responses import Response  # type: ignore[import-not-found]
from starlette.routing import Route  # type: ignore[import-not-found]

from bench.servers.signed import BODIES, CONTENT_TYPE, genuine


async def shared(request: Any) -> Any:
    """One request."""
    headers = request.headers
    if not genuine(headers["x-instance-id"].encode(), headers["x-instance-id-signature"].encode()):
        return Response(status_code=403)
    path = f"/openstack/{request.path_params['version']}/shared.json"
    return Response(BODIES[path], media_type=CONTENT_TYPE)


app = Starlette(routes=[Route("/openstack/{version}/shared.json", shared)])
