# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Formats that clustered software reads at its start, made of checked addresses and names only.
"""

from __future__ import annotations

import json

from peerdata.guest.formats.nodes import Node, View

CASSANDRA_SEEDS = 3
"""A seed does not stream data when it starts empty, so not every node may be a seed."""


def _with_ports(view: View) -> list[str]:
    return [node.endpoint.with_port(view.options.port) for node in view.nodes()]


def as_etcd(view: View) -> str:
    """
    The environment variables of etcd, for ``eval`` with export or for EnvironmentFile.

    State and token need a verdict: a list of peers does not show whether the cluster is new. The token contains the
    term, so that members which were started in an older term stay apart.
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
    """The URL of the cluster, IPv6 always in brackets; for a founder ``gcomm://``, which starts a new cluster."""
    if view.founding:
        return "gcomm://\n"
    hosts = [node.endpoint.with_port(view.options.port) for node in view.nodes()]
    return f"gcomm://{','.join(hosts)}\n"


def as_rabbitmq(view: View) -> str:
    """``rabbit@NAME`` of each node; without a published name its host (an IP address needs RABBITMQ_USE_LONGNAME)."""
    lines = ["cluster_formation.peer_discovery_backend = classic_config"]
    for number, node in enumerate(view.nodes(), start=1):
        host = node.name if node.named else node.endpoint.host
        lines.append(f"cluster_formation.classic_config.nodes.{number} = rabbit@{host}")
    return "\n".join(lines) + "\n"


def as_redis_cluster(view: View) -> str:
    """
    All nodes on one line. IPv6 has no brackets: redis-cli takes the part after the last colon for the port
    (redis-cli.c, parseClusterNodeAddress).
    """
    return " ".join(f"{node.endpoint.host}:{_port(node, view)}" for node in view.nodes()) + "\n"


def _port(node: Node, view: View) -> int | None:
    return node.endpoint.port or view.options.port


def as_nats(view: View) -> str:
    """A file to ``include`` inside ``cluster { }``."""
    routes = "".join(f'  "nats-route://{address}"\n' for address in _with_ports(view))
    return f"routes: [\n{routes}]\n"


def as_serf(view: View) -> str:
    """A file for ``serf agent -config-file``."""
    return json.dumps({"retry_join": _with_ports(view)}, indent=1) + "\n"


def as_consul(view: View) -> str:
    """A file for its configuration directory; it bootstraps only where several founders start the cluster together."""
    content: dict[str, object] = {"retry_join": _with_ports(view)}
    if view.verdict is not None and view.verdict.has_several_founders:
        content["bootstrap_expect"] = view.verdict.size
    return json.dumps(content, indent=1) + "\n"


def as_elasticsearch(view: View) -> str:
    """Lines for elasticsearch.yml."""
    return _seed_hosts(view, "cluster.initial_master_nodes")


def as_opensearch(view: View) -> str:
    """Lines for opensearch.yml."""
    return _seed_hosts(view, "cluster.initial_cluster_manager_nodes")


def _seed_hosts(view: View, initial: str) -> str:
    # JSON is YAML. A member that joins must not have the initial nodes: it could found a second cluster.
    text = f"discovery.seed_hosts: {json.dumps(_with_ports(view))}\n"
    if view.founding:
        text += f"{initial}: {json.dumps([node.name for node in view.nodes()])}\n"
    return text


def as_unicast_hosts(view: View) -> str:
    """Addresses, one on each line; read again at runtime with ``discovery.seed_providers: file``."""
    return "".join(f"{address}\n" for address in _with_ports(view))


def as_cassandra(view: View) -> str:
    """The value of ``seeds``, on one line."""
    return ",".join(node.endpoint.plain() for node in view.nodes()[:CASSANDRA_SEEDS]) + "\n"


def as_zookeeper(view: View) -> str:
    """``server.N`` for each member, where N is its ordinal plus 1."""
    return "".join(
        f"server.{node.position + 1}={node.endpoint.bracketed}:2888:3888;{view.options.port or 2181}\n"
        for node in view.nodes()
    )


def as_jgroups(view: View) -> str:
    """``host[port]``: the brackets belong to the port, so IPv6 has none of its own."""
    return ",".join(f"{node.endpoint.host}[{_port(node, view)}]" for node in view.nodes()) + "\n"


def as_patroni(view: View) -> str:
    """A file for Patroni's configuration directory."""
    hosts = "".join(f'  - "{address}"\n' for address in _with_ports(view))
    return f"etcd3:\n  hosts:\n{hosts}"


def as_prometheus(view: View) -> str:
    """A target group for each node, so that each has its own labels. An empty list is valid: no targets."""
    groups = [
        {
            "targets": [node.endpoint.with_port(view.options.port)],
            "labels": {"peerdata_uuid": node.uuid, "peerdata_name": node.name},
        }
        for node in view.nodes(needed=False)
    ]
    return json.dumps(groups, indent=1) + "\n"
