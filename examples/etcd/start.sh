#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# One member of an etcd cluster. All members run this same script.
#
# systemd runs it at each boot and again whenever it exits, as the user that
# owns /var/lib/etcd.
set -eu

SIZE=3 # the same on all members
NAME=$(hostname)
IP=$(hostname -I | cut -d' ' -f1 | grep .) # fails without an address
CONFIG=$RUNTIME_DIRECTORY/etcd             # written by `peerdata join`

# Confirm that the cluster is formed, once it has a quorum. If it has none after
# a minute, because another founder is gone for good, stop etcd: systemd
# restarts it, and `peerdata join` then returns a new verdict.
confirm() {
    trap 'kill $$' EXIT # if a command below fails
    timeout 60 sh -c 'until etcdctl endpoint health; do sleep 1; done'
    peerdata formed etcd
    trap - EXIT
}

# A member that joins without data is a new one, even if it was a member before
# it lost its disk: remove the old entry from the member list, and add another.
add_member() {
    ETCDCTL_ENDPOINTS=$(peerdata peers --others --prefix etcd_ --port 2379 \
        --format addresses | paste -sd,)
    export ETCDCTL_ENDPOINTS ETCD_INITIAL_CLUSTER
    members=$(etcdctl member list)
    echo "$members" | grep -F "//$IP:2380," | cut -d, -f1 |
        xargs -r etcdctl member remove
    added=$(etcdctl member add "$NAME" --peer-urls="http://$IP:2380")
    ETCD_INITIAL_CLUSTER=$(echo "$added" |
        sed -n 's/^ETCD_INITIAL_CLUSTER="\(.*\)"$/\1/p')
}

verdict=$(peerdata join etcd --size "$SIZE" --founders all --until-ready \
    etcd_addr="$IP" etcd_name="$NAME" --format etcd --out "$CONFIG")

set -a # export what the file sets: etcd reads it from its environment
# shellcheck source=/dev/null
. "$CONFIG"
# The token contains the term: each term has a data directory of its own.
ETCD_DATA_DIR=/var/lib/etcd/$ETCD_INITIAL_CLUSTER_TOKEN

if [ "$verdict" = bootstrap ]; then
    confirm &
elif [ ! -d "$ETCD_DATA_DIR/member/wal" ]; then
    add_member
fi

exec etcd --listen-peer-urls="http://$IP:2380" \
    --initial-advertise-peer-urls="http://$IP:2380" \
    --listen-client-urls="http://$IP:2379,http://127.0.0.1:2379" \
    --advertise-client-urls="http://$IP:2379"
