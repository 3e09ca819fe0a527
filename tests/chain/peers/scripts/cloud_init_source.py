# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Runs inside a guest with Debian's cloud-init: lets its OpenStack data source find and read the metadata service.

Argument: a directory for what cloud-init keeps. Prints what it learned as JSON.
"""

import json
import logging
import sys

from cloudinit import helpers, settings
from cloudinit.sources import DataSourceOpenStack
from cloudinit.sources.helpers import openstack


def main(place):
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    # The one thing replaced: whether the machine's DMI table says "OpenStack Nova", which this machine's does not.
    DataSourceOpenStack.detect_openstack = lambda accept_oracle=False: True
    paths = helpers.Paths({"cloud_dir": f"{place}/lib", "run_dir": f"{place}/run"})
    source = DataSourceOpenStack.DataSourceOpenStack(dict(settings.CFG_BUILTIN), None, paths)
    found = source.get_data()
    read = openstack.MetadataReader("http://169.254.169.254").read_v2()
    print(
        json.dumps(
            {
                "found": found,
                "version": source.version,
                "instance_id": source.get_instance_id(),
                "hostname": source.metadata["local-hostname"],
                "meta": source.metadata.get("meta"),
                "user_data": source.get_userdata_raw().decode(),
                "vendor_data": source.vendordata_pure,
                "network": source.network_json,
                "public_keys": source.get_public_ssh_keys(),
                "reader": {"uuid": read["metadata"]["uuid"], "meta": read["metadata"].get("meta")},
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
