# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Redis, as Debian has it, in memory alone: a hash for each project, a field UUID/KEY for each key of each instance.
"""

from __future__ import annotations

from functools import partial

from tests.chain.ports import free_port
from tests.chain.run import until

from bench.crowd import Project
from bench.load.resp import command, read_reply
from bench.stage import Stage
from bench.tools import Tools


class Redis:
    """The server."""

    name = "redis"

    def __init__(self, stage: Stage, tools: Tools) -> None:
        self.port = free_port()
        self._stage = stage
        self._tools = tools

    def start(self) -> None:
        """Return once it answers."""
        start = [self._tools.redis_server, "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        self._stage.start(self.name, start, environment=self._tools.environment)
        until("Redis answers", partial(_answers, self.port))

    def fill(self, project: Project) -> dict[str, str]:
        """Make the hash of *project*; returns its fields."""
        fields = {f"{one.uuid}/{key}": value for one in project.instances for key, value in one.entries}
        read_reply(self.port, command("HSET", project.name, *(word for field in fields.items() for word in field)))
        return fields


def _answers(port: int) -> bool:
    try:
        return read_reply(port, command("PING")) == b"+PONG\r\n"
    except OSError:
        return False
