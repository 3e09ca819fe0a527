# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The forms in which a list of peers can be written: one table, which the command's help and docs/guest.md repeat.

What a peer published is whatever that peer, or who broke into it, wanted it to be. So a form is made of checked parts
alone (`nodes`), or quotes by the rules of its language; a form that has no way to say something does not say it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

from peerdata.guest.errors import Misused

if TYPE_CHECKING:
    from peerdata.guest.formats.nodes import View


class Format(NamedTuple):
    """One form; its function is imported when it is used."""

    where: str
    """Module and function, as ``module.function``."""
    about: str
    port: int | None = None
    """Where neither the value nor --port has one; None: none is needed."""
    reads: str = "address"


FORMATS = {
    "json": Format("general.as_json", "everything that the peers published, for programs", reads="all keys"),
    "table": Format("general.as_table", "the same for a person", reads="all keys"),
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
    "redis-cluster": Format("clusters.as_redis_cluster", "what redis-cli --cluster create takes", 6379),
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
    "zookeeper": Format("clusters.as_zookeeper", "server.N lines, for zoo.cfg; of join alone"),
    "jgroups": Format("clusters.as_jgroups", "initial_hosts of TCPPING: host[port],...", 7800),
    "patroni": Format("clusters.as_patroni", "the hosts of its etcd, YAML", 2379),
    "prometheus": Format("clusters.as_prometheus", "file_sd targets, JSON", 9100, "address, name"),
}
"""By name, as --format takes it."""


def is_of_addresses(name: str) -> bool:
    """Whether the form *name*, or a template where that is empty, has the address of each peer in it."""
    return name not in ("json", "table")


def render(name: str, view: View) -> str:
    """
    *view* in the form *name*, with a newline at its end.

    Raises:
        Unusable: a member of a cluster that must be there lacks what the form needs, or there is nobody to write of in
            a form that means something else when empty (``gcomm://`` starts a new cluster).
        Misused: there is no such form, or it is for `join` alone.
    """
    if name not in FORMATS:
        raise Misused(f"there is no format '{name}': use one of {', '.join(FORMATS)}")
    module, _, function = FORMATS[name].where.partition(".")
    text: str = getattr(importlib.import_module(f"peerdata.guest.formats.{module}"), function)(
        view.with_default_port(FORMATS[name].port)
    )
    return text
