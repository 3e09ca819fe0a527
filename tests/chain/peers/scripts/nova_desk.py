# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Runs in nova's environment: makes, changes and deletes instances with nova's own objects, as nova-compute would.

Reads one JSON order a line from standard input, answers each with one line, and ends at the end of the input:
    {"do": "create", "instances": [{...}]}   {"do": "delete", "uuids": [...]}
    {"do": "metadata", "uuid": "...", "metadata": {...}}
Argument: nova.conf.
"""

import base64
import json
import sys
import traceback

from nova import config, context, objects
from nova.network import model

CONTEXT = context.get_admin_context()


def create(order):
    cell = objects.CellMappingList.get_all(CONTEXT)[0]
    for spec in order["instances"]:
        objects.InstanceMapping(
            CONTEXT,
            instance_uuid=spec["uuid"],
            project_id=spec["project"],
            user_id="owner",
            cell_mapping=cell,
            queued_for_delete=False,
        ).create()
        with context.target_cell(CONTEXT, cell) as inside:
            _create_in_cell(inside, spec)


def _create_in_cell(inside, spec):
    user_data = spec["user_data"]
    instance = objects.Instance(
        inside,
        uuid=spec["uuid"],
        project_id=spec["project"],
        user_id="owner",
        display_name=spec["name"],
        hostname=spec["name"],
        host="compute-1",
        node="compute-1",
        compute_id=1,
        vm_state="active",
        task_state=None,
        power_state=1,
        launch_index=0,
        reservation_id="r-" + spec["uuid"][:8],
        availability_zone="nova",
        image_ref="",
        metadata=spec["metadata"],
        system_metadata={},
        user_data=base64.b64encode(user_data.encode()).decode() if user_data else None,
        key_name=spec["key_name"],
        key_data=spec["public_key"],
        config_drive="",
        flavor=_flavor(inside),
        old_flavor=None,
        new_flavor=None,
        keypairs=_keypairs(inside, spec),
    )
    instance.create()
    instance.info_cache.network_info = _network_info(spec)
    instance.info_cache.save()
    instance.ec2_ids  # noqa: B018  nova makes the EC2 names at the first look; reads then write nothing


def _flavor(inside):
    return objects.Flavor(
        inside, flavorid="1", name="m1.tiny", memory_mb=512, vcpus=1, root_gb=1, ephemeral_gb=0, swap=0,
        rxtx_factor=1.0, vcpu_weight=0, disabled=False, is_public=True, extra_specs={}, projects=[],
    )  # fmt: skip


def _keypairs(inside, spec):
    pair = objects.KeyPair(
        inside, user_id="owner", name=spec["key_name"], type="ssh", public_key=spec["public_key"], fingerprint="00:11"
    )
    return objects.KeyPairList(inside, objects=[pair])


def _network_info(spec):
    """One port with one fixed address: what nova learned from neutron when the instance was made."""
    subnet = model.Subnet(
        cidr=spec["cidr"],
        gateway=model.IP(address=spec["gateway"], type="gateway"),
        dns=[model.IP(address=spec["gateway"], type="dns")],
        ips=[model.FixedIP(address=spec["address"])],
        routes=[],
        version=4,
    )
    network = model.Network(
        id=spec["network"], bridge="br-int", label="private", subnets=[subnet], injected=False, mtu=1450
    )
    port = model.VIF(
        id=spec["port"], address=spec["mac"], network=network, type="ovs", devname="tap" + spec["port"][:11],
        vnic_type="normal", active=True, details={}, profile={},
    )  # fmt: skip
    return model.NetworkInfo([port])


def delete(order):
    for uuid in order["uuids"]:
        mapping = objects.InstanceMapping.get_by_instance_uuid(CONTEXT, uuid)
        with context.target_cell(CONTEXT, mapping.cell_mapping) as inside:
            objects.Instance.get_by_uuid(inside, uuid).destroy()
        mapping.queued_for_delete = True
        mapping.save()


def metadata(order):
    mapping = objects.InstanceMapping.get_by_instance_uuid(CONTEXT, order["uuid"])
    with context.target_cell(CONTEXT, mapping.cell_mapping) as inside:
        instance = objects.Instance.get_by_uuid(inside, order["uuid"], expected_attrs=["metadata"])
        instance.metadata = order["metadata"]
        instance.save()


def main():
    config.parse_args(["nova-desk"], default_config_files=[sys.argv[1]])
    objects.register_all()
    orders = {"create": create, "delete": delete, "metadata": metadata}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            orders[order["do"]](order)
            answer = {}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
