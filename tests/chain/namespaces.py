# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Network namespaces: one for each network, with a bridge, and one for each guest, plugged into it."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .run import Run

# The port in a network's namespace that carries the metadata address; haproxy binds to it by name.
BRIDGE = "br0"


def why_not() -> str:
    """Why this machine cannot have namespaces; "" where it can."""
    if os.geteuid():
        return "network namespaces need root"
    name = f"pdc{os.getpid()}-probe"
    try:
        made = _ip("netns", "add", name)
        if not made.returncode:
            made = _ip("-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        if not made.returncode:
            made = _ip("-n", name, "link", "add", BRIDGE, "type", "bridge")
        _ip("netns", "delete", name)
    except FileNotFoundError:
        return "there is no ip command (iproute2)"
    return made.stderr.strip() and f"network namespaces are not permitted: {made.stderr.strip()}"


def ipv6() -> bool:
    """Whether the kernel speaks IPv6."""
    return Path("/proc/sys/net/ipv6").exists()


@dataclass
class Namespace:
    """A network namespace of this run."""

    run: Run
    label: str
    _plugged: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """Its name on this machine."""
        return self.run.prefix + self.label

    def add(self) -> None:
        """Make it, with its loopback."""
        _checked(_ip("netns", "add", self.name))
        # An IPv6 address may be used at once: nobody else is there to have it.
        self.sysctl("net/ipv6/conf/default/accept_dad=0")
        self.ip("link set lo up")

    def ip(self, *commands: str) -> None:
        """Run `ip` commands inside it, one after the other."""
        _checked(_ip("-n", self.name, "-batch", "-", stdin="\n".join(commands) + "\n"))

    def sysctl(self, *settings: str) -> None:
        """Set kernel settings inside it, where the kernel has them."""
        for setting in settings:
            path, _, value = setting.partition("=")
            script = f"test ! -e /proc/sys/{path} || echo {value} > /proc/sys/{path}"
            _checked(subprocess.run(self.inside("sh", "-c", script), capture_output=True, text=True))

    def inside(self, *command: str) -> list[str]:
        """The command line that runs *command* inside it."""
        return ["ip", "netns", "exec", self.name, *command]

    def become_network(self, gateway: str, prefix_length: int) -> None:
        """Put the bridge in: it carries the gateway's address and the metadata addresses."""
        self.ip(
            f"link add {BRIDGE} type bridge",
            f"link set {BRIDGE} up",
            f"address add {gateway}/{prefix_length} dev {BRIDGE}",
            f"address add 169.254.169.254/32 dev {BRIDGE}",
            *([f"address add fe80::a9fe:a9fe/64 dev {BRIDGE} nodad"] if ipv6() else []),
        )
        self.sysctl("net/ipv4/ip_forward=1")

    def plug(self, guest: "Namespace", mac: str, address: str, prefix_length: int, gateway: str) -> None:
        """Connect *guest* by its eth0, which gets the address and the default route."""
        self._plugged += 1
        port = f"port{self._plugged}"
        self.ip(
            f"link add {port} type veth peer name eth0 netns {guest.name} address {mac}",
            f"link set {port} master {BRIDGE}",
            f"link set {port} up",
        )
        guest.ip(
            "link set eth0 up",
            f"address add {address}/{prefix_length} dev eth0",
            f"route add default via {gateway}",
        )

    def route_to(self, other: "Namespace", here: str, there: str) -> None:
        """Join two networks of a project as its router does; *here* and *there* are their address ranges."""
        self.ip(f"link add router type veth peer name router netns {other.name}")
        for namespace, own, peer, beyond in (
            (self, "100.64.0.1", "100.64.0.2", there),
            (other, "100.64.0.2", "100.64.0.1", here),
        ):
            namespace.ip(
                "link set router up",
                f"address add {own}/30 dev router",
                f"route add {beyond} via {peer}",
            )


def _ip(*arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["ip", *arguments], input=stdin, capture_output=True, text=True)


def _checked(done: "subprocess.CompletedProcess[str]") -> None:
    if done.returncode:
        raise RuntimeError(f"{done.args}: {done.stderr}")
