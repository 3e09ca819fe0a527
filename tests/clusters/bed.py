# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The network in which clusters form: machines on a bridge, and two `peerdata serve` on one store.

haproxy listens at the metadata address, as it does in a cloud, and shares the
calls out among the two services; they believe it who asks.
"""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

import yaml

from ..databases.ip import ip
from ..databases.run import MARK, Run, until
from ..live.service import Service
from . import PROJECT, Packages
from .machine import Machine, give, owner_id

MACHINES = 7

_BRIDGE = "br0"

_USERS = {"etcd": 901, "mysql": 902, "redis": 903, "rabbitmq": 904, "nats": 905, "prometheus": 906}
"""Those that Debian's packages make at installation; with the home that they give them."""

_HOMES = {"mysql": "/nonexistent", "nats": "/nonexistent"}

_PEERDATA = """#!/bin/sh
# The command, which a test can let stand still before or after a call: see Machine.hold.
stop() { touch /var/tmp/held; while [ -e "/etc/peerdata-hold-$1" ]; do sleep 0.2; done; }
[ "$1" = formed ] && [ -e /etc/peerdata-hold-formed ] && stop formed
[ -e /etc/peerdata-hold-verdict ] || exec /usr/local/lib/peerdata.pyz "$@"
said=$(/usr/local/lib/peerdata.pyz "$@") || exit
case "$1 $said" in "join bootstrap" | join*"PEERDATA_VERDICT='bootstrap'"*) stop verdict ;; esac
printf '%s\\n' "$said"
"""

_HAPROXY = """
defaults
  mode http
  timeout connect 1s
  timeout client 32s
  timeout server 32s
  retries 3
  option redispatch
frontend metadata
  bind 169.254.169.254:80
  option forwardfor
  default_backend services
backend services
"""


class _Service(Service):
    """One that runs in the network's namespace."""

    inside: Sequence[str] = ()

    def command(self, *words: str) -> list[str]:
        return [*self.inside, *super().command(*words)]


class Bed:
    """
    Everything but the clusters. A context: it ends with the `with` block, whatever happens in it.

    Args:
        run: Whose directory, mark and names it uses.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._disks = run.directory / "disks"
        self._hub = f"{run.prefix}hub"
        self.machines = [Machine(run, number, self._disks) for number in range(1, MACHINES + 1)]
        self._services: list[_Service] = []
        self._projects = 0
        self._listed: dict[str, str] = {}

    def __enter__(self) -> "Bed":
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Switch everything off."""
        for machine in self.machines:
            machine.switch_off()
        for service in self._services:
            service.end()
        self.run.clear()

    def new_project(self) -> None:
        """All machines are off, empty, and instances of a project of which nobody has heard."""
        for machine in self.machines:
            machine.switch_off()
            machine.wipe()
        self._projects += 1
        self._listed = {machine.address: str(uuid.uuid4()) for machine in self.machines}
        self._tell_inventory()

    def uuid(self, machine: Machine) -> str:
        """Which instance it is."""
        return self._listed[machine.address]

    def delete(self, machine: Machine) -> None:
        """Delete the instance, as the owner does in nova: switched off, and listed no more."""
        machine.switch_off()
        machine.wipe()
        del self._listed[machine.address]
        self._tell_inventory()

    def _open(self) -> None:
        self._disks.mkdir()
        _checked("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(self._disks))
        self._lay_base()
        self._plug()
        directory = self._disks / "service"
        directory.mkdir()
        _Service.inside = ("ip", "netns", "exec", self._hub)
        for _ in range(2):
            service = _Service(
                directory,
                {"identity": {"trusted_proxies": "127.0.0.1"}},
                projects={"nobody": {"192.0.2.1": str(uuid.uuid4())}},
                environment={MARK: str(self.run.directory)},
            )
            self._services.append(service)
            service.start()
        backends = [
            f"  server s{number} 127.0.0.1:{service.port}\n" for number, service in enumerate(self._services, start=1)
        ]
        configuration = self._disks / "haproxy.cfg"
        configuration.write_text(_HAPROXY + "".join(backends))
        haproxy = Packages.default().root / "usr/sbin/haproxy"
        libraries = [str(path) for path in (Packages.default().root / "usr/lib").glob("*-linux-gnu*")]
        self.run.start(
            "haproxy",
            ["ip", "netns", "exec", self._hub, str(haproxy), "-db", "-f", str(configuration)],
            {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(libraries)},
        )

    def _lay_base(self) -> None:
        """What installing the packages, and cloud-init, would have put on every disk."""
        base = self._disks / "base"
        for part in ("etc/mysql", "usr/local/bin", "usr/local/sbin", "usr/local/lib", "var/lib", "var/log"):
            (base / part).mkdir(parents=True)
        passwd, group = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
        for name, number in _USERS.items():
            if f"\n{name}:" not in passwd:
                passwd += f"{name}:x:{number}:{number}::{_HOMES.get(name, f'/var/lib/{name}')}:/usr/sbin/nologin\n"
                group += f"{name}:x:{number}:\n"
        (base / "etc/passwd").write_text(passwd)
        (base / "etc/group").write_text(group)
        for name in _USERS:
            for part in ("var/lib", "var/log"):
                give(base / part / name, owner_id(name, passwd))
        give(base / "var/lib/rabbitmq/mnesia", owner_id("rabbitmq", passwd))  # the package's own is root's at first
        cookie = base / "var/lib/rabbitmq/.erlang.cookie"
        cookie.write_text("ASECRETOFTHECLUSTER")
        cookie.chmod(0o400)
        os.chown(cookie, *[owner_id("rabbitmq", passwd)] * 2)
        (base / "etc/mysql/my.cnf").symlink_to("mariadb.cnf")
        # No name server: looking for one, rsync alone would wait for ten seconds at each connection.
        (base / "etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        names = "".join(f"{machine.address} {machine.name}\n" for machine in self.machines)
        (base / "etc/hosts").write_text(f"127.0.0.1 localhost\n{names}")
        lock = self._disks.parent.parent / "peerdata-zipapp.lock"  # another run may make it at this moment
        _checked("flock", str(lock), "make", "--silent", "-C", str(PROJECT), "zipapp", f"PYTHON={sys.executable}")
        _executable(base / "usr/local/lib/peerdata.pyz", (PROJECT / "build/peerdata.pyz").read_bytes())
        _executable(base / "usr/local/bin/peerdata", _PEERDATA.encode())
        _write_scripts(base)

    def _plug(self) -> None:
        _checked("ip", "netns", "add", self._hub)
        self._batch(
            self._hub,
            "link set lo up",
            f"link add {_BRIDGE} type bridge",
            f"link set {_BRIDGE} up",
            f"address add 10.0.0.1/24 dev {_BRIDGE}",
            f"address add 169.254.169.254/32 dev {_BRIDGE}",
        )
        for machine in self.machines:
            _checked("ip", "netns", "add", machine.namespace)
            self._batch(
                self._hub,
                f"link add port{machine.number} type veth peer name eth0 netns {machine.namespace}",
                f"link set port{machine.number} master {_BRIDGE}",
                f"link set port{machine.number} up",
            )
            self._batch(
                machine.namespace,
                "link set lo up",
                "link set eth0 up",
                f"address add {machine.address}/24 dev eth0",
                "route add default via 10.0.0.1",
            )

    def _batch(self, namespace: str, *commands: str) -> None:
        done = ip("-n", namespace, "-batch", "-", stdin="\n".join(commands) + "\n")
        if done.returncode:
            raise RuntimeError(done.stderr)

    def _tell_inventory(self) -> None:
        instances = [
            {"uuid": instance, "project_id": f"project-{self._projects}", "addresses": [address]}
            for address, instance in self._listed.items()
        ]
        for service in self._services:
            service.inventory.write_text(json.dumps({"instances": instances}))
            before = _times_read(service)
            service.signal(signal.SIGHUP)
            until("the inventory is read again", partial(_has_read, service, before), within_s=15, every_s=0.02)


def _times_read(service: Service) -> int:
    return service.log.read_bytes().count(b"The inventory was read again")


def _has_read(service: Service, before: int) -> bool:
    return _times_read(service) > before


def _write_scripts(base: Path) -> None:
    """Write the scripts of all examples, as cloud-init does from their user-data; `Machine` does what systemd does."""
    for user_data in (PROJECT / "examples").glob("*/user-data"):
        for file in yaml.safe_load(user_data.read_text())["write_files"]:
            if file["path"].startswith("/usr/local/"):
                path = base / file["path"].lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file["content"])
                path.chmod(int(file.get("permissions", "0644"), 8))


def _executable(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def _checked(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
