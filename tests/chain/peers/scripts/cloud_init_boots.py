# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Runs under Debian's Python: boots many instances at one moment, each a process in which cloud-init's own source reads.

Arguments: a directory for what cloud-init keeps, the seconds for which cloud-init is told to wait for one answer, and
the seconds after which a boot is ended. Reads a JSON list of boots from standard input, each {"url", "uuid", "headers",
"user_data"}, and prints a JSON line for each as it ends: {"url", "uuid", "took_s", "missing"}.
"""

import io
import json
import logging
import os
import signal
import sys
import time

import requests
from cloudinit import helpers, settings, util
from cloudinit.sources import DataSourceOpenStack

METADATA = "http://169.254.169.254"


def boot(spec, place, timeout_s):
    """The names of what the instance has not; nothing where it has all of its data."""
    paths = helpers.Paths({"cloud_dir": f"{place}/lib", "run_dir": f"{place}/run"})
    configured = {**settings.CFG_BUILTIN, "datasource": {"OpenStack": {"timeout": timeout_s}}}
    source = DataSourceOpenStack.DataSourceOpenStack(configured, None, paths)
    if not source.get_data():
        return ["all of it"]
    data = {
        "instance id": source.get_instance_id() == spec["uuid"],
        "user data": source.get_userdata_raw().decode() == spec["user_data"],
        "vendor data": bool(source.vendordata_pure),
        "network": bool(source.network_json),
        "keys": bool(source.get_public_ssh_keys()),
    }
    return [name for name, there in data.items() if not there]


def reach(spec):
    """Do what stands between an instance and nova: take 169.254.169.254 for *url*, and sign as neutron's agent does."""
    request = requests.Session.request

    def signed(self, method, url, headers=None, **more):
        url = url.replace(METADATA, spec["url"], 1)
        return request(self, method, url, headers={**(headers or {}), **spec["headers"]}, **more)

    requests.Session.request = signed


def main(place, timeout_s, longest_s):
    log = io.StringIO()
    logging.basicConfig(level=logging.DEBUG, stream=log, force=True)
    # Whether the machine's DMI table says "OpenStack Nova", which this machine's does not.
    DataSourceOpenStack.detect_openstack = lambda accept_oracle=False: True
    util.is_resolvable_url(METADATA)  # asks once whether name servers lie, and remembers
    boots = json.load(sys.stdin)
    began = time.monotonic()
    children = []
    for number, spec in enumerate(boots):
        child = os.fork()
        if not child:
            signal.alarm(longest_s)
            missing = ["a traceback"]
            try:
                reach(spec)
                missing = boot(spec, f"{place}/{number}", timeout_s)
            finally:
                took_s = time.monotonic() - began
                said = {"url": spec["url"], "uuid": spec["uuid"], "took_s": took_s, "missing": missing}
                if missing:
                    os.write(2, log.getvalue()[-800:].encode())
                os.write(1, (json.dumps(said) + "\n").encode())  # shorter than PIPE_BUF, so in one piece
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
