# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What runs in an instance; and the cradle, whose children they are. With the standard library alone.

Thousands of Python processes are slow to start and quick to fork. So one small process, the cradle, forks a guest for
each line `{"boot": {...}}` of its input and kills it with SIGKILL for each `{"kill": ID}`; for each one that has ended
it prints `{"ended": ID, "status": N}`, negative: the signal. When its input ends, it kills them all.

A guest asks what it is to do, does it, and ends with status 0 once it is in the cluster, or knows that it is full. It
writes each answer to its log before it obeys, a line each, so that the log of a killed guest has all that it acted on.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import selectors
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 8.0
"""For one answer; longer than a server waits for its store."""


@dataclass(frozen=True)
class Boot:
    """What a guest knows when it starts: a line of the cradle's input."""

    id: int
    """Of this life of the instance."""
    uuid: str
    address: str
    ports: list[int]
    """Of the servers, on 127.0.0.1."""
    cluster: str
    query: str
    """Of the call by which it enters."""
    log: str
    seed: str
    work_s: float
    """How long it takes to start the cluster when it is told to."""
    pace: float
    """It asks again after so much of ``poll_after_s``."""
    deadline: float
    """Of the monotonic clock, which all processes of a machine share; then it gives up."""


class Guest:
    """One life of an instance."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._random = random.Random(boot.seed)
        self._log = os.open(boot.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def live(self) -> int:
        """Until it is in the cluster, or knows that it is full; returns the exit status."""
        while time.monotonic() < self._boot.deadline:
            said = self._ask("enter", f"{self._boot.cluster}.json?{self._boot.query}")
            verdict = said.get("verdict")
            if verdict in ("join", "full"):
                return 0
            if verdict == "bootstrap":
                time.sleep(self._boot.work_s)
                if self._confirm(said["term"]):
                    return 0
            elif verdict == "wait":
                time.sleep(said["poll_after_s"] * self._boot.pace)
            else:
                time.sleep(self._random.uniform(0.05, 0.4))
        return 1

    def _confirm(self, term: int) -> bool:
        """Repeat it until it is known whether the cluster counts."""
        while time.monotonic() < self._boot.deadline:
            said = self._ask("confirm", f"{self._boot.cluster}/formed?term={term}", term)
            if said["status"] == 200:
                return True
            if said["status"] == 409:
                return False
            time.sleep(self._random.uniform(0.05, 0.4))
        return False

    def _ask(self, call: str, path: str, confirms: int | None = None) -> dict[str, Any]:
        """One request to one of the servers, written down with its answer."""
        port = self._random.choice(self._boot.ports)
        told: dict[str, Any] = {"uuid": self._boot.uuid, "call": call, "port": port, "confirms": confirms}
        told["asked"] = time.monotonic()
        try:
            told |= ask(self._boot.address, port, path)
        except (OSError, http.client.HTTPException) as error:
            told |= {"status": 0, "code": type(error).__name__}
        told["answered"] = time.monotonic()
        os.write(self._log, json.dumps(told).encode() + b"\n")
        return told


def ask(address: str, port: int, path: str) -> dict[str, Any]:
    """
    What a server tells the instance with that address.

    Returns:
        ``status``, and of a 200 what it says of the cluster, of anything else its ``code`` and ``term``.

    Raises:
        OSError, HTTPException: no answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S, source_address=(address, 0))
    try:
        connection.request("POST", f"/openstack/latest/cluster/{path}")
        response = connection.getresponse()
        said = json.loads(response.read())
    finally:
        connection.close()
    if response.status != 200:
        return {"status": response.status, "code": said["error"]["code"], "term": said["error"].get("term")}
    return {
        "status": 200,
        **{name: said[name] for name in ("verdict", "term", "formed", "poll_after_s")},
        "members": [[member["uuid"], member["ordinal"], member["founder"]] for member in said["members"]],
    }


class Cradle:
    """Forks guests, kills them, and tells of their ends."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}
        self._ids: dict[int, int] = {}

    def run(self) -> None:
        """Until the input ends."""
        woken, wakes = os.pipe()
        for end in (woken, wakes):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(woken, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        pending = b""
        while True:
            for key, _ in selector.select():
                if key.fd == woken:
                    os.read(woken, 65536)
                    self._collect()
                    continue
                if not (read := os.read(key.fd, 65536)):
                    self._kill_all()
                    return
                *lines, pending = (pending + read).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        if "boot" in order:
            boot = Boot(**order["boot"])
            pid = os.fork()
            if pid == 0:
                _live(boot)
            self._pids[boot.id], self._ids[pid] = pid, boot.id
        elif pid := self._pids.get(order["kill"], 0):
            os.kill(pid, signal.SIGKILL)  # a child that has ended keeps its number until it is collected

    def _collect(self) -> None:
        while self._ids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            ended = self._ids.pop(pid)
            del self._pids[ended]
            print(json.dumps({"ended": ended, "status": os.waitstatus_to_exitcode(status)}), flush=True)

    def _kill_all(self) -> None:
        for pid in self._ids:
            os.kill(pid, signal.SIGKILL)


def _live(boot: Boot) -> None:
    """In the child; does not return."""
    status = 2
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        status = Guest(boot).live()
    except BaseException:
        Path(f"{boot.log}.error").write_text(traceback.format_exc())
    finally:
        os._exit(status)


if __name__ == "__main__":
    Cradle().run()
