# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Ports that stay ours while our server is down."""

import os
import socket
from pathlib import Path

_taken: set[int] = set()

# Where the kernel takes the ports of outgoing connections from.
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(address: str = "127.0.0.1") -> int:
    """
    A port that nothing listens on, below the kernel's own range and never given twice by this process.

    A port of the kernel's range would be a trap: while the server is killed, a
    client that tries again and again would one day get that very port as its
    own and be connected to itself (TCP's simultaneous open).
    """
    lowest = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32768
    # Processes that run side by side begin at different places.
    span = lowest - 10240 if lowest > 11264 else 1024
    for step in range(span):
        port = lowest - 1 - (os.getpid() * 101 + step) % span
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            return port
    raise RuntimeError("no port is free")
