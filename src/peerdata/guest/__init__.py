# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The part that runs in an instance: the library `Guest`, and the command built on it. Standard library only, Python 3.9+.

The package imports nothing of the service and is shipped without it (`make zipapp`).
"""

from peerdata.guest.errors import GuestError, Misused, NoService, NotReached, NotYet, Refused, Unusable
from peerdata.guest.library import Guest
from peerdata.guest.model import Me, Peer, PeerList, Verdict

__all__ = [
    "Guest",
    "GuestError",
    "Me",
    "Misused",
    "NoService",
    "NotReached",
    "NotYet",
    "Peer",
    "PeerList",
    "Refused",
    "Unusable",
    "Verdict",
]
