# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""NATS: every server has a route to every other; no founder is needed."""

from collections.abc import Sequence

from .machine import Machine
from .software import Software


def stands(machines: Sequence[Machine]) -> bool:
    """Every server's monitoring port shows a route to each of the others, and to nobody else."""
    addresses = {machine.address for machine in machines}
    return all(_routes(machine) == addresses - {machine.address} for machine in machines)


def _routes(machine: Machine) -> set[str]:
    """The addresses of those to whom it has a route."""
    said = machine.ask_json("curl", "-fsS", "http://127.0.0.1:8222/routez") or {}
    return {route.get("ip", "") for route in said.get("routes") or []}


SOFTWARE = Software("nats", "nats-server", "nats", "", stands)
