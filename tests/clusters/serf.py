# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Serf: every agent knows every other; no founder is needed."""

from collections.abc import Sequence

from .machine import Machine
from .software import Software


def stands(machines: Sequence[Machine]) -> bool:
    """Every agent says that exactly these are alive."""
    names = {machine.name for machine in machines}
    return all(_alive(machine) == names for machine in machines)


def _alive(machine: Machine) -> set[str]:
    said = machine.ask_json("serf", "members", "-status=alive", "-format=json") or {"members": []}
    return {member["name"] for member in said["members"]}


SOFTWARE = Software("serf", "serf", "root", "", stands)
