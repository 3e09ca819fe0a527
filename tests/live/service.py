"""One `peerdata serve`, stand-alone, with an inventory of loopback addresses."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

BLUE = {f"127.0.0.{number}": f"00000000-0000-4000-8000-0000000000{number}" for number in range(11, 20)}
GREEN = {"127.0.0.21": "00000000-0000-4000-8000-000000000021"}

Sections = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def inventory_text(projects: Mapping[str, Mapping[str, str]]) -> str:
    """An inventory of *projects*: instance by address."""
    return json.dumps(  # JSON is YAML
        {
            "instances": [
                {"uuid": uuid, "project_id": project, "addresses": [address]}
                for project, instances in projects.items()
                for address, uuid in instances.items()
            ]
        }
    )


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """
    A service in *directory*; `start`, `kill` and `stop` keep its port and its store.

    Args:
        sections: Settings over the usual ones; None takes a usual one out.
        projects: Instances by address, of each project.
        port: Of a test that must keep it while the service is down; else one that is free now.
        module: What Python runs: peerdata, or what a test made of it.
        environment: More of it, or other.
    """

    def __init__(
        self,
        directory: Path,
        sections: Sections | None = None,
        *,
        projects: Mapping[str, Mapping[str, str]] | None = None,
        port: int = 0,
        module: str = "peerdata",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self.directory = directory
        self.module = module
        self.environment = dict(environment or {})
        self.inventory = directory / "inventory.yaml"
        self.inventory.write_text(inventory_text(projects or {"blue": BLUE, "green": GREEN}))
        self.log = directory / f"log-{self.port}"
        self.config_file = directory / f"peerdata-{self.port}.conf"
        merged: dict[str, dict[str, object]] = {
            "DEFAULT": {"state_path": directory / "state"},
            "instance_api": {"listen": f"127.0.0.1:{self.port}", "drain": 0},
            "operator_api": {"listen": ""},
            "identity": {"inventory_file": self.inventory},
        }
        for section, options in (sections or {}).items():
            merged.setdefault(section, {}).update(options)
        self.config_file.write_text(
            "".join(
                f"[{section}]\n"
                + "".join(f"{name} = {value}\n" for name, value in options.items() if value is not None)
                for section, options in merged.items()
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        """The command line of one of the operator's commands on this service's settings."""
        return [sys.executable, "-m", self.module, *words, "--config-file", str(self.config_file)]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands to its end."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60)

    def start(self) -> None:
        """Start it, or start it again; return once it is ready."""
        with self.log.open("ab") as log:
            before = log.tell()
            self.process = subprocess.Popen(
                self.command("serve"), stdout=log, stderr=log, env=os.environ | self.environment
            )
        deadline = time.monotonic() + 30
        while b"is ready" not in self.log.read_bytes()[before:]:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def wait_for(self, pattern: str, times: int = 1, within_s: float = 30) -> None:
        """Return once its log has *pattern* so many times."""
        deadline = time.monotonic() + within_s
        while len(re.findall(pattern, self.log.read_text())) < times:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 10) -> int:
        """Its exit code, once it has ended by itself."""
        assert self.process
        return self.process.wait(timeout_s)

    def end(self) -> None:
        """Whatever its state, it is gone afterwards."""
        if self.process and self.process.poll() is None:
            self.kill()

    def connect(
        self,
        source: str = "127.0.0.11",
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 30,
    ) -> http.client.HTTPConnection:
        """A connection from the address of one of the instances."""
        at = (source, 0)
        if tls:
            return http.client.HTTPSConnection(host, self.port, timeout=timeout_s, context=tls, source_address=at)
        return http.client.HTTPConnection(host, self.port, timeout=timeout_s, source_address=at)

    def ask(self, source: str, method: str, path: str, body: bytes | None = None, *, timeout_s: float = 30) -> Reply:
        """One request on a connection of its own."""
        connection = self.connect(source, timeout_s=timeout_s)
        try:
            connection.request(method, f"/openstack/latest/{path}", body=body)
            response = connection.getresponse()
            return Reply(response.status, response.read())
        finally:
            connection.close()

    def publish(self, source: str, **meta: str) -> Reply:
        """Publish shared keys, in the form without a body."""
        query = "&".join(f"meta.{key}={quote(value)}" for key, value in meta.items())
        return self.ask(source, "POST", f"metadata?shared=project&{query}")

    def shared(self, source: str = "127.0.0.11") -> dict[str, dict[str, str]]:
        """The keys of all peers, by instance, as shared.json shows them."""
        reply = self.ask(source, "GET", "shared.json")
        assert reply.status == 200, reply
        return {peer["uuid"]: peer["meta"] for peer in reply.json}
