# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Whether balancers are to send requests here: yes while the process can answer at all, no once it is to stop.

Neither store nor nova decides it. With both servers of a pair failing their checks because nova is away, nobody would
get the lists that are still served without it.
"""

from __future__ import annotations

from peerdata.api.answers import answer_json
from peerdata.httpd.messages import Answer, Request


class Health:
    """
    What health checks are answered.

    Args:
        path: Where they ask on the instances' listeners, exactly; empty: nowhere.

    Attributes:
        stopping: The process is to stop: whoever checks should send requests elsewhere.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path.encode()
        self.stopping = False

    def is_asked(self, request: Request) -> bool:
        """Whether *request* is a health check. OPTIONS is how haproxy asks if it is not told another method."""
        if not self._path or request.target.partition(b"?")[0] != self._path:
            return False
        return request.method in ("GET", "HEAD", "OPTIONS")

    def answer(self) -> Answer:
        """The answer to a health check."""
        if self.stopping:
            return answer_json({"alive": True, "stopping": True}, status=503)
        return answer_json({"alive": True})
