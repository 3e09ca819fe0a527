#!/bin/sh -e
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# One serf agent. Runs at each start, again whenever it ends. No founder is needed: of any two agents the later one
# reads the earlier one's address, and they gossip about all others.
IP=$(hostname -I | cut -d' ' -f1) FILE=$RUNTIME_DIRECTORY/serf.json
peerdata publish serf_addr="$IP"
peerdata peers --prefix serf_ --format serf --out $FILE
exec serf agent -node="$(hostname)" -bind="$IP" -config-file=$FILE -retry-interval=3s
