# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A Galera cluster of our own: MariaDB servers that all take writes, with Debian's wsrep provider.

Where namespaces are permitted each node lives in one, and can be cut off from
the others; elsewhere the nodes have loopback addresses of their own, and `cut_off`
says why they cannot be. Galera's timeouts stay at their defaults: what a test
sees, an operator's cluster shows too.
"""

import re
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sqlalchemy.exc import DBAPIError

from .ip import why_not
from .mariadb import Mariadb
from .network import Network
from .ports import free_port
from .run import Late, Run, until
from .user import make_directory

# A node that must fetch the whole state first takes the longest.
_JOIN_S = 60.0

# Galera gives a silent node 5 s (evs.suspect_timeout), in the worst case 15 s (evs.inactive_timeout), and needs another
# 7.5 s (evs.install_timeout) when the first try to agree on who is left fails.
_AGREE_S = 40.0

# Needed by the provider, or by the whole cluster's agreement on what a transaction writes.
_OPTIONS = (
    "--wsrep-on=ON",
    "--binlog-format=ROW",
    "--default-storage-engine=InnoDB",
    "--innodb-autoinc-lock-mode=2",
    "--wsrep-sst-method=rsync",
    "--wsrep-cluster-name=peerdata-tests",
)

# The position of a node that has no state yet, and fetches all of it.
NOTHING = "00000000-0000-0000-0000-000000000000:-1"


class Galera:
    """
    The nodes 1 to *nodes* of one cluster.

    Args:
        run: Whose directory, logs and mark they use.
        nodes: How many; three is the least of which one can be lost.
        options: More options of each node's `mariadbd`.
        provider_options: More of the provider, as in ``evs.suspect_timeout=PT1S``.
    """

    def __init__(
        self, run: Run, nodes: int = 3, *, options: Sequence[str] = (), provider_options: Sequence[str] = ()
    ) -> None:
        self.cut_off = why_not()
        """Why nodes cannot be cut off on this machine; "" where they can."""
        self.numbers = range(1, nodes + 1)
        self._run = run
        self._options = tuple(options)
        self._provider_options = tuple(provider_options)
        self._network = None if self.cut_off else Network(run, nodes)
        self._nodes: dict[int, Mariadb] = {}

    def open(self) -> None:
        """Start the first node as a new cluster, let the others join, and return when all are synced."""
        if self._network:
            self._network.open()
        self._describe()
        self._nodes[1].create()
        for number in self.numbers[1:]:
            # Empty: the whole state comes from the first node.
            make_directory(self._nodes[number].directory)
            make_directory(self._nodes[number].data)
        self._bootstrap(1, NOTHING)
        self._join(dict.fromkeys(self.numbers[1:], NOTHING))
        self.wait_synced()

    def node(self, number: int) -> Mariadb:
        """The server of node *number*."""
        return self._nodes[number]

    def url(self, number: int, database: str = "", *, driver: str = "pymysql") -> str:
        """The SQLAlchemy URL of *database* at node *number*."""
        return self._nodes[number].url(database, driver=driver)

    def urls(self, database: str = "", *, driver: str = "pymysql") -> list[str]:
        """The SQLAlchemy URLs of *database*, one for each node."""
        return [self.url(number, database, driver=driver) for number in self.numbers]

    def new_database(self, *, driver: str = "pymysql") -> list[str]:
        """The SQLAlchemy URLs, one for each node, of a database that was made just now and is empty everywhere."""
        first = self._nodes[1].new_database(driver=driver)
        database = first.rpartition("/")[2]
        for node in self._nodes.values():
            # A schema change has the same place in every node's order, but not the same moment.
            there = partial(node.ask, f"SHOW DATABASES LIKE '{database}'")
            until(f"{database} at {node.name}", there)
        return self.urls(database, driver=driver)

    def kill(self, *numbers: int) -> None:
        """End these nodes at once."""
        for number in numbers:
            self._nodes[number].kill()

    def stop(self, *numbers: int) -> None:
        """End these nodes in their own orderly way: they say goodbye to the cluster."""
        for number in numbers:
            self._nodes[number].stop()

    def restart(self, *numbers: int) -> None:
        """Let these nodes, which are down, join the living ones again, and wait until all are synced."""
        living = self._living()
        if not self._agree(living):
            raise Late(f"nodes {living} are no cluster that others can join; `mend` begins it anew")
        self._join(self._positions(numbers))
        self.wait_synced(*living, *numbers, size=len(living) + len(numbers))

    def recover(self) -> None:
        """Start the cluster again after all nodes were killed, from the node that has seen most."""
        positions = self._positions(self.numbers)
        most = max(positions, key=lambda number: int(positions[number].rpartition(":")[2]))
        if positions[most] == NOTHING:
            raise Late("no node has kept anything")
        for node in self._nodes.values():
            # Else the nodes would wait for those that they last saw.
            (node.data / "gvwstate.dat").unlink(missing_ok=True)
        state = self._nodes[most].data / "grastate.dat"
        state.write_text(state.read_text().replace("safe_to_bootstrap: 0", "safe_to_bootstrap: 1"))
        self._bootstrap(most, positions.pop(most))
        self._join(positions)
        self.wait_synced()

    def partition(self, *numbers: int) -> None:
        """Cut each of these nodes off from every other node, but not from its clients."""
        for number in numbers:
            self._needed_network().cut(number)

    def mute(self, number: int) -> None:
        """Lose every answer of a node to its clients; what they ask still arrives and is done."""
        self._needed_network().mute(number)

    def heal(self) -> None:
        """Undo every `partition` and `mute`; the nodes find each other by themselves, see `wait_synced`."""
        self._needed_network().heal()

    def mend(self) -> None:
        """Make all nodes synced again, whatever a test did to them."""
        if self._network:
            self._network.heal()
        for node in self._nodes.values():
            node.resume()
        self.kill(*filter(self._has_left, self._living()))
        if not self._agree(living := self._living()):
            # Those that were killed may have seen more than those that live: all begin anew, from the best.
            self.kill(*living)
        down = [number for number in self.numbers if not self._nodes[number].running]
        if len(down) == len(self.numbers):
            self.recover()
        elif down:
            self.restart(*down)

    def close(self) -> None:
        """End all nodes at once."""
        self.kill(*self.numbers)

    def synced(self, number: int) -> bool:
        """Whether a node is a synced member of the primary component now."""
        return _is_synced(self.status(number))

    def wait_synced(self, *numbers: int, size: int | None = None, within_s: float = _JOIN_S) -> None:
        """Return when these nodes, or all, are synced in a cluster of *size* nodes, or of all."""

        def reached(number: int) -> bool:
            said = self.status(number)
            return _is_synced(said) and said["wsrep_cluster_size"] == str(size or len(self.numbers))

        for number in numbers or self.numbers:
            until(f"node {number} is synced", partial(reached, number), within_s=within_s)

    def status(self, number: int) -> dict[str, str]:
        """What a node says of itself: the wsrep_* status variables; empty where it does not answer."""
        try:
            return {str(row[0]): str(row[1]) for row in self._nodes[number].ask("SHOW STATUS LIKE 'wsrep_%'")}
        except DBAPIError:
            return {}

    def _living(self) -> list[int]:
        return [number for number in self.numbers if self._nodes[number].running]

    def _agree(self, living: Collection[int]) -> bool:
        """
        Whether the nodes that live become a synced primary component, of themselves and no other.

        Until they have given up a killed node, it must not come back: Galera 26.4
        may then find no view at all, and stay without a primary component.
        """
        deadline = time.monotonic() + _AGREE_S
        while living and time.monotonic() < deadline:
            said = [self.status(number) for number in living]
            if all(_is_synced(one) and one["wsrep_cluster_size"] == str(len(living)) for one in said):
                return True
            if 2 * len(living) < len(self.numbers) and not any(map(_is_primary, said)):
                return False  # nobody is left to make a majority with
            time.sleep(0.05)
        return False

    def _has_left(self, number: int) -> bool:
        """Whether a node that lives left for good, as one does that could not apply what the others did."""
        return self.status(number).get("wsrep_connected") != "ON"

    def _needed_network(self) -> Network:
        if not self._network:
            raise RuntimeError(self.cut_off)
        return self._network

    def _describe(self) -> None:
        """Make the nodes, which have to know each other's addresses."""
        among = {
            number: self._network.cluster_address(number) if self._network else f"127.0.0.{10 + number}"
            for number in self.numbers
        }
        talk = {number: f"{address}:{free_port()}" for number, address in among.items()}
        for number in self.numbers:
            address = self._network.client_address(number) if self._network else among[number]
            provider = [
                f"gmcast.listen_addr=tcp://{talk[number]}",
                f"ist.recv_addr={among[number]}:{free_port()}",
                "gcache.size=32M",
                *self._provider_options,
            ]
            self._nodes[number] = node = Mariadb(
                self._run, f"galera-{number}", address=address, inside=self._inside(number)
            )
            node.options = (
                *_OPTIONS,
                f"--wsrep-provider={node.programs.wsrep_provider}",
                f"--wsrep-provider-options={';'.join(provider)}",
                f"--wsrep-cluster-address=gcomm://{','.join(talk.values())}",
                f"--wsrep-node-name=node{number}",
                f"--wsrep-node-address={talk[number]}",
                f"--wsrep-sst-receive-address={among[number]}:{free_port()}",
                *self._options,
            )

    def _inside(self, number: int) -> list[str]:
        return self._network.inside(number) if self._network else []

    def _bootstrap(self, number: int, position: str) -> None:
        self._nodes[number].start("--wsrep-new-cluster", f"--wsrep-start-position={position}")
        self.wait_synced(number, size=1)

    def _join(self, positions: Mapping[int, str]) -> None:
        """Start nodes one after the other: side by side they would wait for the same donor, and take longer."""
        for number, position in positions.items():
            self._nodes[number].start(f"--wsrep-start-position={position}")

    def _positions(self, numbers: Collection[int]) -> dict[int, str]:
        """
        What each of these nodes has.

        A node that was killed must tell it to the provider, which then asks for what is missing and not for
        everything. Only InnoDB knows; Debian's service asks in the same way, see galera_recovery.
        """
        with ThreadPoolExecutor() as pool:
            return dict(zip(numbers, pool.map(self._position, numbers), strict=True))

    def _position(self, number: int) -> str:
        """The last transaction that a node, which is down, has kept, as "UUID:number"."""
        node = self._nodes[number]
        try:
            said = self._run.finish(node.name, node.command("--wsrep-recover"), node.programs.environment())
        except Late:
            # Killed in the middle of a state transfer: what there is cannot be read, and all must come again.
            shutil.rmtree(node.data)
            make_directory(node.data)
            return NOTHING
        found = re.search(r"WSREP: Recovered position: (\S+:-?\d+)", said)
        if not found:
            raise Late(f"{node.name} does not say what it has:\n{said[-3000:]}")
        return found[1]


def _is_primary(said: Mapping[str, str]) -> bool:
    return said.get("wsrep_cluster_status") == "Primary"


def _is_synced(said: Mapping[str, str]) -> bool:
    return _is_primary(said) and said.get("wsrep_local_state_comment") == "Synced"
