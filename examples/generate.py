# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Writes the user-data of each example, from its scripts and its systemd drop-in: `make examples`.

``--check`` writes nothing, and exits 1 if a user-data is not what would be written. Standard library only.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

EXAMPLES = Path(__file__).parent


class Example(NamedTuple):
    """
    What user-data says beside the files of the example's directory.

    Args:
        title: The first line, for its reader.
        packages: Debian's, beside those that every example needs.
        more_files: Further entries of ``write_files``, in YAML.
    """

    title: str
    packages: tuple[str, ...]
    more_files: str = ""


_COOKIE = """\
  # The secret that all nodes share: whoever knows it can run code on them. Replace
  # it by your own (openssl rand -hex 20). Every process of an instance can read
  # its user-data, so an image of your own is a better place for it.
  - path: /var/lib/rabbitmq/.erlang.cookie
    owner: rabbitmq:rabbitmq
    permissions: "0400"
    defer: true
    content: PUT-A-SECRET-OF-YOUR-OWN-HERE
"""

TABLE = {
    "etcd": Example("A member of an etcd cluster", ("etcd-server", "etcd-client")),
    "galera": Example("A node of a MariaDB Galera cluster", ("mariadb-server", "galera-4", "rsync")),
    "nats": Example("A server of a NATS cluster", ("nats-server",)),
    "prometheus": Example("A Prometheus server that monitors all its peers", ("prometheus",)),
    "rabbitmq": Example("A node of a RabbitMQ cluster", ("rabbitmq-server",), _COOKIE),
    "redis-cluster": Example("A node of a Redis Cluster", ("redis-server",)),
    "serf": Example("A serf agent", ("serf",)),
}
"""By the name of the example's directory."""

_USER_DATA = """\
#cloud-config
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# {title}, on Debian 12. All instances get the same user-data.
# Adapt SIZE in the script, and the URL at the end. In the repository this file is
# generated from those beside it: `make examples`.
bootcmd:
  # Debian starts a service when its package is installed. Prevent that: the
  # service would start by itself, before it knows its peers.
  - [cloud-init-per, once, hold-{unit}, systemctl, mask, {unit}.service]
packages: [{packages}]
write_files:
{files}runcmd:
  # The file that `make zipapp` builds, from wherever you host it.
  - [curl, -fsS, --retry, "10", -o, /usr/local/bin/peerdata, "https://files.example.org/peerdata.pyz"]
  - [chmod, "755", /usr/local/bin/peerdata]
  - [systemctl, unmask, {unit}.service]
  - [systemctl, enable, {unit}.service]
  - [systemctl, start, --no-block, {unit}.service]
"""


def user_data(name: str) -> str:
    """The whole user-data of one example."""
    example = TABLE[name]
    directory = EXAMPLES / name
    (drop_in,) = directory.glob("*.service.d/peerdata.conf")
    files = _file(f"/usr/local/sbin/start-{name}", directory / "start.sh", permissions="0755")
    for script in sorted(directory.glob("*.sh")):
        if script.name != "start.sh":
            files += _file(f"/usr/local/lib/{name}/{script.name}", script)
    files += _file(f"/etc/systemd/system/{drop_in.parent.name}/{drop_in.name}", drop_in)
    return _USER_DATA.format(
        title=example.title,
        unit=drop_in.parent.name[: -len(".service.d")],
        packages=", ".join((*example.packages, "curl", "python3")),
        files=files + example.more_files,
    )


def _file(path: str, source: Path, *, permissions: str = "") -> str:
    """One entry of ``write_files``."""
    entry = f"  - path: {path}\n"
    if permissions:
        entry += f'    permissions: "{permissions}"\n'
    entry += "    content: |\n"
    for line in source.read_text(encoding="utf-8").splitlines():
        entry += f"      {line}\n" if line else "\n"
    return entry


def main() -> int:
    """Write or check all user-data, and return the exit status."""
    status = 0
    for name in TABLE:
        path, text = EXAMPLES / name / "user-data", user_data(name)
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"examples/{name}/user-data is out of date; run `make examples`", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
