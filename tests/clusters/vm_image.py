# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The disk of the virtual machines: Debian 12 with cloud-init and none of the clustered software, as a cloud's image is.

Beside it lies an archive with the packages that the user-data of `examples/`
asks for, so that cloud-init installs them in the machine as it does anywhere,
and nothing leaves this computer. mmdebstrap makes both, from the package
sources of this machine, in a directory of its own.
"""

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..databases.run import Run
from . import PROJECT, Packages

# Raised when the way of building changes, so that all is made anew.
RECIPE = "1"

ARCHIVE = "archive.example.org"
FILES = "files.example.org"
"""Where user-data fetches the command from."""

# What Debian's own image for clouds has, as far as it matters here.
_BASE = (
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "zstd",
    "systemd-sysv",
    "systemd-resolved",
    "dbus",
    "udev",
    "netplan.io",
    "iproute2",
    "cloud-init",
    "ca-certificates",
    "openssh-server",
    "sudo",
)

_CLOUD = """# The archive is the image's, not one of Debian's mirrors; and one host key is made in less time than four.
apt: {preserve_sources_list: true}
locale: C.UTF-8
ssh_genkeytypes: [ed25519]
"""

_TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "dnsmasq": "dnsmasq-base",
    "ssh": "openssh-client",
    "openssl": "openssl",
    "dpkg-deb": "dpkg",
}


def why_not() -> str:
    """Why this machine cannot make and run virtual machines; "" where it can."""
    missing = [package for tool, package in _TOOLS.items() if not shutil.which(tool)]
    return f"virtual machines need more: apt-get install {' '.join(missing)}" if missing else ""


@dataclass(frozen=True)
class Image:
    """A disk with its kernel, and what is served to the machines beside it; in *directory*."""

    directory: Path

    @classmethod
    def default(cls) -> "Image":
        """Beside the unpacked packages."""
        return cls(Packages.default().root.with_name("debian-vm"))

    @property
    def disk(self) -> Path:
        """A file system without partitions; whoever boots it writes elsewhere."""
        return self.directory / "disk"

    @property
    def kernel(self) -> Path:
        """Debian's."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Debian's, with what mounts the disk."""
        return self.directory / "initrd.img"

    @property
    def archive(self) -> Path:
        """The packages that user-data asks for, as apt reads them at http://ARCHIVE/archive."""
        return self.directory / "archive"

    @property
    def certificate(self) -> Path:
        """Of FILES, which the disk trusts; with its key."""
        return self.directory / "files.pem"

    @property
    def key(self) -> Path:
        """For ssh; the public one beside it is told to cloud-init with the metadata, and is not on the disk."""
        return self.directory / "ssh"

    @property
    def stamp(self) -> Path:
        """Holds the hash of what was made, once it was made to the end."""
        return self.directory.with_name(f"{self.directory.name}.stamp")


def user_data(example: str) -> str:
    """What an instance gets to boot with."""
    return (PROJECT / "examples" / example / "user-data").read_text()


def _wanted() -> Mapping[str, Sequence[str]]:
    """The packages that each example asks for."""
    examples = sorted(path.parent.name for path in (PROJECT / "examples").glob("*/user-data"))
    return {example: yaml.safe_load(user_data(example))["packages"] for example in examples}


def build(image: Image, run: Run) -> bool:
    """Make what is missing or out of date; return whether there was anything to do."""
    image.directory.parent.mkdir(parents=True, exist_ok=True)
    with image.stamp.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = hashlib.sha256(repr((RECIPE, _BASE, _CLOUD, _wanted())).encode()).hexdigest()
        if image.stamp.exists() and image.stamp.read_text() == wanted:
            return False
        image.stamp.unlink(missing_ok=True)
        shutil.rmtree(image.directory, ignore_errors=True)
        image.archive.mkdir(parents=True)
        _make_keys(image, run)
        _make_disk(image, run)
        (image.archive / "Packages").write_text("\n".join(map(_described, sorted(image.archive.glob("*.deb")))))
        image.stamp.write_text(wanted)
    return True


def _make_keys(image: Image, run: Run) -> None:
    key, certificate = image.directory / "files.key", image.directory / "files.crt"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", f"/CN={FILES}"]
    request += ["-addext", f"subjectAltName=DNS:{FILES}", "-keyout", str(key), "-out", str(certificate)]
    run.finish("image", request, {})
    image.certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    run.finish("image", ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(image.key)], {})


def _make_disk(image: Image, run: Run) -> None:
    root, own = image.directory / "root", image.directory / "cloud.cfg"
    own.write_text(_CLOUD)
    fetch = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --download-only install'
    hooks = [
        'rm -f "$1"/var/cache/apt/archives/*.deb',
        *(f"{fetch} {' '.join(packages)}" for packages in _wanted().values()),
        f'for deb in "$1"/var/cache/apt/archives/*.deb; do mv "$deb" {image.archive}/; done',
        f'cp {own} "$1/etc/cloud/cloud.cfg.d/90-image.cfg"',
        f'cp {image.directory}/files.crt "$1/usr/local/share/ca-certificates/"; chroot "$1" update-ca-certificates',
        'rm -f "$1"/etc/ssh/ssh_host_*; : > "$1/etc/machine-id"',
        f'cp "$1"/boot/vmlinuz-* {image.kernel}; cp "$1"/boot/initrd.img-* {image.initrd}',
        'rm -rf "$1"/etc/apt/sources.list.d/* "$1"/var/lib/apt/lists/*',
        f'echo "deb [trusted=yes] http://{ARCHIVE}/archive ./" > "$1/etc/apt/sources.list"',
        'ln -sf /run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"',
    ]
    sources, release = _sources()
    listed = image.directory / "sources.list"
    listed.write_text(sources)
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    make = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(_BASE)}"]
    make += [f"--customize-hook={hook}" for hook in hooks]
    run.finish("image", [*alone, *make, release, str(root), str(listed)], {"TMPDIR": str(image.directory)})
    size = ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(root), str(image.disk), "4G"]
    run.finish("image", size, {})
    shutil.rmtree(root)


def _sources() -> tuple[str, str]:
    """Of Debian's archive, as this machine's apt is told to use it: the lines, and the release."""
    form = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("|") for line in asked.stdout.splitlines()]
    lines = [f"deb {uri} {release} {part}\n" for origin, uri, release, part in rows if origin == "Debian"]
    if not lines:
        raise RuntimeError("apt knows no packages of Debian's here; `apt-get update` may help")
    return "".join(dict.fromkeys(lines)), lines[0].split()[2]


def _described(package: Path) -> str:
    """Its paragraph in the archive's list."""
    asked = subprocess.run(["dpkg-deb", "--field", str(package)], capture_output=True, text=True, check=True)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    return f"{asked.stdout}Filename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"
