# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A flood: wrk in the background, which asks as fast as it is answered while something else is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import CONNECTIONS
from bench.load.wrk import lua
from bench.tools import Tools

TURN = "@"
"""In a request: stands for how often all of them have been sent before, so that each of its turns can be new."""

# wrk calls `request` for each, and `done` at the end; https://github.com/wg/wrk/blob/master/SCRIPTING
_SCRIPT = """
local requests = {
%s
}
local sent = 0
request = function()
    local text = requests[sent %% #requests + 1]
    local turn = math.floor(sent / #requests)
    sent = sent + 1
    return (string.gsub(text, "@", turn))
end
delay = function()
    return %d
end
done = function(summary, latency)
    local form = '{"requests": %%d, "microseconds": %%d, "not_2xx": %%d}\\n'
    io.write(string.format(form, summary.requests, summary.duration, summary.errors.status))
end
"""


@dataclass
class Flooded:
    """What became of it."""

    rate: float = 0.0
    """Answers a second."""
    not_2xx: float = 0.0
    """Their share that was no success."""


@contextmanager
def flood(
    tools: Tools,
    directory: Path,
    port: int,
    requests: Sequence[bytes],
    *,
    seconds: int,
    connections: int = CONNECTIONS,
    pause_ms: float = 0.0,
) -> Iterator[Flooded]:
    """
    Inside, a flood of *requests* in turn over *connections* connections; outside, it is over.

    Args:
        seconds: It begins when the block does, and the block must need less.
        pause_ms: What each connection waits before each request.
    """
    number = sum(1 for _ in directory.glob("flood-*.lua"))
    script = directory / f"flood-{number}.lua"
    script.write_text(_SCRIPT % (",\n".join(lua(one) for one in requests), round(pause_ms)))
    command = [tools.wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--timeout", "30s", "--script", str(script), f"http://127.0.0.1:{port}/"]
    environment = os.environ | tools.environment
    flooded = Flooded()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        try:
            yield flooded
            printed, _ = running.communicate(timeout=seconds + 60)
        finally:
            running.kill()
    said = json.loads(next((line for line in printed.splitlines() if line.startswith("{")), "{}"))
    if said.get("requests"):
        flooded.rate = said["requests"] / said["microseconds"] * 1e6
        flooded.not_2xx = said["not_2xx"] / said["requests"]
