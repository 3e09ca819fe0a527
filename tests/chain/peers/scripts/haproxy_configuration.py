# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Runs in neutron's environment: renders the haproxy configuration of each network with that version's own driver.

Arguments: `ml2` or `ovn`, a JSON list of networks `{"id": ..., "pidfile": ...}`,
then neutron's own arguments. Prints a JSON object: network -> path of the file.
"""

import json
import sys

from neutron.common import config
from neutron.conf.agent import common as agent_conf
from neutron.conf.agent.metadata import config as meta
from oslo_config import cfg

# The bridge that stands for the port of the DHCP agent or of OVN's localport in the network's namespace.
INTERFACE = "br0"


def main():
    kind, networks = sys.argv[1], json.loads(sys.argv[2])
    if kind == "ovn":
        from neutron.agent.ovn.metadata import driver
    else:
        from neutron.agent.metadata import driver
    conf = cfg.CONF
    config.register_common_config_options()
    agent_conf.register_external_process_opts(conf)
    meta.register_meta_conf_opts(meta.SHARED_OPTS)
    meta.register_meta_conf_opts(meta.METADATA_RATE_LIMITING_OPTS, group=meta.RATE_LIMITING_GROUP)
    if hasattr(meta, "METADATA_HAPROXY_OPTS"):
        meta.register_meta_conf_opts(meta.METADATA_HAPROXY_OPTS, group=meta.HAPROXY_GROUP)
    config.init(sys.argv[3:])
    files = {}
    for network in networks:
        callback = driver.MetadataDriver._get_metadata_proxy_callback(
            "169.254.169.254",
            80,
            conf,
            network_id=network["id"],
            bind_address_v6="fe80::a9fe:a9fe",
            bind_interface=INTERFACE,
        )
        files[network["id"]] = callback(network["pidfile"])[-1]
    print(json.dumps(files))


if __name__ == "__main__":
    main()
