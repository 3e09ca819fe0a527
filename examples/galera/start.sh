#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# One node of a MariaDB Galera cluster. All nodes run this same script.
#
# systemd runs it at each boot and again whenever it exits, as the user mysql.
set -eu

SIZE=3                                     # the same on all nodes
IP=$(hostname -I | cut -d' ' -f1 | grep .) # fails without an address
DATA=/var/lib/mysql
PEERS=$RUNTIME_DIRECTORY/galera # written by `peerdata join`

# Confirm that the cluster is formed, once this node accepts writes. If it does
# not within 90 s, stop it: systemd restarts it, and `peerdata join` then
# returns a new verdict.
confirm() {
    trap 'kill $$' EXIT # if a command below fails
    timeout 90 sh -c '
        until mariadb -e "SHOW STATUS LIKE \"wsrep_ready\"" | grep ON; do
            sleep 1
        done'
    peerdata formed galera
    trap - EXIT
}

# Print which transaction InnoDB has committed last. After a crash Galera itself
# does not know: after a power cut, all nodes would claim the same state.
recovered_position() {
    mariadbd "$@" --wsrep-recover --disable-log-error 2>&1 |
        sed -n 's/.*Recovered position: *//p' | grep .
}

verdict=$(peerdata join galera --size "$SIZE" --until-ready \
    galera_addr="$IP" --format galera --out "$PEERS")

set -- --wsrep-on=ON --wsrep-provider=/usr/lib/galera/libgalera_smm.so \
    --wsrep-cluster-name=galera --wsrep-cluster-address="$(cat "$PEERS")" \
    --wsrep-node-address="$IP" --wsrep-sst-method=rsync --bind-address=0.0.0.0 \
    --binlog-format=ROW --innodb-autoinc-lock-mode=2

if [ "$verdict" = bootstrap ]; then
    if [ ! -d "$DATA/mysql" ]; then
        mariadb-install-db --datadir="$DATA" --skip-test-db >/dev/null
    fi
    confirm &
fi
if [ -d "$DATA/mysql" ]; then
    position=$(recovered_position "$@")
    set -- "$@" --wsrep-start-position="$position"
fi

# `galera_new_cluster` sets the variable, on the node that a person chooses.
exec mariadbd "$@" ${_WSREP_NEW_CLUSTER:+"$_WSREP_NEW_CLUSTER"}
