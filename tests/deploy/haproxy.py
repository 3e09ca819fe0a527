# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Haproxy with a block of `deploy/haproxy`, on this machine's addresses, under its deployment's own defaults."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from pathlib import Path

from tests.chain.peers import Peers

from .conftest import DEPLOY

# kolla-ansible, roles/loadbalancer: templates/haproxy/haproxy_main.cfg.j2 with the values of defaults/main.yml, and a
# tenth of the connections, for which this machine need not have the descriptors.
_KOLLA = """
global
    log 127.0.0.1:5140 local1
    maxconn 4000
defaults
    log global
    option redispatch
    retries 3
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout queue 1m
    timeout connect 10s
    timeout client 1m
    timeout server 1m
    timeout check 10s
    balance roundrobin
    maxconn 1000
"""

# openstack-ansible-haproxy_server: templates/haproxy.cfg.j2 with the values of defaults/main.yml.
_OPENSTACK_ANSIBLE = """
global
    log 127.0.0.1 local0
    maxconn 4096
    tune.bufsize 384000
defaults
    log global
    option dontlognull
    option redispatch
    retries 3
    timeout client 50s
    timeout connect 10s
    timeout http-request 5s
    timeout server 50s
    maxconn 4096
"""


BLOCKS = ("kolla-fallback", "kolla-split", "openstack-ansible-fallback", "openstack-ansible-split")


class Haproxy:
    """
    Haproxy on `port`, listening.

    Args:
        block: One of `BLOCKS`.
        directory: For its configuration and log.
        port: It listens there, on 127.0.0.1.
        services: Ports of the peerdata of the two controllers.
        nova: Port of the nova of both controllers.
    """

    def __init__(self, block: str, directory: Path, port: int, services: tuple[int, int], nova: int) -> None:
        self.port = port
        text = (DEPLOY / "haproxy" / f"{block}.cfg").read_text()
        text = text.replace("192.0.2.1:18775", f"127.0.0.1:{port}")
        for number, service in enumerate(services, 1):
            line = rf"server (\w+) 192\.0\.2\.1{number}:18775 check (port 18775 )?"
            text, times = re.subn(line, rf"server \1 127.0.0.1:{service} check port {service} ", text)
            assert times == 1
        text, times = re.subn(r"192\.0\.2\.1[12]:8775 check (port 8775 )?", f"127.0.0.1:{nova} check ", text)
        assert times == 2
        configuration = directory / f"{block}.cfg"
        configuration.write_text((_KOLLA if block.startswith("kolla") else _OPENSTACK_ANSIBLE) + text)
        self._peers = Peers.default()
        checked_it = self._run("-c", "-f", str(configuration))
        assert checked_it.returncode == 0, checked_it.stderr
        assert "WARNING" not in checked_it.stderr, checked_it.stderr
        self._log = (directory / "haproxy.log").open("w")
        self._process = subprocess.Popen(
            [self._peers.tool("haproxy"), "-db", "-f", str(configuration)],
            env=self._peers.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 10
        while not self._listens():
            assert self._process.poll() is None, (directory / "haproxy.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [self._peers.tool("haproxy"), *words]
        return subprocess.run(command, env=self._peers.environment(), capture_output=True, text=True)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
