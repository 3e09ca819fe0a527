#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# A Prometheus server that monitors all its peers, itself included. All servers
# run this same script.
#
# systemd runs it at each boot and again whenever it exits, as the user
# prometheus.
set -eu

NAME=$(hostname)
IP=$(hostname -I | cut -d' ' -f1 | grep .) # fails without an address
CONFIG=$RUNTIME_DIRECTORY/prometheus.yml
TARGETS=$RUNTIME_DIRECTORY/targets.json

# Replace the file of targets whenever peers change. This runs until Prometheus
# stops; if it ends earlier, stop Prometheus: systemd restarts both.
watch_peers() {
    trap 'kill $$' EXIT
    peerdata watch --prefix prometheus_ --port 9090 --format prometheus \
        --out "$TARGETS"
}

peerdata publish prometheus_addr="$IP" prometheus_name="$NAME"
watch_peers &

# Prometheus reads the file of targets again by itself, whenever it changes.
cat >"$CONFIG" <<END
scrape_configs:
  - job_name: peers
    scrape_interval: 5s
    file_sd_configs:
      - files: ["$TARGETS"]
END

exec prometheus --config.file="$CONFIG" \
    --storage.tsdb.path=/var/lib/prometheus
