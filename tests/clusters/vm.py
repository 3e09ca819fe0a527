# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.clusters.vm [SOFTWARE ...]`: boot virtual machines by the user-data of `examples/`, as a cloud does.

Each is a Debian 12 with its own kernel and cloud-init, in qemu without
hardware's help, so it is slow. cloud-init finds the metadata address by itself,
takes who it is from `peerdata serve` and the example's user-data, unchanged,
from beside it; installs what that asks for, from an archive on this computer;
and the software itself says whether its members are one cluster, then and after
all of them were rebooted.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

from ..databases import ip
from ..databases.run import MARK, Late, Run, until
from ..live.service import Service, free_port
from . import PROJECT, Packages, vm_image
from .all import ALL
from .build import build
from .machine import Machine
from .software import Software
from .vm_image import ARCHIVE, FILES, Image

USUAL = ("serf", "nats", "etcd")

_WITHIN_S = 1500.0
"""For all machines to boot and to form a cluster; several share one processor, which is emulated."""

_HAPROXY = """
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  retries 3
frontend metadata
  bind 169.254.169.254:80
  option forwardfor
  # Of nova's answers the one that the stand-alone service has not.
  use_backend user_data if {{ path_reg ^/openstack/[^/]+/user_data$ }}
  default_backend services
frontend files
  bind 10.0.0.1:80
  bind 10.0.0.1:443 ssl crt {certificate}
  default_backend files
backend services
  server s1 127.0.0.1:{service}
backend user_data
  http-request set-path /user-data
  server f1 127.0.0.1:8000
backend files
  server f1 127.0.0.1:8000
"""


@dataclass
class VirtualMachine(Machine):
    """
    A member with a kernel of its own.

    Args:
        image: What it boots; it writes elsewhere, and what it wrote is gone once it is off.
        hub: The network namespace that it is plugged into.
    """

    image: Image = field(kw_only=True)
    hub: str = field(kw_only=True)

    @property
    def mac(self) -> str:
        """The address by which it gets its other one."""
        return f"52:54:00:00:00:{10 + self.number:02x}"

    def boot(self, instance: str) -> None:
        """Switch it on as nova would, as the instance of that uuid."""
        self.disk.mkdir(exist_ok=True)
        command = ["ip", "netns", "exec", self.hub, "qemu-system-x86_64", "-nodefaults", "-no-user-config"]
        # A processor with fewer features is emulated faster.
        command += ["-machine", "hpet=off", "-accel", "tcg,tb-size=256", "-cpu", "Nehalem,+rdrand", "-m", "1024"]
        command += ["-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci"]
        command += ["-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd)]
        command += ["-append", "root=/dev/vda rw console=ttyS0 mitigations=off quiet"]
        command += ["-drive", f"file={self.image.disk},format=raw,if=virtio,snapshot=on,cache=unsafe"]
        command += ["-netdev", f"tap,id=net,ifname=tap{self.number},script=no,downscript=no"]
        command += ["-device", f"virtio-net-pci,netdev=net,mac={self.mac},romfile="]
        # By this cloud-init knows that there is a metadata address.
        command += ["-smbios", f"type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,uuid={instance}"]
        self._process = self.run.start(self.name, command, {"TMPDIR": str(self.disk)})

    def run_inside(self, *command: str, within_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run *command* in it, as root; a command that hangs, or cannot begin, has failed."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "30",
            "ControlMaster": "auto",
            "ControlPath": str(self.disk / "ssh"),
            "ControlPersist": "yes",
            "LogLevel": "ERROR",
            "ServerAliveInterval": "10",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        ssh = ["ip", "netns", "exec", self.hub, "ssh", "-F", "none", "-i", str(self.image.key)]
        ssh += [f"-o{name}={value}" for name, value in options.items()]
        ssh += [f"debian@{self.address}", shlex.join(["sudo", *command])]
        try:
            return subprocess.run(
                ssh,
                env=self.run.environment({}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what stays to hold the connection would hold a pipe open
                text=True,
                timeout=within_s,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", "it hung")

    def check(self) -> None:
        """Raise `Late` where it has ended."""
        assert self._process
        self._process.check()

    def boot_id(self) -> str:
        """Another one after each boot."""
        return self.ask("cat", "/proc/sys/kernel/random/boot_id").strip()

    def cloud_init(self) -> tuple[str, Sequence[str]]:
        """From where cloud-init took who this is, and what went wrong with it."""
        said = (self.ask_json("cat", "/run/cloud-init/result.json") or {}).get("v1", {})
        return said.get("datasource", ""), said.get("errors", [])

    def has_run_cloud_init(self) -> bool:
        """Whether cloud-init has said on the console that it is through."""
        return b" finished at " in self.log.read_bytes()


class _Service(Service):
    """One that runs in the network's namespace."""

    inside: Sequence[str] = ()

    def command(self, *words: str) -> list[str]:
        return [*self.inside, *super().command(*words)]


class Cloud:
    """
    The virtual machines and their network: with DHCP and names, the metadata address, and the files to fetch.

    A context: it ends with the `with` block, whatever happens in it.

    Args:
        run: Whose directory, mark and names it uses.
        image: What the machines boot.
        size: How many machines there are.
    """

    def __init__(self, run: Run, image: Image, size: int) -> None:
        self._run = run
        self._image = image
        self._web = run.directory / "web"
        self._disks = run.directory / "disks"
        self._hub = f"{run.prefix}hub"
        self._inside = ["ip", "netns", "exec", self._hub]
        self._port = free_port()
        self._service: Service | None = None
        self._machines = [
            VirtualMachine(run, number, self._disks, image=image, hub=self._hub) for number in range(1, size + 1)
        ]

    def __enter__(self) -> "Cloud":
        try:
            self._lay_files()
            self._plug()
            self._serve()
        except BaseException:
            self._run.clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._run.clear()

    def boot(self, software: Software) -> Sequence[VirtualMachine]:
        """Switch on as many machines as its cluster is to have, at one moment, with its user-data."""
        for machine in self._machines:
            machine.switch_off()
            machine.log.unlink(missing_ok=True)
        (self._web / "user-data").write_text(vm_image.user_data(software.name))
        members = self._machines[: software.size]
        uuids = {member.name: str(uuid.uuid4()) for member in members}
        self._tell_service(software.name, members, uuids)
        for member in members:
            member.boot(uuids[member.name])
        return members

    def _tell_service(self, project: str, members: Sequence[Machine], uuids: Mapping[str, str]) -> None:
        """Begin a service that has nothing in its store, and knows these instances."""
        if self._service:
            self._service.end()
        directory = self._disks / f"service-{project}"
        directory.mkdir()
        self._service = _Service(
            directory,
            {"identity": {"trusted_proxies": "127.0.0.1"}},
            port=self._port,
            environment={MARK: str(self._run.directory)},
        )
        key = self._image.key.with_suffix(".pub").read_text().strip()
        instances = [
            {
                "uuid": uuids[member.name],
                "name": member.name,
                "project_id": project,
                "addresses": [member.address],
                "public_keys": {"tests": key},
            }
            for member in members
        ]
        self._service.inventory.write_text(json.dumps({"instances": instances}))
        self._service.start()

    def _lay_files(self) -> None:
        self._disks.mkdir()
        self._web.mkdir()
        (self._web / "archive").symlink_to(self._image.archive)
        lock = self._run.directory.parent / "peerdata-zipapp.lock"  # another run may make it at this moment
        make = ["make", "--silent", "-C", str(PROJECT), "zipapp", f"PYTHON={sys.executable}"]
        self._run.finish("zipapp", ["flock", str(lock), *make], {})
        (self._web / "peerdata.pyz").write_bytes((PROJECT / "build/peerdata.pyz").read_bytes())

    def _plug(self) -> None:
        lines = [
            "link set lo up",
            "link add br0 type bridge",
            "link set br0 up",
            "address add 10.0.0.1/24 dev br0",
            "address add 169.254.169.254/32 dev br0",
        ]
        for machine in self._machines:
            tap = f"tap{machine.number}"
            lines += [f"tuntap add {tap} mode tap", f"link set {tap} master br0", f"link set {tap} up"]
        self._run.finish("network", ["ip", "netns", "add", self._hub], {})
        for line in lines:
            self._run.finish("network", ["ip", "-n", self._hub, *line.split()], {})

    def _serve(self) -> None:
        _Service.inside = self._inside
        configuration = self._disks / "haproxy.cfg"
        configuration.write_text(_HAPROXY.format(certificate=self._image.certificate, service=self._port))
        root = Packages.default().root
        libraries = [str(path) for path in (root / "usr/lib").glob("*-linux-gnu*")]
        haproxy = [*self._inside, str(root / "usr/sbin/haproxy"), "-db", "-f", str(configuration)]
        self._run.start("haproxy", haproxy, {"LD_LIBRARY_PATH": ":".join(libraries)})
        serve = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(self._web), "8000"]
        self._run.start("web", [*self._inside, *serve], {})
        lease = ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--user=root"]
        lease += [
            "--pid-file=",
            "--no-resolv",
            "--no-hosts",
            "--interface=br0",
            "--bind-interfaces",
            "--dhcp-authoritative",
        ]
        lease += [f"--dhcp-leasefile={self._disks / 'leases'}", "--dhcp-range=10.0.0.0,static"]
        lease += [f"--dhcp-host={machine.mac},{machine.address}" for machine in self._machines]
        lease += [f"--address=/{name}/10.0.0.1" for name in (ARCHIVE, FILES)]
        self._run.start("dnsmasq", [*self._inside, *lease], {})


def _pass(cloud: Cloud, software: Software) -> None:
    """Boot it, and reboot it, and say how long that took; raise `Late` where no cluster comes of it."""
    began = time.monotonic()
    members = cloud.boot(software)
    _await("cloud-init is through", members, lambda: all(member.has_run_cloud_init() for member in members))
    _say(software, "cloud-init is through", began)
    _await("one cluster", members, partial(_stands, software, members))
    _say(software, f"{len(members)} machines are one cluster", began)
    results = [member.cloud_init() for member in members]
    if any(errors or "OpenStack" not in source for source, errors in results):
        raise Late(f"{software.name}: cloud-init says {results}")
    began = time.monotonic()
    before = [member.boot_id() for member in members]
    for member in members:
        member.run_inside("systemctl", "reboot")
    _await("all are rebooted", members, lambda: not {"", *before} & {member.boot_id() for member in members})
    if software.name == "galera":
        _lend_a_hand(members)
    _await("one cluster after the reboot", members, partial(_stands, software, members))
    _say(software, "all rebooted, they are one again", began)


def _say(software: Software, what: str, began: float) -> None:
    print(f"{software.name}: {what}, {time.monotonic() - began:.0f} s", flush=True)


def _stands(software: Software, members: Sequence[Machine]) -> bool:
    """As the software says; and where it has founders, the service."""
    return software.stands(members) and (not software.founders or bool(members[0].cluster(software.name).get("formed")))


def _lend_a_hand(members: Sequence[Machine]) -> None:
    """Do what docs/clusters.md wants of a person, where all of a Galera cluster were stopped in good order."""
    for member in members:
        if "safe_to_bootstrap: 1" in member.run_inside("cat", "/var/lib/mysql/grastate.dat").stdout:
            member.run_inside("galera_new_cluster", within_s=300)


def _await(what: str, members: Sequence[VirtualMachine], happened: Callable[[], object]) -> None:
    def still_on() -> bool:
        for member in members:
            member.check()
        return bool(happened())

    until(what, still_on, within_s=_WITHIN_S, every_s=5)


def main() -> int:
    """Run, and return the exit status: 1 where anything was wrong."""
    known = {software.name: software for software in ALL}
    parser = argparse.ArgumentParser(prog="python -m tests.clusters.vm", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="SOFTWARE", help=f"of {', '.join(known)}; default: {', '.join(USUAL)}"
    )
    names = parser.parse_args().names or USUAL
    if unknown := set(names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if reason := ip.why_not() or vm_image.why_not():
        print(reason, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    build(Packages.default())
    image = Image.default()
    wrong = True
    run = Run.begin()
    try:
        began = time.monotonic()
        if vm_image.build(image, run):
            print(f"{image.directory}: made in {time.monotonic() - began:.0f} s", flush=True)
        with Cloud(run, image, max(known[name].size for name in names)) as cloud:
            for name in names:
                _pass(cloud, known[name])
        wrong = False
    except Late as error:
        print(f"{error}\nThe consoles are in {run.logs}", file=sys.stderr)
    finally:
        run.end(keep_logs=wrong)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
