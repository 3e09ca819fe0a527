# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
nginx, in three roles: it serves the same bytes as files, it stands in for nova with ready documents, and it is a proxy.

Always one worker; open files are remembered, nothing is logged, connections stay.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from tests.chain.ports import answers, free_port
from tests.chain.run import until

from bench.stage import Stage
from bench.tools import Tools


class Nginx:
    """What an answer costs that nobody has to think about: the bytes are files."""

    name = "nginx"

    def __init__(self, stage: Stage, tools: Tools) -> None:
        self.port = free_port()
        self._stage = stage
        self._tools = tools
        self._place = stage.directory / self.name
        self._files = self._place / "files"
        self._files.mkdir(parents=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return once it answers."""
        file = self._place / "nginx.conf"
        file.write_text(self._settings())
        command = [self._tools.nginx, "-p", str(self._place), "-e", "stderr", "-c", str(file)]
        self._stage.start(self.name, command, environment=self._tools.environment)
        until(f"{self.name} answers", lambda: answers(self.port))

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
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=10000;
    default_type "application/json; charset=utf-8";
    {places}
    {self._servers()}
}}
"""

    def _servers(self) -> str:
        return f"server {{ listen 127.0.0.1:{self.port}; root {self._files}; }}"


class Documents(Nginx):
    """
    A stand-in for nova that is as fast as a server can be, on the core of the load.

    It answers with the file of the instance that the headers name, and checks no signature. Connections are kept, as
    by Apache with mod_wsgi; nova under uWSGI closes each, which costs whoever asks a connection more.
    """

    name = "documents"

    def fill(self, documents: Mapping[str, bytes], user_data: bytes) -> None:
        """
        Serve these from now on.

        Args:
            documents: `meta_data.json` by the uuid of the instance.
            user_data: The same of everybody.
        """
        for uuid, document in documents.items():
            (self._files / uuid).write_bytes(document)
        (self._files / "user_data").write_bytes(user_data)

    def _servers(self) -> str:
        return f"""
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        root {self._files};
        location = /openstack {{ default_type text/plain; return 200 "2012-08-10\\n2015-10-15\\n2025-04-04\\nlatest"; }}
        location ~ ^/openstack/[^/]+/meta_data\\.json$ {{ try_files /$http_x_instance_id =404; }}
        location ~ ^/openstack/[^/]+/user_data$ {{ default_type application/octet-stream; try_files /user_data =404; }}
    }}"""


class Proxy(Nginx):
    """
    `proxy_pass` with kept connections to the upstream.

    Args:
        upstream_port: On 127.0.0.1.
    """

    name = "nginx-proxy"

    def __init__(self, stage: Stage, tools: Tools, upstream_port: int) -> None:
        super().__init__(stage, tools)
        self._upstream_port = upstream_port

    def _servers(self) -> str:
        return f"""
    upstream nova {{ server 127.0.0.1:{self._upstream_port}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{self.port};
        location / {{
            proxy_pass http://nova;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
        }}
    }}"""
