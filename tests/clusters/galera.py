# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""MariaDB Galera: one founder begins with an empty list of addresses, the others take the whole state from it."""

from collections.abc import Sequence

from .machine import Machine
from .software import Software, same

_WANTED = ("wsrep_cluster_size", "wsrep_cluster_state_uuid", "wsrep_cluster_status", "wsrep_local_state_comment")


def stands(machines: Sequence[Machine]) -> bool:
    """Every node is synced in one primary component of as many, with one state of one name."""
    answers = [_status(machine) for machine in machines]
    if not same(answers):
        return False
    said = answers[0]
    return (
        said.get("wsrep_cluster_size") == str(len(machines))
        and said.get("wsrep_cluster_status") == "Primary"
        and said.get("wsrep_local_state_comment") == "Synced"
    )


def _status(machine: Machine) -> dict[str, str]:
    said = machine.ask(
        "mariadb", "--user=root", "--batch", "--skip-column-names", "--execute=SHOW STATUS LIKE 'wsrep%'"
    )
    pairs = (line.split("\t", 1) for line in said.splitlines() if "\t" in line)
    return {name: value for name, value in pairs if name in _WANTED}


SOFTWARE = Software("galera", "galera-4", "mysql", "one", stands, within_s=240.0)
