# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
For the operator, on a listener of its own: does it live, can it work, what has it done. Reads only.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST

from peerdata import metrics
from peerdata.api.answers import answer_json, refuse
from peerdata.api.health import Health
from peerdata.api.routes import understand
from peerdata.errors import MethodUnsupported, PathUnknown, StoreUnavailable
from peerdata.httpd.messages import Answer, Request
from peerdata.model import Instance
from peerdata.service.clusters import Clusters
from peerdata.service.discover import Discovery
from peerdata.upstream.nova import Nova

_NOBODY = Instance("", "")
"""Has no entries; reading them shows that the store can be read."""


class OperatorApi:
    """Answers ``/healthz``, ``/readyz`` and ``/metrics``."""

    def __init__(
        self, discovery: Discovery, nova: Nova | None, health: Health | None = None, clusters: Clusters | None = None
    ) -> None:
        self._discovery = discovery
        self._clusters = clusters
        self._nova = nova
        self._health = health or Health()

    async def respond(self, request: Request) -> Answer:
        """The answer to any request on the operator's listener."""
        path = understand(request.target).path
        if request.method not in ("GET", "HEAD"):
            return refuse(MethodUnsupported("this listener only answers GET"), through_neutron=False)
        if path == "/healthz":
            return self._health.answer()
        if path == "/readyz":
            return await self._ready()
        if path == "/metrics":
            if self._clusters:
                await self._clusters.count()
            return Answer(200, metrics.render(), CONTENT_TYPE_LATEST.encode())
        return refuse(PathUnknown("here are /healthz, /readyz and /metrics"), through_neutron=False)

    async def _ready(self) -> Answer:
        """200 where the store and, if there is one, nova answer; else, and once it is to stop, 503, and what is not."""
        try:
            await self._discovery.read_own(_NOBODY)
            store = True
        except StoreUnavailable:
            store = False
        parts: dict[str, bool] = {"store": store}
        if self._nova:
            parts["nova"] = await self._nova.reachable()
        ready = all(parts.values()) and not self._health.stopping
        if self._health.stopping:
            parts["stopping"] = True
        return answer_json({"ready": ready, **parts}, status=200 if ready else 503)
