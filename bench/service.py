# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The service under measurement: `python -m peerdata serve`, as an operator starts it, with its store on a real disk.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.chain.ports import answers, free_port
from tests.chain.run import until

from bench.stage import Stage

Settings = Mapping[str, Mapping[str, object]]

# A project of 10 000 peers with two keys each is over the usual quota, and more is published to it.
QUOTAS: Settings = {"limits": {"max_keys_per_project": 1_000_000}}


class Service:
    """One peerdata, which `start` starts."""

    def __init__(self, stage: Stage, name: str, *settings: Settings) -> None:
        self.name = name
        self.port = free_port()
        self._stage = stage
        place = stage.directory / name
        place.mkdir()
        self.store = place / "peerdata.sqlite"
        self._file = place / "peerdata.conf"
        sections: dict[str, dict[str, object]] = {
            "DEFAULT": {"state_path": place},
            "instance_api": {"listen": f"127.0.0.1:{self.port}", "drain": 0},
            "operator_api": {"listen": f"127.0.0.1:{free_port()}"},
            "database": {"connection": f"sqlite:///{self.store}"},
        }
        for part in (QUOTAS, *settings):
            for section, options in part.items():
                sections.setdefault(section, {}).update(options)
        self._file.write_text(
            "".join(
                f"[{section}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items())
                for section, options in sections.items()
            )
        )

    @classmethod
    def standalone(
        cls,
        stage: Stage,
        inventory: Path,
        *,
        name: str = "peerdata-standalone",
        database_url: str = "",
        settings: Settings | None = None,
    ) -> Service:
        """
        Without nova; the load is a trusted proxy, and says in X-Forwarded-For which instance asks.

        Args:
            database_url: Of a server; without it, a SQLite file of its own.
            settings: Further ones.
        """
        own: dict[str, dict[str, object]] = {"identity": {"inventory_file": inventory, "trusted_proxies": "127.0.0.1"}}
        if database_url:
            own["database"] = {"connection": database_url}
        return cls(stage, name, own, settings or {})

    @classmethod
    def before_nova(cls, stage: Stage, nova_url: str, secret: str, *, name: str = "peerdata") -> Service:
        """In front of nova, behind neutron."""
        return cls(
            stage,
            name,
            {"nova": {"metadata_url": nova_url}, "neutron": {"metadata_proxy_shared_secret": secret}},
        )

    @property
    def url(self) -> str:
        """Where instances ask it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return once it answers; an inventory of thousands takes it some seconds."""
        process = self._stage.start(
            self.name, [sys.executable, "-m", "peerdata", "serve", "--config-file", str(self._file)]
        )
        until(f"{self.name} answers", lambda: process.poll() is not None or answers(self.port))
        if process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self._stage.log(self.name).read_text()[-2000:]}")

    def take_store(self, other: Service) -> None:
        """Begin with what *other* has stored; this one does not run yet."""
        with sqlite3.connect(other.store) as source, sqlite3.connect(self.store) as copy:
            source.backup(copy)
