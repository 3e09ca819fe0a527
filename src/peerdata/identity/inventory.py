# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Stand-alone: a file says which instance has an address.
"""

from __future__ import annotations

from peerdata.errors import InstanceUnknown
from peerdata.identity.interface import Found, Request, Settle
from peerdata.identity.proxies import TrustedProxies
from peerdata.model import Instance
from peerdata.upstream.inventory import Inventory
from peerdata.upstream.nova import Headers, NovaAnswer


class InventoryIdentity:
    """Whoever has an address of the file is that instance."""

    through_neutron = False

    def __init__(self, proxies: TrustedProxies, inventory: Inventory) -> None:
        self._proxies = proxies
        self._inventory = inventory

    def recall(self, request: Request) -> Instance | None:
        source = self._proxies.source(request)
        found = self._inventory.find(source)
        if found is None:
            raise InstanceUnknown(f"the inventory has no instance with the address {source}", address=source)
        return found.instance

    async def prove(self, request: Request, *, stale: bool = False) -> Instance:
        instance = self.recall(request)
        assert instance is not None
        return instance

    async def read_document(self, request: Request, version: str) -> Found | NovaAnswer:
        raise AssertionError("stand-alone there is no nova")

    def begin_document(self, request: Request, version: str, settle: Settle) -> None:
        raise AssertionError("stand-alone there is no nova")

    async def is_gone(self, instance: Instance) -> bool:
        return self._inventory.describe(instance) is None

    def name_of(self, instance: Instance) -> str:
        listed = self._inventory.describe(instance)
        return listed.name if listed and listed.name != instance.uuid else ""

    def headers_for_nova(self, request: Request) -> Headers:
        raise AssertionError("stand-alone there is no nova")

    def asking_headers(self, request: Request) -> Headers:
        raise AssertionError("stand-alone there is no nova")
