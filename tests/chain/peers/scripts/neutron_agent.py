# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Runs in neutron's environment: the real metadata agent, with only its port look-up replaced by a file.

Arguments: `ml2` or `ovn`, the file, then neutron's own arguments. The file (see
`agents.py`) is read at every look-up: whose port an address is, and which
metadata service to send requests to.
"""

import importlib.metadata
import json
import sys

from oslo_config import cfg


def command(name):
    """What the installed script *name* calls; loaded first, because 2025.1 and before patch the standard library."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name=name)
    return script.load()


def board(path):
    """The file as it is now; its upstream becomes the agent's own options."""
    with open(path) as file:
        written = json.load(file)
    for option, value in written["upstream"].items():
        cfg.CONF.set_override(option, value)
    return written


def look_up(path, network, address=None, mac=None):
    """The ports of *network* with that address, or with that MAC, which is what a link-local address tells."""
    return [
        port
        for port in board(path)["ports"]
        if port["network"] == network and (port["mac"] == mac if mac else port["address"] == address)
    ]


def run_ml2(path):
    """The agent of ML2/OVS: it asks neutron-server for ports (RPC get_ports)."""
    run = command("neutron-metadata-agent")
    from neutron.agent.metadata import agent

    def get_ports(api, context, filters):
        address = filters.get("fixed_ips", {}).get("ip_address", [None])[0]
        mac = filters.get("mac_address", [None])[0]
        return [
            {"device_id": port["instance"], "tenant_id": port["project"], "project_id": port["project"]}
            for network in filters["network_id"]
            for port in look_up(path, network, address, mac)
        ]

    agent.MetadataPluginAPI.get_ports = get_ports
    run()


def run_ovn(path):
    """The agent of ML2/OVN: it reads ports from the southbound database."""
    run = command("neutron-ovn-metadata-agent")
    from neutron.agent.ovn.metadata import agent, ovsdb

    class Row:
        def __init__(self, port):
            self.uuid = port["instance"]
            self.external_ids = {"neutron:device_id": port["instance"], "neutron:project_id": port["project"]}

    class Command:
        def __init__(self, result=None):
            self.result = result

        def execute(self, check_error=False):
            return self.result

    class Database:
        """The local switch and the southbound database, as far as this agent asks them."""

        def __init__(self, chassis=None, tables=None, events=None):
            pass

        def start(self):
            return self

        def db_get(self, table, row, column):
            return Command({"system-id": "chassis-1", "ovn-bridge": "br-int"} if table == "Open_vSwitch" else 1)

        def db_set(self, *change):
            return Command()

        db_add = db_set

        def db_remove(self, *change, if_exists=False):
            return Command()

        def get_network_port_bindings_by_ip(self, network, address, mac=None):
            return [Row(port) for port in look_up(path, network, address, mac)]

    ovsdb.MetadataAgentOvsIdl = Database
    ovsdb.MetadataAgentOvnSbIdl = Database
    # It would remove this machine's own ovnmeta-* namespaces, for which the database above has no ports.
    agent.MetadataAgent.sync = lambda self, provision=True: None
    run()


if __name__ == "__main__":
    kind, path = sys.argv[1:3]
    sys.argv = [f"neutron-{kind}-metadata-agent", *sys.argv[3:]]
    {"ml2": run_ml2, "ovn": run_ovn}[kind](path)
