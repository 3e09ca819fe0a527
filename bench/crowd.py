# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The crowd: instances in projects, what each publishes, and how each asks, through neutron or by its address.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.exchange import AnswerWrong, Reply, holds, request

PUBLISH = "/openstack/latest/metadata?shared=project"
SHARED = "/openstack/latest/shared.json"
PEER_DATA = "/openstack/latest/peer_data.json"
META_DATA = "/openstack/latest/meta_data.json"
VENDOR_DATA = "/openstack/latest/vendor_data.json"

_FIRST_ADDRESS = ipaddress.IPv4Address("10.0.0.1")


@dataclass(frozen=True)
class Instance:
    """One instance. Its number is its own in the whole crowd."""

    number: int
    project: str

    @cached_property
    def uuid(self) -> str:
        """In the usual form."""
        return f"7f3c0000-0000-4000-8000-{self.number:012x}"

    @cached_property
    def address(self) -> str:
        """Behind neutron addresses may repeat; here each has one, so that an inventory can tell them apart."""
        return str(_FIRST_ADDRESS + self.number)

    @property
    def keys(self) -> dict[str, str]:
        """The two keys that a member of an etcd cluster would publish."""
        return {"etcd_addr": f"{self.address}:2380", "role": "member"}

    @property
    def entries(self) -> list[tuple[str, str]]:
        """The same as the peers read them."""
        return [(f"from_server_{key}", value) for key, value in self.keys.items()]

    def publishes(self, headers: Iterable[tuple[str, str]], *, suffix: str = "") -> bytes:
        """The request that publishes both keys in the form without a body; with *suffix* they are other keys."""
        target = PUBLISH + "".join(f"&meta.{key}{suffix}={value}" for key, value in self.keys.items())
        return request("POST", target, headers)

    def forwarded(self) -> list[tuple[str, str]]:
        """The header by which a trusted proxy tells a stand-alone service who asks."""
        return [("X-Forwarded-For", self.address)]

    def signed(self, secret: str) -> list[tuple[str, str]]:
        """The headers of neutron's metadata agent."""
        return [
            ("X-Forwarded-For", self.address),
            ("X-Instance-ID", self.uuid),
            ("X-Tenant-ID", self.project),
            ("X-Instance-ID-Signature", hmac.digest(secret.encode(), self.uuid.encode(), "sha256").hex()),
        ]


@dataclass(frozen=True)
class Project:
    """One project with its instances."""

    name: str
    instances: tuple[Instance, ...]

    def check_shared(self, reply: Reply) -> None:
        """
        That *reply* is the shared.json of this project once all its instances have published, and nobody else's.

        They published side by side, so in any order.
        """
        holds(b"")(reply)
        peers = [{"meta": dict(one.entries), "uuid": one.uuid} for one in self.instances]
        found = sorted(json.loads(reply.body), key=lambda peer: str(peer["uuid"]))
        if found != sorted(peers, key=lambda peer: str(peer["uuid"])):
            raise AnswerWrong(f"not the {len(peers)} peers that published, but {len(found)}: {reply.body[:200]!r}")


class Crowd:
    """Makes projects, all instances of which differ."""

    def __init__(self) -> None:
        self._projects: list[Project] = []
        self._next = 0

    def add(self, name: str, *, size: int, projects: int = 1) -> list[Project]:
        """That many projects of *size* instances each, named after *name*."""
        added = []
        for number in range(projects):
            project = f"{name}-{number}"
            instances = tuple(Instance(self._next + place, project) for place in range(size))
            self._next += size
            added.append(Project(project, instances))
        self._projects += added
        return added

    def write_inventory(self, path: Path) -> None:
        """The whole crowd as an inventory; its YAML is also JSON."""
        instances = [
            {"uuid": one.uuid, "project_id": one.project, "addresses": [one.address]}
            for project in self._projects
            for one in project.instances
        ]
        path.write_text(json.dumps({"instances": instances}))


def instances_of(projects: Sequence[Project]) -> list[Instance]:
    """All of them, project by project."""
    return [one for project in projects for one in project.instances]
