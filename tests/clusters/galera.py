# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""MariaDB Galera: one founder begins with an empty list of addresses, the others take the whole state from it."""

from collections.abc import Sequence

from ..databases.run import until
from .machine import Machine
from .software import Has, Software, same

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


def commit(machines: Sequence[Machine]) -> Has:
    """Rows that the last machine has been sent, and has not applied."""
    first, last = machines[0], machines[-1]
    _ask(first, "CREATE DATABASE kept; CREATE TABLE kept.row (number INT PRIMARY KEY); INSERT INTO kept.row VALUES (1)")
    until("the last has the table", lambda: _ask(last, _COUNT) == "1\n")
    # It holds its applier up for as long as it runs.
    last.run_inside("sh", "-c", f"{' '.join(_MARIADB)} '--execute={_HOLD}' >/dev/null 2>&1 & sleep 1")
    _ask(first, "INSERT INTO kept.row VALUES (2), (3), (4), (5)")
    assert (_ask(first, _COUNT), _ask(last, _COUNT)) == ("5\n", "1\n")
    return lambda machine: _ask(machine, _COUNT) == "5\n"


_MARIADB = ("mariadb", "--user=root", "--batch", "--skip-column-names")
_COUNT = "SELECT COUNT(*) FROM kept.row"
_HOLD = "FLUSH TABLES WITH READ LOCK; SELECT SLEEP(600)"


def _ask(machine: Machine, sql: str) -> str:
    return machine.ask(*_MARIADB, f"--execute={sql}")


def _status(machine: Machine) -> dict[str, str]:
    said = _ask(machine, "SHOW STATUS LIKE 'wsrep%'")
    pairs = (line.split("\t", 1) for line in said.splitlines() if "\t" in line)
    return {name: value for name, value in pairs if name in _WANTED}


SOFTWARE = Software("galera", "galera-4", "mysql", "one", stands, within_s=240.0, commit=commit)
