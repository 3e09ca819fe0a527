#!/bin/sh -e
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# One node of a Redis Cluster. Runs at each start, again whenever it ends, as the user that owns /var/lib/redis.
SIZE=6 REPLICAS=1 IP=$(hostname -I | cut -d' ' -f1)
told=$(peerdata join redis-cluster --size $SIZE --founders all --until-ready redis-cluster_addr="$IP" --port 6379 --format env); eval "$told"
DIR=/var/lib/redis/$PEERDATA_TERM && mkdir -p "$DIR" # what founders of an older term began is void, and stays apart
each() { for node in $PEERDATA_ADDRESSES; do redis-cli -h "${node%:*}" "$@" 2>/dev/null | sed "s/^/$node /"; done; }
peer() { each cluster info | grep state:ok | head -n 1 | cut -d' ' -f1 | grep .; }
found() { redis-cli cluster info | grep state:ok || { [ "$(each config get dir | grep -c "/$PEERDATA_TERM\$")" = $SIZE ] && each cluster reset hard && redis-cli --cluster create $PEERDATA_ADDRESSES --cluster-replicas $REPLICAS --cluster-yes; }; }
enter() { redis-cli cluster info | grep known_nodes | grep -v ':1[^0-9]' || redis-cli --cluster add-node "$IP:6379" "$(peer)" --cluster-slave; }
# A master that lost its disk stays away until its replica has its slots: the replica would copy the empty disk.
[ "$PEERDATA_VERDICT" != join ] || [ -e "$DIR/nodes.conf" ] || while at=$(peer); [ -z "$at" ] || redis-cli -h "${at%:*}" cluster nodes | awk -v me="$IP:6379@" 'index($2, me) == 1 && ($3 !~ /fail$/ || NF > 8) { found = 1 } END { exit !found }'; do sleep 2; done
# The first on the list founds for all, and all confirm: to whom that is refused, or nothing happens, asks again.
(for try in $(seq 45); do sleep 2; case "$PEERDATA_VERDICT $PEERDATA_ADDRESSES" in join*) enter && exit ;; "bootstrap $IP:"*) found ;; *) redis-cli cluster info | grep state:ok ;; esac && { peerdata formed redis-cluster && exit || break; }; done; kill $$) &
exec redis-server --supervised auto --dir "$DIR" --bind "$IP" 127.0.0.1 --protected-mode no --cluster-enabled yes --cluster-node-timeout 5000 --appendonly yes
