#!/bin/sh -e
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# One node of a RabbitMQ cluster. Runs at each start, again whenever it ends, as the user rabbitmq. All nodes have the
# same /var/lib/rabbitmq/.erlang.cookie: it is their common secret, so it comes with the image and not by peerdata.
SIZE=3 IP=$(hostname -I | cut -d' ' -f1)
export RABBITMQ_USE_LONGNAME=true RABBITMQ_NODENAME="rabbit@$IP"
told=$(peerdata join rabbitmq --size $SIZE --until-ready rabbitmq_addr="$IP" --format env); eval "$told"
NAME=formed-$PEERDATA_TERM IN=/var/lib/rabbitmq/in-$PEERDATA_TERM # the cluster's name, and that this node is in it
found() { rabbitmqctl set_cluster_name "$NAME" && touch "$IN" && peerdata formed rabbitmq; }
# Who is new leaves what it was in, and joins a node that has the cluster's name: others may be as new.
enter() { rabbitmqctl stop_app && rabbitmqctl reset && for peer in $PEERDATA_ADDRESSES; do rabbitmqctl -n "rabbit@$peer" cluster_status | grep -q "Cluster name: $NAME$" || continue
  rabbitmqctl -n "rabbit@$peer" forget_cluster_node "rabbit@$IP" || true; rabbitmqctl join_cluster "rabbit@$peer" && rabbitmqctl start_app && touch "$IN" && return; done; false; }
[ "$PEERDATA_VERDICT" = join ] && [ -e "$IN" ] || (for try in $(seq 60); do sleep 2; rabbitmq-diagnostics -q check_running && break; done; if [ "$PEERDATA_VERDICT" = join ]; then enter; else found; fi || kill $$) &
exec /usr/lib/rabbitmq/bin/rabbitmq-server
