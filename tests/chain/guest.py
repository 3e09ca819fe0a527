# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A guest: the machine of an instance, a namespace in which real programs run as they would there."""

import json
import random
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from .namespaces import Namespace
from .nova import Instance
from .peers import Peers
from .run import Run

METADATA = "http://169.254.169.254"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as the guest got it; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @classmethod
    def parse(cls, received: bytes) -> "Answer":
        """From what `curl --include` writes; interim answers are passed over."""
        while True:
            head, _, received = received.partition(b"\r\n\r\n")
            status, *lines = head.decode("latin-1").split("\r\n")
            if status.split()[1] != "100":
                fields = (line.partition(":") for line in lines)
                headers = {name.strip().lower(): value.strip() for name, _, value in fields}
                return cls(int(status.split()[1]), headers, received)


def patiently(call: Callable[[], Answer], *, again: Sequence[int] = (503,), within_s: float = 30) -> Answer:
    """
    The answer to *call*, repeated with jitter while its status is one of *again*, as every client must.

    Agents of 2026.2 listen with a backlog of 5: of ten calls at the same moment up to two get a 503.
    """
    deadline = time.monotonic() + within_s
    while (answer := call()).status in again and time.monotonic() < deadline:
        time.sleep(random.uniform(0.05, 0.3))
    return answer


class CurlFailed(Exception):
    """Curl ended without an answer; the message is its own."""


class Guest:
    """
    One seat in a network: a namespace and an address that stay, on which instance after instance may live.

    `curl` and `run` are real programs inside it.
    """

    def __init__(self, run: Run, peers: Peers, namespace: Namespace, instance: Instance) -> None:
        self.namespace = namespace
        self.instance = instance
        self._environment = run.environment(peers.environment())
        self._run = run

    @property
    def uuid(self) -> str:
        """Of the instance that lives here now."""
        return self.instance.uuid

    def __repr__(self) -> str:
        return f"<{self.namespace.label} {self.instance.address} {self.uuid}>"

    def run(self, *command: str, within_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run *command* to its end inside."""
        return subprocess.run(
            self.namespace.inside(*command),
            env=self._environment,
            cwd=self._run.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
        )

    def start(self, name: str, *command: str) -> "subprocess.Popen[str]":
        """Start *command* inside, with its output in the log *name*."""
        return self._run.start(name, self.namespace.inside(*command), environment=self._environment)

    def curl(self, *arguments: str, body: bytes | None = None, within_s: float = 60) -> Answer:
        """Run curl with *arguments*; a *body* is its standard input (for `--data-binary @-`)."""
        done = subprocess.run(
            self.namespace.inside("curl", "--silent", "--show-error", "--include", "--globoff", *arguments),
            env=self._environment,
            input=body if body is not None else b"",
            capture_output=True,
            timeout=within_s,
        )
        if done.returncode:
            raise CurlFailed(f"curl {' '.join(arguments)}: {done.stderr.decode().strip()}")
        return Answer.parse(done.stdout)

    def get(self, path: str, *arguments: str) -> Answer:
        """GET *path*, of the metadata address and as it is written."""
        return self.curl("--path-as-is", *arguments, METADATA + path)

    def post(self, path: str, body: bytes | None = None, *arguments: str) -> Answer:
        """POST *path*; the body goes out in one piece with the headers, as curl does it."""
        data: Sequence[str] = ["--request", "POST"] if body is None else ["--data-binary", "@-"]
        return self.curl("--path-as-is", *data, *arguments, METADATA + path, body=body)

    def publish(self, meta: Mapping[str, str] | None = None, *, shared: bool = True, **more: str) -> Answer:
        """Publish keys the body-less way."""
        keys = {**(meta or {}), **more}
        query = [("shared", "project")] * shared + [(f"meta.{key}", value) for key, value in keys.items()]
        return self.post(f"/openstack/latest/metadata?{urlencode(query)}")

    def read(self, name: str) -> Any:
        """The JSON document *name* of the latest version, which must be there."""
        answer = self.get(f"/openstack/latest/{name}")
        assert answer.status == 200, (self, name, answer)
        return answer.json

    def meta_data(self) -> Any:
        """Its meta_data.json."""
        return self.read("meta_data.json")

    def shared(self) -> Any:
        """The project's shared.json."""
        return self.read("shared.json")

    def last_error(self) -> Any:
        """Why its last call was refused: the code, or none."""
        error = self.read("peer_data/last_error.json")["error"]
        return error and error["code"]
