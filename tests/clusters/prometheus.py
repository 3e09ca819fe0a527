# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Prometheus: every server reads all of them from a file that `peerdata watch` keeps; no founder is needed."""

from collections.abc import Sequence

from .machine import Machine
from .software import Software


def stands(machines: Sequence[Machine]) -> bool:
    """Every server's API shows exactly these as targets, each of them scraped."""
    wanted = {(f"{machine.address}:9090", "up") for machine in machines}
    return all(_targets(machine) == wanted for machine in machines)


def _targets(machine: Machine) -> set[tuple[str, str]]:
    """Address and health of each target."""
    said = machine.ask_json("curl", "-fsS", "http://127.0.0.1:9090/api/v1/targets?state=active") or {}
    active = (said.get("data") or {}).get("activeTargets") or []
    return {(target["labels"]["instance"], target["health"]) for target in active}


SOFTWARE = Software("prometheus", "prometheus", "prometheus", "", stands)
