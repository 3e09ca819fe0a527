#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# One server of a NATS cluster. All servers run this same script.
#
# No founder is needed: of any two servers, the later one reads the address of
# the earlier one and connects to it. The servers then exchange the addresses of
# all others.
#
# systemd runs it at each boot and again whenever it exits, as the user nats.
set -eu

NAME=$(hostname)
IP=$(hostname -I | cut -d' ' -f1 | grep .) # fails without an address
CONFIG=$RUNTIME_DIRECTORY/nats.conf
ROUTES=$RUNTIME_DIRECTORY/routes.conf # beside it: the path is relative

# First publish, then read: otherwise two servers could miss each other.
peerdata publish nats_addr="$IP" nats_name="$NAME"
peerdata peers --prefix nats_ --format nats --out "$ROUTES"

cat >"$CONFIG" <<END
server_name: "$NAME"
http: 127.0.0.1:8222
cluster {
    name: nats
    listen: "$IP:6222"
    include "routes.conf"
}
END

exec nats-server -c "$CONFIG"
