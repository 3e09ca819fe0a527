#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# One node of a Redis Cluster. All nodes run this same script, which uses the
# functions of functions.sh.
#
# systemd runs it at each boot and again whenever it exits, as the user redis.
set -eu

SIZE=6                                     # the same on all nodes
REPLICAS=1                                 # of each master
IP=$(hostname -I | cut -d' ' -f1 | grep .) # fails without an address

# shellcheck source=/dev/null
. /usr/local/lib/redis-cluster/functions.sh

# The first founder on the list creates the cluster, the others wait for it.
take_part() {
    case "$PEERDATA_VERDICT $PEERDATA_ADDRESSES" in
    "bootstrap $IP:"*) is_complete || create_cluster "$SIZE" "$REPLICAS" ;;
    bootstrap*) is_complete ;;
    join*) is_member || join_cluster ;;
    esac
}

# Try for 90 s to become part of the cluster; a founder then confirms that it is
# formed. If that fails, stop the node: systemd restarts it, and `peerdata join`
# then returns a new verdict.
confirm() {
    trap 'kill $$' EXIT # unless all is done
    for _ in $(seq 45); do
        sleep 2
        if take_part; then
            [ "$PEERDATA_VERDICT" = join ] || peerdata formed redis-cluster
            trap - EXIT
            return
        fi
    done
}

verdict=$(peerdata join redis-cluster --size "$SIZE" --founders all \
    --until-ready redis-cluster_addr="$IP" --port 6379 --format env)
eval "$verdict" # sets PEERDATA_VERDICT, PEERDATA_TERM and PEERDATA_ADDRESSES

# Each term has a data directory of its own. What was begun in an older one, by
# founders that were replaced, is void.
DATA=/var/lib/redis/$PEERDATA_TERM
mkdir -p "$DATA"

if [ "$PEERDATA_VERDICT" = join ] && [ ! -e "$DATA/nodes.conf" ]; then
    wait_until_replaced
fi
confirm &

exec redis-server --supervised auto --dir "$DATA" --bind "$IP" 127.0.0.1 \
    --protected-mode no --cluster-enabled yes --cluster-node-timeout 5000 \
    --appendonly yes
