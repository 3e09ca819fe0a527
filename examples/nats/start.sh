#!/bin/sh -e
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# One server of a NATS cluster. Runs at each start, again whenever it ends, as the user nats. No founder is needed:
# of any two servers the later one reads the earlier one's address, and they tell each other about all others.
IP=$(hostname -I | cut -d' ' -f1) ROUTES=$RUNTIME_DIRECTORY/routes.conf CONF=$RUNTIME_DIRECTORY/nats.conf
peerdata publish nats_addr="$IP" nats_name="$(hostname)"
peerdata peers --prefix nats_ --format nats --out $ROUTES
cat > $CONF <<END
server_name: $(hostname)
http: 127.0.0.1:8222
cluster { name: nats, listen: "$IP:6222", include "routes.conf" }
END
exec nats-server -c $CONF
