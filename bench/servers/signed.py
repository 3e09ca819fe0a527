# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The work of every contestant: find the body by the path, and give it out if neutron's signature is right.

Standard library only, because it runs in the contestants' environment too.
"""

from __future__ import annotations

import hmac
import json

from bench.crowd import Crowd, Instance

SECRET = b"the secret of the benchmark"
CONTENT_TYPE = "application/json; charset=utf-8"


def _body(peers: int) -> bytes:
    """A shared.json with that many peers."""
    members = [
        {"meta": {f"from_server_{key}": value for key, value in one.keys.items()}, "uuid": one.uuid}
        for one in Crowd().add("servers", size=peers)[0].instances
    ]
    return json.dumps(members, separators=(",", ":")).encode()


BODIES = {f"/openstack/{peers}/shared.json": _body(peers) for peers in (100, 1_000)}
"""By path: 13 kB and 130 kB. Where the version stands is the number of peers, so that routers have work to do."""

CALLER = Instance(7, "servers")


def headers() -> list[tuple[str, str]]:
    """Of every request: what neutron's agent sends."""
    return CALLER.signed(SECRET.decode())


def genuine(instance_id: bytes, signature: bytes) -> bool:
    """Whether neutron signed it."""
    return hmac.compare_digest(hmac.digest(SECRET, instance_id, "sha256").hex().encode(), signature)
