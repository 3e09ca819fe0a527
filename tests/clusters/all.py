# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""All software whose clusters are formed."""

from . import etcd, galera, nats, prometheus, rabbitmq, redis_cluster, serf

ALL = (
    etcd.SOFTWARE,
    galera.SOFTWARE,
    redis_cluster.SOFTWARE,
    rabbitmq.SOFTWARE,
    nats.SOFTWARE,
    serf.SOFTWARE,
    prometheus.SOFTWARE,
)
