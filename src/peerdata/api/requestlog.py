# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One DEBUG line for each request of an instance, by a logger of its own, so that it can be turned on alone.

While it is off a request costs one look at the logger's level, about 0.1 us.
"""

from __future__ import annotations

import logging
import uuid

from peerdata.api.routes import Target
from peerdata.httpd.messages import Request
from peerdata.identity.interface import Identity
from peerdata.service.rules import printable

LOG = logging.getLogger("peerdata.requests")


def make_request_id() -> str:
    """Names one request in the log, in the form that OpenStack's services use."""
    return f"req-{uuid.uuid4()}"


def write(identity: Identity, request: Request, target: Target, status: int, seconds: float, request_id: str) -> None:
    """
    Write the line of a request that was answered.

    Args:
        identity: Asked for the caller.
        seconds: From its last byte to its answer; with `wait` also what it waited.
        request_id: Where it has one already; else empty.
    """
    LOG.debug(
        "%s %s %d, %.1f ms, instance %s, %s",
        request.method,
        printable(target.path, 400),  # without the query, in which values may stand
        status,
        seconds * 1000,
        _find_caller(identity, request),
        request_id or make_request_id(),
    )


def _find_caller(identity: Identity, request: Request) -> str:
    """Its uuid; ``-`` where that is not known."""
    try:
        caller = identity.recall(request)
    except Exception:  # its headers are wrong, and it was told so
        return "-"
    if caller:
        return caller.uuid
    # What is only passed on is not proven, but with neutron the signature of the instance's id has just been checked.
    named = request.header(b"x-instance-id") if identity.through_neutron else None
    return printable(named.decode("latin-1")) if named else "-"
