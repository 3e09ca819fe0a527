# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Forms of clustered software: what it reads at its start, made of checked addresses and names alone.
"""

from __future__ import annotations

import json

from peerdata.guest.errors import Misused
from peerdata.guest.formats.nodes import Node, View

CASSANDRA_SEEDS = 3
"""A seed does not stream its data when it starts anew, so not every node may be one."""


def _with_ports(view: View) -> list[str]:
    return [node.endpoint.with_port(view.options.port) for node in view.nodes()]


def as_etcd(view: View) -> str:
    """
    The environment that etcd reads, for ``eval`` with export or for EnvironmentFile.

    State and token only with a verdict: a list of peers alone does not say whether the cluster is new. The term is in
    the token, so that what was started in an older one stays apart.
    """
    nodes = view.nodes()
    scheme = view.options.scheme
    members = [f"{node.name}={scheme}://{node.endpoint.with_port(view.options.port)}" for node in nodes]
    lines = {"INITIAL_CLUSTER": ",".join(members)}
    own = next((node for node in nodes if node.uuid == view.own_uuid), None)
    if own is not None:
        lines["NAME"] = own.name
    if view.verdict is not None:
        lines["INITIAL_CLUSTER_STATE"] = "new" if view.founding else "existing"
        lines["INITIAL_CLUSTER_TOKEN"] = f"{view.verdict.cluster}-{view.verdict.term}"
    return "".join(f'ETCD_{name}="{value}"\n' for name, value in lines.items())


def as_galera(view: View) -> str:
    """The cluster's address, a URL (IPv6 always in brackets); a founder's is ``gcomm://``, which starts a new one."""
    if view.founding:
        return "gcomm://\n"
    hosts = [node.endpoint.with_port(view.options.port) for node in view.nodes()]
    return f"gcomm://{','.join(hosts)}\n"


def as_rabbitmq(view: View) -> str:
    """``rabbit@NAME`` of each; where none is published, its host (an IP address needs RABBITMQ_USE_LONGNAME)."""
    lines = ["cluster_formation.peer_discovery_backend = classic_config"]
    for number, node in enumerate(view.nodes(), start=1):
        host = node.name if node.named else node.endpoint.host
        lines.append(f"cluster_formation.classic_config.nodes.{number} = rabbit@{host}")
    return "\n".join(lines) + "\n"


def as_redis_cluster(view: View) -> str:
    """
    On one line. IPv6 stands without brackets: redis-cli takes what is behind the last colon for the port
    (redis-cli.c, parseClusterNodeAddress).
    """
    return " ".join(f"{node.endpoint.host}:{_port(node, view)}" for node in view.nodes()) + "\n"


def _port(node: Node, view: View) -> int | None:
    return node.endpoint.port or view.options.port


def as_nats(view: View) -> str:
    """``include`` it inside ``cluster { }``."""
    routes = "".join(f'  "nats-route://{address}"\n' for address in _with_ports(view))
    return f"routes: [\n{routes}]\n"


def as_serf(view: View) -> str:
    """For ``serf agent -config-file``."""
    return json.dumps({"retry_join": _with_ports(view)}, indent=1) + "\n"


def as_consul(view: View) -> str:
    """For its configuration directory; a founder alone bootstraps."""
    content: dict[str, object] = {"retry_join": _with_ports(view)}
    if view.verdict is not None and view.verdict.founders == "all":
        content["bootstrap_expect"] = view.verdict.size
    return json.dumps(content, indent=1) + "\n"


def as_elasticsearch(view: View) -> str:
    """Lines for elasticsearch.yml."""
    return _seed_hosts(view, "cluster.initial_master_nodes")


def as_opensearch(view: View) -> str:
    """Lines for opensearch.yml."""
    return _seed_hosts(view, "cluster.initial_cluster_manager_nodes")


def _seed_hosts(view: View, initial: str) -> str:
    # JSON is YAML. The initial nodes must not stand in the file of one that joins: it could found a second cluster.
    text = f"discovery.seed_hosts: {json.dumps(_with_ports(view))}\n"
    if view.founding:
        text += f"{initial}: {json.dumps([node.name for node in view.nodes()])}\n"
    return text


def as_unicast_hosts(view: View) -> str:
    """Read anew while it runs, with ``discovery.seed_providers: file``."""
    return "".join(f"{address}\n" for address in _with_ports(view))


def as_cassandra(view: View) -> str:
    """The value of ``seeds``, on one line."""
    return ",".join(node.endpoint.plain() for node in view.nodes()[:CASSANDRA_SEEDS]) + "\n"


def as_zookeeper(view: View) -> str:
    """
    ``server.N``, N by the order on the roll from 1; this instance's own N is its ``ordinal`` and 1.

    Raises:
        Misused: without a verdict; the place among peers is another number, and a wrong myid is another server.
    """
    if view.verdict is None:
        raise Misused("the format zookeeper is for `join` alone: its numbers are those of the roll")
    return "".join(
        f"server.{node.place + 1}={node.endpoint.bracketed}:2888:3888;{view.options.port or 2181}\n"
        for node in view.nodes()
    )


def as_jgroups(view: View) -> str:
    """``host[port]``, where the brackets are the port's: IPv6 has none of its own."""
    return ",".join(f"{node.endpoint.host}[{_port(node, view)}]" for node in view.nodes()) + "\n"


def as_patroni(view: View) -> str:
    """A file of Patroni's configuration directory."""
    hosts = "".join(f'  - "{address}"\n' for address in _with_ports(view))
    return f"etcd3:\n  hosts:\n{hosts}"


def as_prometheus(view: View) -> str:
    """A target group for each, so that each has its labels. No peers are no targets, which is meant."""
    groups = [
        {
            "targets": [node.endpoint.with_port(view.options.port)],
            "labels": {"peerdata_uuid": node.uuid, "peerdata_name": node.name},
        }
        for node in view.nodes(needed=False)
    ]
    return json.dumps(groups, indent=1) + "\n"
