# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
wrk: the same HTTP requests in turn, as many as are answered in some seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.exchange import AnswerWrong, Check, ask
from bench.load import CONNECTIONS, Outcome
from bench.tools import Tools

# wrk calls `request` for each, and `done` at the end; https://github.com/wg/wrk/blob/master/SCRIPTING
_SCRIPT = """
local requests = {
%s
}
local turn = 0
request = function()
    turn = turn %% #requests + 1
    return requests[turn]
end
done = function(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.write + errors.status + errors.timeout
    local form = '{"requests": %%d, "microseconds": %%d, "p50": %%g, "p99": %%g, "failed": %%d, "cut": %%d}\\n'
    local p50, p99 = latency:percentile(50), latency:percentile(99)
    io.write(string.format(form, summary.requests, summary.duration, p50, p99, failed, errors.read))
end
"""


class Wrk:
    """
    The same requests in turn, as many as are answered in some seconds.

    Args:
        who, server: Source: `Load`.
        port: Of the server.
        requests: In turn, so that it is not always the same instance that asks.
        check: What each of *requests* must be answered.
        seconds: Of one round, whole.
        directory: For the script.
        closes: The server closes after each answer without saying so, as uWSGI's plain HTTP does. To wrk that is a
            failed read before it connects again; an answer that was cut is never counted as a request.
        connections: How many ask at a time.
    """

    def __init__(
        self,
        tools: Tools,
        directory: Path,
        *,
        who: str,
        server: str,
        port: int,
        requests: Sequence[bytes],
        check: Check,
        seconds: int,
        closes: bool = False,
        connections: int = CONNECTIONS,
    ) -> None:
        self.who = who
        self.server = server
        self._port = port
        self._requests = requests
        self._check = check
        self._seconds = seconds
        self._closes = closes
        self._connections = connections
        self._tools = tools
        number = sum(1 for _ in directory.glob("wrk-*.lua"))
        self._script = directory / f"wrk-{number}.lua"
        self._script.write_text(_SCRIPT % ",\n".join(lua(one) for one in requests))

    def check(self) -> None:
        """Every request once."""
        for one in self._requests:
            self._check(ask(self._port, one))

    def run(self) -> Outcome:
        """One run of wrk."""
        command = [self._tools.wrk, "--threads", "1", "--connections", str(self._connections)]
        command += ["--duration", f"{self._seconds}s", "--timeout", "30s", "--script", str(self._script)]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{self._port}/"],
            capture_output=True,
            text=True,
            env=os.environ | self._tools.environment,
            timeout=self._seconds + 60,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            raise AnswerWrong(f"wrk failed: {(done.stderr or done.stdout)[-300:]}")
        said = json.loads(lines[-1])
        failed = said["failed"] + (0 if self._closes else said["cut"])
        return Outcome(said["requests"], said["microseconds"] / 1e6, said["p50"], said["p99"], failed)


def lua(text: bytes) -> str:
    """*text*, which is ASCII, as a Lua string."""
    escaped = text.decode("ascii").replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
    return f'"{escaped}"'
