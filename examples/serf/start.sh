#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# One serf agent. All agents run this same script.
#
# No founder is needed: of any two agents, the later one reads the address of
# the earlier one and connects to it. Gossip does the rest.
#
# systemd runs it at each boot and again whenever it exits.
set -eu

NAME=$(hostname)
IP=$(hostname -I | cut -d' ' -f1 | grep .) # fails without an address
CONFIG=$RUNTIME_DIRECTORY/serf.json

# First publish, then read: otherwise two agents could miss each other.
peerdata publish serf_addr="$IP"
peerdata peers --prefix serf_ --format serf --out "$CONFIG"

exec serf agent -node="$NAME" -bind="$IP" -config-file="$CONFIG" \
    -retry-interval=3s
