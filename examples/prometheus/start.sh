#!/bin/sh -e
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
# A Prometheus that watches all its peers, itself included. Runs at each start, as the user prometheus.
IP=$(hostname -I | cut -d' ' -f1) DIR=$RUNTIME_DIRECTORY
peerdata publish prometheus_addr="$IP" prometheus_name="$(hostname)"
cat > $DIR/prometheus.yml <<END
scrape_configs: [{job_name: peers, scrape_interval: 5s, file_sd_configs: [{files: [$DIR/targets.json]}]}]
END
peerdata watch --prefix prometheus_ --port 9090 --format prometheus --out $DIR/targets.json &
exec prometheus --config.file=$DIR/prometheus.yml --storage.tsdb.path=/var/lib/prometheus
