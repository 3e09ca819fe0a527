# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Behind our own calls, no nova: the inventory plays the part of it that cloud-init and people need.
"""

from __future__ import annotations

import base64
import io
import os
from typing import Any

from peerdata.api.documents import Reading, SettleReading
from peerdata.api.routes import Call, understand
from peerdata.errors import InstanceUnknown, MethodUnsupported, PathUnknown
from peerdata.httpd.messages import Answer, Request, Settle
from peerdata.identity.interface import Identity
from peerdata.model import Instance
from peerdata.service.rules import printable
from peerdata.upstream import versions
from peerdata.upstream.inventory import Inventory, Listed


class Standalone:
    """Answers what nova would, from the inventory."""

    def __init__(self, identity: Identity, inventory: Inventory) -> None:
        self._identity = identity
        self._inventory = inventory

    async def read_document(self, request: Request, version: str) -> Reading:
        """Source: `api.instance.Behind`."""
        return self._read(await self._identity.prove(request), version)

    def begin_document(self, request: Request, version: str, settle: SettleReading) -> None:
        """Source: `api.instance.Behind`."""
        caller = self._identity.recall(request)
        assert caller is not None  # the inventory knows, or raises
        settle(self._read(caller, version))

    def _read(self, caller: Instance, version: str) -> Reading:
        listed = self._inventory.describe(caller)
        if listed is None:
            raise InstanceUnknown(f"the inventory has no instance {caller.uuid} any more")
        return Reading(caller, _document(listed, version), None)

    def lists(self, version: str) -> bool:
        """Source: `api.instance.Behind`."""
        return version in versions.NOVA_VERSIONS

    async def has_version(self, _request: Request, version: str) -> bool:
        """Source: `api.instance.Behind`."""
        return version in versions.NOVA_VERSIONS

    def pass_on(self, request: Request, settle: Settle) -> None:
        """Source: `api.instance.Behind`."""
        settle(self._answer(request))

    def _answer(self, request: Request) -> Answer:
        """The two listings; all else is not there. As with nova, who asks is settled first."""
        self._identity.recall(request)
        target = understand(request.target)
        if target.call is Call.LISTING and target.version in versions.NOVA_VERSIONS:
            return _text("meta_data.json")
        if target.call is Call.PUBLISH and target.version in versions.NOVA_VERSIONS:
            raise MethodUnsupported(
                "POST publishes here; GET .../meta_data.json reads what you have", method=request.method
            )
        if target.path == "/openstack":
            return _text(*sorted(versions.NOVA_VERSIONS))
        raise PathUnknown(f"there is nothing at {printable(target.path)}; /openstack/latest/ lists what there is")


def _document(listed: Listed, version: str) -> dict[str, Any]:
    """The members that nova's document of that version has, in nova's order (nova, _metadata_as_json)."""
    document: dict[str, Any] = {"uuid": listed.instance.uuid}
    if listed.meta:
        document["meta"] = listed.meta
    if listed.public_keys:
        document["public_keys"] = listed.public_keys
        document["keys"] = [{"name": name, "type": "ssh", "data": data} for name, data in listed.public_keys.items()]
    document |= {
        "hostname": listed.hostname,
        "name": listed.name,
        "launch_index": listed.launch_index,
        "availability_zone": listed.availability_zone,
    }
    if version >= versions.WITH_RANDOM_SEED:
        document["random_seed"] = base64.b64encode(_random_bytes(512)).decode()
    if version >= versions.WITH_PROJECT_ID:
        document["project_id"] = listed.instance.project_id
    if version >= versions.WITH_DEVICES:
        document["devices"] = []
    if version >= versions.WITH_DEDICATED_CPUS:
        document["dedicated_cpus"] = []
    return document


_drawn = io.BytesIO()


def _random_bytes(number: int) -> bytes:
    """
    Of the system's randomness, each given out once.

    It is drawn for many at once, because for the time of a draw the interpreter lets another thread go first, which in
    a storm of publishes is one that has much to do.
    """
    global _drawn
    found = _drawn.read(number)
    if len(found) < number:
        _drawn = io.BytesIO(os.urandom(64 * number))
        found = _drawn.read(number)
    return found


def _text(*lines: str) -> Answer:
    return Answer(200, "\n".join(lines).encode(), b"text/plain; charset=utf-8")
