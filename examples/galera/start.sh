#!/bin/sh -e
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# One node of a MariaDB Galera cluster. Runs at each start, again whenever it ends, as the user mysql.
SIZE=3 IP=$(hostname -I | cut -d' ' -f1) DATA=/var/lib/mysql FILE=/run/peerdata/galera
verdict=$(peerdata join galera --size $SIZE --until-ready galera_addr="$IP" --format galera --out $FILE)
if [ "$verdict" = bootstrap ]; then # Nobody else has the state, so what is here is the newest; the others fetch it.
  [ -d $DATA/mysql ] || mysql_install_db --datadir=$DATA --skip-test-db >/dev/null
  [ ! -e $DATA/grastate.dat ] || sed -i 's/^safe_to_bootstrap: 0/safe_to_bootstrap: 1/' $DATA/grastate.dat
  (timeout 90 sh -c 'until mariadb -e "SHOW STATUS LIKE \"wsrep_ready\"" | grep ON; do sleep 1; done' && peerdata formed galera || kill $$) &
fi
exec mariadbd --wsrep-on=ON --wsrep-provider=/usr/lib/galera/libgalera_smm.so --wsrep-cluster-name=galera \
  --wsrep-cluster-address="$(cat $FILE)" --wsrep-node-address="$IP" --wsrep-sst-method=rsync --binlog-format=ROW \
  --innodb-autoinc-lock-mode=2 --bind-address=0.0.0.0
