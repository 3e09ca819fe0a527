# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The real nova of the chain tests.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.chain import nova as chain
from tests.chain.peers import Peers

from bench.crowd import Instance
from bench.stage import Stage

NOVA_CACHE_S = 15
"""Nova's own default ([api] metadata_cache_expiration)."""


class Nova:
    """A real nova-metadata-api under uWSGI, one process with eight threads."""

    name = "nova"

    def __init__(self, stage: Stage, secret: str, *, cache_s: int = NOVA_CACHE_S) -> None:
        chain.CACHE_S = cache_s  # the tests shorten it, and it is most of what nova's speed depends on
        self._nova = chain.Nova(stage, Peers.default(), secret)
        self.port = self._nova.port
        self.url = self._nova.url

    def start(self) -> None:
        """Return once it answers."""
        self._nova.start()
        self._nova.wait()

    def slow_down(self, neutron_s: float) -> None:
        """From now on neutron takes so long for each of its two answers about an instance that nova has not cached."""
        self._nova.slow_down(neutron_s)

    def close(self) -> None:
        """End it, and what helps it."""
        self._nova.close()

    def create(self, instances: Sequence[Instance], *, user_data: str | None = None) -> None:
        """Let nova know these, each active and with a port."""
        self._nova.create(
            [
                chain.Instance(
                    project=one.project,
                    name=f"instance-{one.number}",
                    network="0a000000-0000-4000-8000-000000000001",
                    cidr="10.0.0.0/8",
                    gateway="10.255.255.254",
                    address=one.address,
                    mac="fa:16:3e:" + ":".join(f"{byte:02x}" for byte in one.number.to_bytes(3, "big")),
                    uuid=one.uuid,
                    metadata={"role": "member"},
                    user_data=user_data,
                )
                for one in instances
            ]
        )
