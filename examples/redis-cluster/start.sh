#!/bin/sh -e
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# One node of a Redis Cluster. Runs at each start, again whenever it ends, as the user that owns /var/lib/redis.
SIZE=6 REPLICAS=1 IP=$(hostname -I | cut -d' ' -f1) FILE=/run/peerdata/redis
verdict=$(peerdata join redis-cluster --size $SIZE --founders all --until-ready redis-cluster_addr="$IP" --format redis-cluster --out $FILE)
case "$verdict $(cat $FILE)" in "bootstrap $IP:"*) verdict=create ;; esac # the first on the list does it for all
each() { for node in $(cat $FILE); do redis-cli -h "${node%:*}" "$@" 2>/dev/null; done; }
create() { [ "$(each ping | grep -c PONG)" = $SIZE ] && { each cluster info | grep state:ok || { each cluster reset hard; redis-cli --cluster create $(cat $FILE) --cluster-replicas $REPLICAS --cluster-yes; }; }; }
peer() { for node in $(cat $FILE); do redis-cli -h "${node%:*}" cluster info 2>/dev/null | grep -q state:ok && echo "$node" && return; done; }
join() { redis-cli cluster info | grep known_nodes | grep -v ':1[^0-9]' || redis-cli --cluster add-node "$IP:6379" "$(peer)" --cluster-slave; }
# A master that lost its disk stays away until its replica has its slots: the replica would copy the empty disk.
[ "$verdict" != join ] || [ -e /var/lib/redis/nodes.conf ] || while at=$(peer); [ -z "$at" ] || redis-cli -h "${at%:*}" cluster nodes | awk -v me="$IP:6379@" 'index($2, me) == 1 && ($3 !~ /fail$/ || NF > 8) { found = 1 } END { exit !found }'; do sleep 2; done
(for try in $(seq 45); do sleep 2; case $verdict in create) create && peerdata formed redis-cluster && exit ;; join) join && exit ;; *) redis-cli cluster info | grep state:ok && exit ;; esac; done; kill $$) &
exec redis-server --supervised auto --dir /var/lib/redis --bind "$IP" 127.0.0.1 --protected-mode no --cluster-enabled yes --cluster-node-timeout 5000 --appendonly yes
