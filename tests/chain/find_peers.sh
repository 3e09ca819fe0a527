#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# Joins serf with nothing but curl: publish the own address, then join whoever stands first. Arguments: name, address.
# After the 200 every read has the same first peer for everybody, so one read is enough; the first joins nobody.
api=http://169.254.169.254/openstack/latest
until curl -sf -X POST "$api/metadata?shared=project&meta.serf_addr=$2" >/dev/null; do
    sleep 0."$(shuf -i 1-9 -n 1)"
done
until peers=$(curl -sf "$api/shared.json"); do
    sleep 0."$(shuf -i 1-9 -n 1)"
done
first=$(echo "$peers" | grep -o '"from_server_serf_addr":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
[ "$first" = "$2" ] || join="-retry-join=$first -retry-interval=1s"
exec serf agent -node="$1" -bind="$2" $join
