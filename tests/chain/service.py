# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The service itself: `python -m peerdata serve` in front of nova, as an operator starts it."""

import subprocess
import sys
from collections.abc import Mapping

from .ports import answers, free_port
from .run import Run, kill, until
from .servers import Upstream

Settings = Mapping[str, Mapping[str, object]]


class Service:
    """One peerdata at `url`; `kill` and `start` keep the port and the store."""

    def __init__(self, run: Run, nova: Upstream, name: str = "peerdata", settings: Settings | None = None) -> None:
        self.name = name
        self.log = run.log(name)
        self.port = free_port()
        self._run = run
        self._process: subprocess.Popen[str] | None = None
        place = run.directory / name
        place.mkdir()
        sections: dict[str, dict[str, object]] = {
            "DEFAULT": {"state_path": place},
            "instance_api": {"listen": f"127.0.0.1:{self.port}"},
            "operator_api": {"listen": ""},
            "nova": {"metadata_url": nova.url},
            "neutron": {"metadata_proxy_shared_secret": nova.secret},
            "database": {"connection": f"sqlite:///{place}/peerdata.sqlite"},
        }
        for section, options in (settings or {}).items():
            sections.setdefault(section, {}).update(options)
        self._file = place / "peerdata.conf"
        self._file.write_text(
            "".join(
                f"[{section}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items())
                for section, options in sections.items()
            )
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, or start it again; return once it answers."""
        command = [sys.executable, "-m", "peerdata", "serve", "--config-file", str(self._file)]
        process = self._process = self._run.start(self.name, command)
        until(f"{self.name} answers, see {self.log}", lambda: process.poll() is not None or answers(self.port))
        assert process.poll() is None, self.log.read_text()[-2000:]

    def command(self, *words: str) -> str:
        """Run `peerdata WORDS` with this service's settings, as its operator; return what it prints."""
        command = [sys.executable, "-m", "peerdata", *words[:-1], "--config-file", str(self._file), words[-1]]
        done = subprocess.run(command, env=self._run.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        assert self._process, "it does not run"
        kill(self._process)
        self._process = None
