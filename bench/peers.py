# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Beside whom we are measured: nginx, which serves the same bytes as files, and the real nova of the chain tests.
"""

from __future__ import annotations

import os

from tests.chain import nova as chain
from tests.chain.peers import Peers
from tests.chain.peers.build import build
from tests.chain.ports import answers, free_port
from tests.chain.run import until

from bench.crowd import Instance
from bench.stage import Stage
from bench.tools import Tools

NOVA_CACHE_S = 15
"""Nova's own default ([api] metadata_cache_expiration)."""


class Nginx:
    """One worker that serves files; open files are remembered, nothing is logged, connections stay."""

    name = "nginx"

    def __init__(self, stage: Stage, tools: Tools) -> None:
        self.port = free_port()
        self._stage = stage
        self._tools = tools
        self._place = stage.directory / "nginx"
        self._files = self._place / "files"
        self._files.mkdir(parents=True)

    def start(self) -> None:
        """Return once it answers."""
        file = self._place / "nginx.conf"
        file.write_text(self._settings())
        command = [self._tools.nginx, "-p", str(self._place), "-e", "stderr", "-c", str(file)]
        self._stage.start(self.name, command, environment=self._tools.environment)
        until("nginx answers", lambda: answers(self.port))

    def serve(self, name: str, body: bytes) -> str:
        """Serve *body* from now on; returns the path."""
        (self._files / name).write_bytes(body)
        return f"/{name}"

    def _settings(self) -> str:
        user = "user root;" if os.geteuid() == 0 else ""  # else the worker, as nobody, could not read the directory
        places = "".join(
            f"{kind}_temp_path {self._place};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""
{user}
worker_processes 1;
daemon off;
pid {self._place}/pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=100;
    default_type "application/json; charset=utf-8";
    {places}
    server {{ listen 127.0.0.1:{self.port}; root {self._files}; }}
}}
"""


class Nova:
    """A real nova-metadata-api under uWSGI, one process with eight threads; built first where it is not yet."""

    name = "nova"

    def __init__(self, stage: Stage, secret: str) -> None:
        peers = Peers.default()
        build(peers, [self.name])
        chain.CACHE_S = NOVA_CACHE_S  # the tests shorten it, and it is most of what nova's speed depends on
        self._nova = chain.Nova(stage, peers, secret)
        self.port = self._nova.port
        self.url = self._nova.url

    def start(self) -> None:
        """Return once it answers."""
        self._nova.start()
        self._nova.wait()

    def close(self) -> None:
        """End it, and what helps it."""
        self._nova.close()

    def create(self, instances: list[Instance]) -> None:
        """Let nova know these, each active and with a port."""
        self._nova.create(
            [
                chain.Instance(
                    project=one.project,
                    name=f"instance-{one.number}",
                    network="0a000000-0000-4000-8000-000000000001",
                    cidr="10.0.0.0/8",
                    gateway="10.255.255.254",
                    address=one.address,
                    mac="fa:16:3e:" + ":".join(f"{byte:02x}" for byte in one.number.to_bytes(3, "big")),
                    uuid=one.uuid,
                    metadata={"role": "member"},
                )
                for one in instances
            ]
        )
