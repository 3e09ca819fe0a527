# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Neutron's metadata agents: real ones, of several versions and both kinds, with only the port look-up replaced.

All agents of a cloud read one `Board`: whose port an address is, and where
requests go. It is read at every request, so nothing has to be restarted.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from .nova import Instance
from .peers import LOCKS, Peers
from .run import Run, kill, until

Kind = Literal["ml2", "ovn"]


@dataclass(frozen=True)
class Upstream:
    """The metadata service that the agents send to; empty paths stand for no TLS."""

    url: str
    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = ""

    def options(self) -> dict[str, object]:
        """The same as neutron's options."""
        address = urlsplit(self.url)
        return {
            "nova_metadata_protocol": address.scheme,
            "nova_metadata_host": address.hostname,
            "nova_metadata_port": address.port,
            "auth_ca_cert": self.ca_cert or None,
            "nova_client_cert": self.client_cert,
            "nova_client_priv_key": self.client_key,
        }


@dataclass
class Board:
    """What the agents know; each change is one file replaced whole."""

    path: Path
    upstream: Upstream = field(default_factory=lambda: Upstream("http://127.0.0.1:8775"))
    ports: list[Mapping[str, str]] = field(default_factory=list)

    def send_to(self, upstream: Upstream) -> None:
        """Send every request from now on to *upstream*."""
        self.upstream = upstream
        self._write()

    def plug(self, instances: Iterable[Instance]) -> None:
        """Let the ports belong to *instances*, and to nobody else."""
        self.ports = [
            {
                "network": one.network,
                "address": one.address,
                "mac": one.mac,
                "instance": one.uuid,
                "project": one.project,
            }
            for one in instances
        ]
        self._write()

    def _write(self) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"upstream": self.upstream.options(), "ports": self.ports}))
        os.replace(new, self.path)


class Agent:
    """One metadata agent, listening on its UNIX socket."""

    def __init__(self, run: Run, peers: Peers, board: Board, *, version: int, kind: Kind, secret: str) -> None:
        self.name = f"neutron-{version}-{kind}"
        self.kind: Kind = kind
        self.python = peers.python(f"neutron-{version}")
        self.log = run.log(self.name)
        self._run = run
        self._board = board
        self._process: subprocess.Popen[str] | None = None
        self._place = run.directory / self.name
        self._place.mkdir()
        self.settings = self._place / "neutron.conf"
        self.settings.write_text(f"""
[DEFAULT]
host = compute-1
state_path = {self._place}
metadata_proxy_socket = {self.socket}
metadata_proxy_shared_secret = {secret}
transport_url = fake:/
[AGENT]
report_interval = 0
[oslo_concurrency]
lock_path = {self._place}
""")

    @property
    def socket(self) -> Path:
        """Where haproxy reaches it."""
        return self._place / "metadata_proxy"

    def start(self) -> None:
        """Start it; return before it listens (see `wait`)."""
        script = LOCKS / "scripts" / "neutron_agent.py"
        command = [str(self.python), str(script), self.kind, str(self._board.path), "--config-file", str(self.settings)]
        self._process = self._run.start(self.name, command)

    def wait(self) -> None:
        """Return once it listens."""
        until(f"{self.name} listens, see {self.log}", self.socket.exists)

    def stop(self) -> None:
        """Stop it at once."""
        if self._process:
            kill(self._process)
            self._process = None
            self.socket.unlink(missing_ok=True)
