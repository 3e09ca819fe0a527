# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""etcd: the founders start together, each with the same list of all of them."""

from collections.abc import Sequence

from .machine import Machine
from .software import Software, same


def stands(machines: Sequence[Machine]) -> bool:
    """Every member answers with one cluster id and the same members, all started, and can write."""
    answers = [_member_list(machine) for machine in machines]
    if not same(answers):
        return False
    names = {name for _, members in answers for name, _ in members}
    started = all(urls for _, members in answers for _, urls in members)
    healthy = all(machine.ask("etcdctl", "put", machine.name, "here").strip() == "OK" for machine in machines)
    return started and healthy and names == {machine.name for machine in machines}


def _member_list(machine: Machine) -> tuple[int, tuple[tuple[str, bool], ...]]:
    """The cluster's id, and of each member its name and whether it has started."""
    said = machine.ask_json("etcdctl", "member", "list", "-w", "json") or {"header": {"cluster_id": 0}, "members": []}
    members = sorted((member.get("name", ""), bool(member.get("clientURLs"))) for member in said["members"])
    return said["header"]["cluster_id"], tuple(members)


SOFTWARE = Software("etcd", "etcd-server", "etcd", "all", stands, within_s=180.0)
