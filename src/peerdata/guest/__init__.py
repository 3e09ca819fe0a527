# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What runs in an instance: the library, and behind it the command. Python's standard library alone, 3.9 and later.

A room by itself: it sees nothing of the service, and is shipped without it (`make zipapp`).
"""

from peerdata.guest.errors import GuestError, Misused, NoService, NotReached, NotYet, Refused, Unusable
from peerdata.guest.library import Guest
from peerdata.guest.words import Me, Peer, PeerList, Verdict

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
