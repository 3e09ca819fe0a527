# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Cloud-init from Debian: its own OpenStack source finds the service, reads all of it, and sees our keys."""

import json
from pathlib import Path

import pytest

from .cloud import Cloud, Tenants
from .nova import PUBLIC_KEY, VENDOR_DATA
from .peers import LOCKS
from .service import Service


@pytest.mark.parametrize("agent", ["old", "new"])
def test_cloud_init_reads_what_nova_has_and_what_the_instance_published(
    cloud: Cloud, service: Service, tenants: Tenants, tmp_path: Path, agent: str
) -> None:
    guest = (tenants.a_old if agent == "old" else tenants.a_new)[0]
    guest.publish(etcd_addr="10.0.0.11:2380")
    guest.publish(shared=False, joined="yes")

    script = str(LOCKS / "scripts" / "cloud_init_source.py")
    environment = [*cloud.peers.python_environment(), "RES_OPTIONS=timeout:1 attempts:1"]  # there is no name server
    done = guest.run("env", *environment, cloud.peers.debian_python(), script, str(tmp_path))

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["found"], found["instance_id"], found["hostname"]) == (
        True,
        guest.uuid,
        f"{guest.instance.name}.novalocal",
    )
    assert found["meta"] == {"role": "member", "from_server_etcd_addr": "10.0.0.11:2380", "from_server_joined": "yes"}
    assert found["reader"] == {"uuid": guest.uuid, "meta": found["meta"]}
    assert found["user_data"] == guest.instance.user_data
    assert found["vendor_data"] == VENDOR_DATA
    assert found["public_keys"] == [PUBLIC_KEY]
    assert [network["ip_address"] for network in found["network"]["networks"]] == [guest.instance.address]
