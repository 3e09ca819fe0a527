# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
nginx, which serves the same bytes as files: what an answer costs that nobody has to think about.
"""

from __future__ import annotations

import os

from tests.chain.ports import answers, free_port
from tests.chain.run import until

from bench.stage import Stage
from bench.tools import Tools


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
