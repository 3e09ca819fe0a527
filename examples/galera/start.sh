#!/bin/sh -e
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# One node of a MariaDB Galera cluster. Runs at each start, again whenever it ends, as the user mysql.
SIZE=3 IP=$(hostname -I | cut -d' ' -f1) DATA=/var/lib/mysql FILE=$RUNTIME_DIRECTORY/galera
verdict=$(peerdata join galera --size $SIZE --until-ready galera_addr="$IP" --format galera --out $FILE)
set -- --wsrep-on=ON --wsrep-provider=/usr/lib/galera/libgalera_smm.so --wsrep-cluster-name=galera --wsrep-cluster-address="$(cat $FILE)" \
  --wsrep-node-address="$IP" --wsrep-sst-method=rsync --binlog-format=ROW --innodb-autoinc-lock-mode=2 --bind-address=0.0.0.0
if [ "$verdict" = bootstrap ]; then
  [ -d $DATA/mysql ] || mysql_install_db --datadir=$DATA --skip-test-db >/dev/null
  (timeout 90 sh -c 'until mariadb -e "SHOW STATUS LIKE \"wsrep_ready\"" | grep ON; do sleep 1; done' && peerdata formed galera || kill $$) &
fi # Who was killed asks InnoDB how much it has seen: else, after a power cut, all would be taken to have seen the same.
[ ! -d $DATA/mysql ] || seen=$(mariadbd "$@" --wsrep-recover --disable-log-error 2>&1 | sed -n 's/.*Recovered position: *//p' | grep .)
exec mariadbd "$@" ${seen:+--wsrep-start-position="$seen"} $_WSREP_NEW_CLUSTER
