# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Loads on a bed: who is asked, over which port, with what.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.bed import SECRET, Bed
from bench.crowd import Instance
from bench.exchange import Check, equals, holds, request
from bench.load import Load
from bench.load.wrk import Wrk

OURS = "peerdata"
BEFORE_NOVA = "peerdata, in front of nova"
FILE = "nginx, these bytes as a file"
NOVA = "nova's own meta_data.json"


class Loads:
    """
    Makes those that ask the same again and again.

    Args:
        seconds: Of one round.
    """

    def __init__(self, bed: Bed, *, seconds: int) -> None:
        self.bed = bed
        self.seconds = seconds

    def service(self, asked: Sequence[bytes], check: Check, *, who: str = OURS) -> Load:
        """Ours, in front of nova."""
        service = self.bed.service
        return self._wrk(who=who, server=service.name, port=service.port, asked=asked, check=check)

    def file(self, name: str, body: bytes, instances: Sequence[Instance]) -> Load:
        """nginx serving *body*, asked with the same headers as ours."""
        nginx = self.bed.nginx
        asked = signed(nginx.serve(name, body), instances)
        return self._wrk(who=FILE, server=nginx.name, port=nginx.port, asked=asked, check=equals(body))

    def nova(self, target: str, instances: Sequence[Instance], *, who: str = NOVA, check: Check | None = None) -> Load:
        """Nova itself."""
        nova = self.bed.nova
        return self._wrk(
            who=who,
            server=nova.name,
            port=nova.port,
            asked=signed(target, instances),
            check=check or holds(b"uuid"),
            closes=True,
        )

    def etcd(self, asked: bytes, check: Check, *, who: str) -> Load:
        """etcd; nobody signs there."""
        etcd = self.bed.etcd
        return self._wrk(who=who, server=etcd.name, port=etcd.port, asked=[asked], check=check)

    def _wrk(
        self, *, who: str, server: str, port: int, asked: Sequence[bytes], check: Check, closes: bool = False
    ) -> Load:
        return Wrk(
            self.bed.tools,
            self.bed.stage.directory,
            who=who,
            server=server,
            port=port,
            requests=asked,
            check=check,
            seconds=self.seconds,
            closes=closes,
        )


def signed(target: str, instances: Sequence[Instance]) -> list[bytes]:
    """Of each a GET of *target*, as neutron's agent passes it on."""
    return [request("GET", target, one.signed(SECRET)) for one in instances]
