# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Redis Cluster: all nodes run, and the first founder deals the slots out among the founders."""

from collections.abc import Sequence

from .machine import Machine
from .software import Software, same

_SLOTS = 16384
_MASTERS = 3


def stands(machines: Sequence[Machine]) -> bool:
    """Every node knows the same living nodes, all of them, and every slot has one master."""
    answers = [_living(machine) for machine in machines]
    return (
        same(answers)
        and {address for _, address, _ in answers[0]} == {machine.address for machine in machines}
        and sum(role == "master" for _, _, role in answers[0]) == _MASTERS
        and all(_is_whole(machine) for machine in machines)
    )


def _living(machine: Machine) -> list[tuple[str, str, str]]:
    """Id, address and role of each node that is not given up."""
    rows = [line.split() for line in machine.ask("redis-cli", "cluster", "nodes").splitlines()]
    return sorted(
        (row[0], row[1].partition(":")[0], "master" if "master" in row[2] else "replica")
        for row in rows
        if len(row) > 2 and not {"fail", "fail?", "noaddr", "handshake"} & set(row[2].split(","))
    )


def _is_whole(machine: Machine) -> bool:
    said = dict(line.split(":", 1) for line in machine.ask("redis-cli", "cluster", "info").split() if ":" in line)
    whole = said.get("cluster_state") == "ok" and said.get("cluster_slots_ok") == str(_SLOTS)
    # A replica that never had the data cannot take the place of its master.
    replication = machine.ask("redis-cli", "info", "replication")
    return whole and ("role:master" in replication or "master_link_status:up" in replication)


SOFTWARE = Software("redis-cluster", "redis-server", "redis", "all", stands, size=6, within_s=240.0)
