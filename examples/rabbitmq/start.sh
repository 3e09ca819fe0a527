#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# One node of a RabbitMQ cluster. All nodes run this same script, and have the
# same secret in /var/lib/rabbitmq/.erlang.cookie. Do not publish that with
# peerdata: the whole project can read what is published.
#
# systemd runs it at each boot and again whenever it exits, as user rabbitmq.
set -eu

SIZE=3                                     # the same on all nodes
IP=$(hostname -I | cut -d' ' -f1 | grep .) # fails without an address
export RABBITMQ_USE_LONGNAME=true RABBITMQ_NODENAME="rabbit@$IP"

verdict=$(peerdata join rabbitmq --size "$SIZE" --until-ready \
    rabbitmq_addr="$IP" --format env)
eval "$verdict" # sets PEERDATA_VERDICT, PEERDATA_TERM and PEERDATA_ADDRESSES

NAME=formed-$PEERDATA_TERM                 # the cluster's, once it is formed
MEMBER=/var/lib/rabbitmq/in-$PEERDATA_TERM # exists once this node is a member

# Empty this node, and join a node whose cluster has the name. The others may be
# as new as this one. The old entry is that of a node that lost its disk.
join_cluster() {
    rabbitmqctl stop_app
    rabbitmqctl reset
    for address in $PEERDATA_ADDRESSES; do
        peer=rabbit@$address
        rabbitmqctl -n "$peer" cluster_status |
            grep -q "Cluster name: $NAME$" || continue
        rabbitmqctl -n "$peer" forget_cluster_node "rabbit@$IP" || true
        rabbitmqctl join_cluster "$peer" || continue
        rabbitmqctl start_app
        return
    done
    return 1
}

# Become a member of the cluster, once this node runs. If that fails, stop the
# node: systemd restarts it, and `peerdata join` then returns a new verdict.
become_member() {
    trap 'kill $$' EXIT # if a command below fails
    for _ in $(seq 60); do
        sleep 2
        if rabbitmq-diagnostics -q check_running; then break; fi
    done
    case $PEERDATA_VERDICT in
    bootstrap) rabbitmqctl set_cluster_name "$NAME" ;;
    *) join_cluster ;;
    esac
    touch "$MEMBER"
    [ "$PEERDATA_VERDICT" = join ] || peerdata formed rabbitmq
    trap - EXIT
}

if [ "$PEERDATA_VERDICT" = bootstrap ] || [ ! -e "$MEMBER" ]; then
    become_member &
fi
exec /usr/lib/rabbitmq/bin/rabbitmq-server
