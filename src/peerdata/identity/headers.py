# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The headers that tell nova who is asking, and reading them so that two parties cannot disagree.
"""

from __future__ import annotations

from peerdata.errors import IdentityRepeated
from peerdata.identity.interface import Request

NEUTRON = (b"x-instance-id", b"x-tenant-id", b"x-instance-id-signature")
"""Set by neutron's metadata agents."""

ASKING = frozenset(
    (*NEUTRON, b"x-forwarded-for", b"forwarded", b"x-metadata-provider", b"x-metadata-provider-signature")
)
"""All headers by which nova, or oslo.middleware in front of it, finds who is asking."""


def only(request: Request, *names: bytes) -> list[bytes | None]:
    """
    The values of the headers *names*, None where one is missing.

    Raises:
        IdentityRepeated: one of them is there twice, so two parties disagree on who is asking.
    """
    headers = dict(request.headers)
    if len(headers) != len(request.headers):
        for name in names:
            if sum(1 for other, _ in request.headers if other == name) > 1:
                shown = name.decode()
                raise IdentityRepeated(f"the header {shown} is there more than once", header=shown)
    return [headers.get(name) for name in names]
