# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Haproxy in each network's namespace, with the configuration that neutron's own driver renders."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .agents import Agent
from .namespaces import Namespace
from .peers import LOCKS, Peers
from .run import Run


def render(run: Run, agent: Agent, networks: Sequence[str]) -> Mapping[str, Path]:
    """Write the configuration of each network (by its id) in front of *agent*; return the files."""
    described = [{"id": network, "pidfile": str(run.directory / f"haproxy-{network}.pid")} for network in networks]
    script = LOCKS / "scripts" / "haproxy_configuration.py"
    with run.log(f"haproxy-configuration-{agent.name}").open("w") as log:
        done = subprocess.run(
            [str(agent.python), str(script), agent.kind, json.dumps(described), "--config-file", str(agent.settings)],
            env=run.environment(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=True,
        )
    files: dict[str, str] = json.loads(done.stdout)
    return {network: Path(file) for network, file in files.items()}


def start(run: Run, peers: Peers, namespace: Namespace, configuration: Path) -> None:
    """Start haproxy in *namespace*: it listens when this returns, and lives until the run ends."""
    with run.log(f"haproxy-{namespace.label}").open("w") as log:
        subprocess.run(
            namespace.inside(peers.tool("haproxy"), "-f", str(configuration)),
            env=run.environment(peers.environment()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )
