# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The state directory: what the command keeps between two runs, the last good list and the term of a bootstrap verdict.

State never causes a failure: a file that cannot be read or written is treated as absent. So is a file that another
machine wrote (it was part of the image) or that came from another service.
"""

from __future__ import annotations

import json
import os
from typing import Any

from peerdata.guest.errors import GuestError, NotReached
from peerdata.guest.files import write_if_changed
from peerdata.guest.model import Peer, PeerList
from peerdata.guest.wire import quote


class StateDirectory:
    """
    A directory of small files.

    Args:
        directory: Created at the first write; empty: nothing is kept.
        service: Identifies the service that was asked: the configured URL and source, or empty.
    """

    def __init__(self, directory: str, service: str) -> None:
        self._directory = directory
        self._service = service

    def keep_list(self, prefix: str, peers: PeerList, now: float) -> None:
        """Keep a list that was just received; *prefix* is the one that was asked for."""
        rows = [[peer.uuid, peer.position, dict(peer.meta)] for peer in peers.peers]
        self._write(
            _list_name(prefix), {"read_at": now, "revision": peers.revision, "self": peers.own_uuid, "peers": rows}
        )

    def last_list(self, prefix: str) -> PeerList | None:
        """The last good list, with its ``read_at`` set."""
        try:
            kept = self._read(_list_name(prefix))
            peers = tuple(Peer(str(uuid), dict(meta), int(position)) for uuid, position, meta in kept["peers"])
            return PeerList(int(kept["revision"]), str(kept["self"]), peers, 0.0, float(kept["read_at"]))
        except (NotReached, KeyError, TypeError, ValueError, OverflowError):
            return None

    def keep_term(self, cluster: str, term: int) -> None:
        """Keep the term in which this instance is to bootstrap *cluster*."""
        self._write(f"cluster-{quote(cluster)}.json", {"term": term})

    def last_term(self, cluster: str) -> int | None:
        """The term of the last ``bootstrap`` verdict."""
        try:
            return int(self._read(f"cluster-{quote(cluster)}.json")["term"])
        except (NotReached, KeyError, TypeError, ValueError, OverflowError):
            return None

    def _write(self, name: str, content: dict[str, Any]) -> None:
        if not self._directory:
            return
        try:
            os.makedirs(self._directory, mode=0o755, exist_ok=True)
            whole = {**content, "machine": _machine(), "service": self._service}
            write_if_changed(os.path.join(self._directory, name), json.dumps(whole))
        except (OSError, GuestError):
            pass

    def _read(self, name: str) -> dict[str, Any]:
        try:
            with open(os.path.join(self._directory, name), encoding="utf-8") as file:
                content = json.load(file)
        except (OSError, ValueError, RecursionError):
            content = None
        if not isinstance(content, dict) or content.get("machine") != _machine():
            raise NotReached("no state was kept by this machine")
        if content.get("service") != self._service:
            raise NotReached("the state was kept from another service")
        return content


def default_directory(environment: dict[str, str]) -> str:
    """``PEERDATA_STATE``, else /var/lib/peerdata/guest for root, else a directory in the user's home."""
    if "PEERDATA_STATE" in environment:
        return environment["PEERDATA_STATE"]
    if os.geteuid() == 0:
        return "/var/lib/peerdata/guest"
    home = environment.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "peerdata")


def _list_name(prefix: str) -> str:
    return f"peers-{quote(prefix)}.json" if prefix else "peers.json"


def _machine() -> str:
    """An identifier of this machine that differs from those of other instances of the same image."""
    for path in ("/sys/class/dmi/id/product_uuid", "/etc/machine-id"):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                return file.read().strip()
        except OSError:
            continue
    return ""
