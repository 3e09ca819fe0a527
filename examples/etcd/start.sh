#!/bin/sh -e
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# One member of an etcd cluster. Runs at each start, again whenever it ends, as the user that owns /var/lib/etcd.
SIZE=3 NAME=$(hostname) IP=$(hostname -I | cut -d' ' -f1) FILE=$RUNTIME_DIRECTORY/etcd
verdict=$(peerdata join etcd --size $SIZE --founders all --until-ready etcd_addr="$IP" etcd_name="$NAME" --format etcd --out $FILE)
set -a; . $FILE; ETCD_DATA_DIR=/var/lib/etcd/$ETCD_INITIAL_CLUSTER_TOKEN # the term is in it: of another, another directory
# A founder confirms once there is a quorum. Where none comes, because another founder is gone for good, it asks again.
[ "$verdict" = join ] || (timeout 60 sh -c 'until etcdctl endpoint health; do sleep 1; done' && peerdata formed etcd || kill $$) &
# Who joins without data is a new member, also when it was one before it lost its disk.
if [ "$verdict" = join ] && [ ! -d "$ETCD_DATA_DIR/member/wal" ]; then
  ETCDCTL_ENDPOINTS=$(peerdata peers --others --prefix etcd_ --port 2379 --format addresses | paste -sd,)
  members=$(etcdctl member list); echo "$members" | grep "//$IP:2380," | cut -d, -f1 | xargs -r etcdctl member remove
  added=$(etcdctl member add "$NAME" --peer-urls="http://$IP:2380"); ETCD_INITIAL_CLUSTER=$(echo "$added" | sed -n 's/^ETCD_INITIAL_CLUSTER="\(.*\)"$/\1/p')
fi
exec etcd --listen-peer-urls="http://$IP:2380" --initial-advertise-peer-urls="http://$IP:2380" --listen-client-urls="http://$IP:2379,http://127.0.0.1:2379" --advertise-client-urls="http://$IP:2379"
