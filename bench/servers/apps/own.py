# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""`python -m bench.servers.apps.own PORT`: the service's own HTTP room, without the service."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from bench.servers.signed import BODIES, genuine
from peerdata.api.answers import refuse
from peerdata.errors import PeerdataError
from peerdata.httpd.server import Answer, HttpLimits, HttpServer, Request, listen


def handle(request: Request) -> Answer:
    """One request."""
    if genuine(request.header(b"x-instance-id") or b"", request.header(b"x-instance-id-signature") or b""):
        return Answer(200, BODIES[request.target.decode()])
    return Answer(403, b"")


def _refuse(error: PeerdataError) -> Answer:
    return refuse(error, through_neutron=False)


async def main() -> None:
    """Serve until killed."""
    server = HttpServer(handle, limits=HttpLimits(), refuse=_refuse)
    await server.accept(listen("127.0.0.1", int(sys.argv[1])))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
