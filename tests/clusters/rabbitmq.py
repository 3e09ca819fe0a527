# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""RabbitMQ: one founder starts by itself, the others are put into its cluster before their application starts."""

from collections.abc import Sequence

from .machine import Machine
from .software import Software

# By itself rabbitmqctl would use su, which wants more of a user than the bed's have.
_AS_OWNER = ("setpriv", "--reuid=rabbitmq", "--regid=rabbitmq", "--clear-groups", "env", "HOME=/var/lib/rabbitmq")


def stands(machines: Sequence[Machine]) -> bool:
    """Every node says that exactly these are the cluster's nodes, and that all of them run."""
    names = {f"rabbit@{machine.address}" for machine in machines}
    return all(_nodes(machine) == (names, names) for machine in machines)


def _nodes(machine: Machine) -> tuple[set[str], set[str]]:
    """Those of the cluster, and those that run."""
    node = ("--longnames", "-n", f"rabbit@{machine.address}", "--formatter", "json")
    said = machine.ask_json(*_AS_OWNER, "rabbitmqctl", *node, "cluster_status") or {}
    return set(said.get("disk_nodes", [])), set(said.get("running_nodes", []))


SOFTWARE = Software("rabbitmq", "rabbitmq-server", "rabbitmq", "one", stands, within_s=240.0)
