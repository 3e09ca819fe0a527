# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A network of namespaces in which nodes of a cluster can be cut off from each other and from their clients.

Each node has a namespace with two interfaces. `cluster` is plugged into a bridge
that lives in a namespace of its own: unplugging it is the partition. `clients` is
a cable to this machine's own namespace, so that a node that is cut off from its
peers still answers its clients, as a node beside its API server does.
"""

from . import Programs
from .ip import ip
from .run import Run

_BRIDGE = "br0"

# RFC 2544, for tests of devices and nothing else: a /24 of it for each network on this machine, a /30 for each node.
_CLIENTS = "198.18.{network}.{number}"

# Seen by nobody but the nodes, so every network may use it.
_CLUSTER = "192.0.2.{node}"


class Network:
    """
    Namespaces for the nodes 1 to *nodes*.

    Args:
        run: Names and removes the namespaces.
        nodes: How many, at most 60.
    """

    def __init__(self, run: Run, nodes: int) -> None:
        self._run = run
        self._nodes = range(1, nodes + 1)
        self._number = -1
        self._hub = f"{run.prefix}hub"

    def open(self) -> None:
        """Make the namespaces and the cables."""
        _checked("netns", "add", self._hub)
        _batch(self._hub, f"link add {_BRIDGE} type bridge", f"link set {_BRIDGE} up")
        for node in self._nodes:
            _checked("netns", "add", self._name(node))
        self._number = self._claim()
        for node in self._nodes:
            name = self._name(node)
            if node > 1:
                _checked(*self._cable(node))
            _checked("address", "add", f"{self._host_address(node)}/30", "dev", self._host_port(node))
            _checked("link", "set", self._host_port(node), "up")
            _batch(
                self._hub,
                f"link add port{node} type veth peer name cluster netns {name}",
                f"link set port{node} master {_BRIDGE}",
                f"link set port{node} up",
            )
            _batch(
                name,
                "link set lo up",
                f"address add {self.cluster_address(node)}/24 dev cluster",
                "link set cluster up",
                f"address add {self.client_address(node)}/30 dev clients",
                "link set clients up",
            )

    def inside(self, node: int) -> list[str]:
        """The beginning of a command line that runs in the namespace of *node*."""
        return [Programs.default().tool("ip"), "netns", "exec", self._name(node)]

    def cluster_address(self, node: int) -> str:
        """Where the other nodes find *node*."""
        return _CLUSTER.format(node=node)

    def client_address(self, node: int) -> str:
        """Where this machine finds *node*."""
        return _CLIENTS.format(network=self._number, number=4 * node + 2)

    def cut(self, node: int) -> None:
        """Unplug *node* from all other nodes; its clients still reach it. Packets vanish, nobody is told."""
        _batch(self._hub, f"link set port{node} down")

    def mute(self, node: int) -> None:
        """Lose what *node* sends to its clients. It still hears them, and does what they ask."""
        _batch(self._name(node), f"route replace blackhole {self._host_address(node)}/32")

    def heal(self) -> None:
        """Undo every `cut` and `mute`."""
        _batch(self._hub, *(f"link set port{node} up" for node in self._nodes))
        for node in self._nodes:
            ip("-n", self._name(node), "route", "delete", "blackhole", f"{self._host_address(node)}/32")

    def _claim(self) -> int:
        """The number of this network, free on this machine: the first cable claims it by its name."""
        for number in range(256):
            self._number = number
            if not ip(*self._cable(1)).returncode:
                return number
        raise RuntimeError("every network of 198.18.0.0/16 is in use")

    def _cable(self, node: int) -> list[str]:
        return f"link add {self._host_port(node)} type veth peer name clients netns {self._name(node)}".split()

    def _host_port(self, node: int) -> str:
        return f"pdd{self._number}n{node}"

    def _host_address(self, node: int) -> str:
        return _CLIENTS.format(network=self._number, number=4 * node + 1)

    def _name(self, node: int) -> str:
        return f"{self._run.prefix}{node}"


def _checked(*arguments: str, stdin: str | None = None) -> None:
    done = ip(*arguments, stdin=stdin)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr}")


def _batch(namespace: str, *commands: str) -> None:
    """Run `ip` commands inside *namespace*, one after the other."""
    _checked("-n", namespace, "-batch", "-", stdin="\n".join(commands) + "\n")
