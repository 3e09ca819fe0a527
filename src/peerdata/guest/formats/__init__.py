# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The table of output formats, which the command's help and docs/guest.md repeat, and `render`, which applies one.

A peer publishes whatever it, or an intruder on it, wants. So a format is made of checked parts only (`nodes`), or
quotes by the rules of its language; what a format cannot express safely is left out.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

from peerdata.guest.errors import Misused

if TYPE_CHECKING:
    from peerdata.guest.formats.nodes import View


class Format(NamedTuple):
    """One output format; its function is imported when it is used."""

    function: str
    """Module and function, as ``module.function``."""
    about: str
    port: int | None = None
    """Used where neither the value nor --port has one; None: no port is needed."""
    reads: str = "address"
    """What it reads of each peer, for the help."""
    needs_addresses: bool = True
    """Whether it writes the address of each peer, so that `join` must publish this instance's own."""
    needs_members: bool = False
    """Whether it writes ordinals, which only the members of a cluster have, so that it is for `join` only."""
    whole_verdict: bool = False
    """Whether it has the verdict itself, so that `join` prints it for ``wait`` and ``full`` too."""


FORMATS = {
    "json": Format(
        "general.as_json",
        "everything that the peers published, for programs",
        reads="all keys",
        needs_addresses=False,
        whole_verdict=True,
    ),
    "table": Format("general.as_table", "the same for a person", reads="all keys", needs_addresses=False),
    "env": Format(
        "general.as_env", "shell variables, safe to eval: PEERDATA_COUNT, PEERDATA_1_ADDR...", reads="all keys"
    ),
    "hosts": Format("general.as_hosts", "lines for /etc/hosts", reads="address, name"),
    "addresses": Format("general.as_addresses", "one on each line"),
    "etcd": Format("clusters.as_etcd", "etcd's environment: ETCD_INITIAL_CLUSTER and ..._STATE", 2380, "address, name"),
    "galera": Format("clusters.as_galera", "gcomm://..., for wsrep_cluster_address"),
    "rabbitmq": Format(
        "clusters.as_rabbitmq", "classic config peer discovery, for rabbitmq.conf", reads="address, name"
    ),
    "redis-cluster": Format("clusters.as_redis_cluster", "the arguments of redis-cli --cluster create", 6379),
    "nats": Format("clusters.as_nats", "routes, to include in NATS's block cluster", 6222),
    "serf": Format("clusters.as_serf", "retry_join, a JSON file of its configuration", 7946),
    "consul": Format("clusters.as_consul", "retry_join, a JSON file of its configuration", 8301),
    "elasticsearch": Format(
        "clusters.as_elasticsearch", "seed hosts, for a founder initial_master_nodes too; YAML", 9300, "address, name"
    ),
    "opensearch": Format(
        "clusters.as_opensearch",
        "seed hosts, for a founder initial_cluster_manager_nodes too; YAML",
        9300,
        "address, name",
    ),
    "unicast-hosts": Format("clusters.as_unicast_hosts", "unicast_hosts.txt of Elasticsearch and OpenSearch", 9300),
    "cassandra": Format("clusters.as_cassandra", "the first three, as seeds"),
    "zookeeper": Format("clusters.as_zookeeper", "server.N lines, for zoo.cfg; only with join", needs_members=True),
    "jgroups": Format("clusters.as_jgroups", "initial_hosts of TCPPING: host[port],...", 7800),
    "patroni": Format("clusters.as_patroni", "the hosts of its etcd, YAML", 2379),
    "prometheus": Format("clusters.as_prometheus", "file_sd targets, JSON", 9100, "address, name"),
}
"""By name, as --format takes it."""

TEMPLATE = Format("template.render", "a template of the user's own")
"""The properties of --template, which is not one of `FORMATS`."""


def check_members(name: str, *, has_members: bool) -> None:
    """
    Check that the format *name* can write the list at hand.

    Raises:
        Misused: the format needs the members of a cluster, and the list *has_members* not. The order of peers gives
            other numbers, and a wrong number is another server.
    """
    if name in FORMATS and FORMATS[name].needs_members and not has_members:
        raise Misused(f"the format {name} is for `join` only: its numbers are the ordinals of members")


def render(name: str, view: View) -> str:
    """
    Write *view* in the format *name*, with a newline at its end.

    Raises:
        Unusable: a member that the cluster cannot be without lacks what the format needs; or the list is empty, and
            the format means something else when empty (``gcomm://`` starts a new cluster).
        Misused: there is no such format, or it is for `join` only.
    """
    if name not in FORMATS:
        raise Misused(f"there is no format '{name}': use one of {', '.join(FORMATS)}")
    check_members(name, has_members=view.verdict is not None)
    module, _, function = FORMATS[name].function.partition(".")
    text: str = getattr(importlib.import_module(f"peerdata.guest.formats.{module}"), function)(
        view.with_default_port(FORMATS[name].port)
    )
    return text
