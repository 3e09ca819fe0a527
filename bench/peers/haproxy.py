# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
haproxy, Debian's as the chain tests have it, as a proxy with kept connections to the upstream.
"""

from __future__ import annotations

import os
import re
import subprocess

from tests.chain.peers import Peers
from tests.chain.ports import answers, free_port
from tests.chain.run import until

from bench.stage import Stage


class Haproxy:
    """
    One thread; nothing is logged.

    Args:
        upstream_port: On 127.0.0.1.
    """

    name = "haproxy"

    def __init__(self, stage: Stage, upstream_port: int) -> None:
        self.port = free_port()
        self._stage = stage
        self._upstream_port = upstream_port

    def start(self) -> None:
        """Return once it answers."""
        file = self._stage.directory / "haproxy.cfg"
        file.write_text(f"""
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse safe
frontend metadata
    bind 127.0.0.1:{self.port}
    default_backend nova
backend nova
    server nova 127.0.0.1:{self._upstream_port}
""")
        peers = Peers.default()
        self._stage.start(self.name, [peers.tool("haproxy"), "-db", "-f", str(file)], environment=peers.environment())
        until("haproxy answers", lambda: answers(self.port))


def version() -> str:
    """As it says it of itself."""
    peers = Peers.default()
    environment = os.environ | peers.environment()
    said = subprocess.run([peers.tool("haproxy"), "-v"], capture_output=True, text=True, env=environment).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else "?"
