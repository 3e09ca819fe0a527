# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""How much instances may take of a process, from its settings and its descriptors."""

import resource

import pytest

from peerdata.capacity import connections_within, files_needed, http_limits
from peerdata.settings import IdentitySettings, InstanceApiSettings, NovaSettings, Settings

SETTINGS = Settings(
    instance_api=InstanceApiSettings(max_connections=300), nova=NovaSettings(metadata_url="http://nova")
)


@pytest.mark.parametrize(("missing", "connections"), [(-1000, 300), (0, 300), (1, 299), (299, 1), (10_000, 1)])
def test_descriptors_that_are_missing_are_taken_off_connections(missing: int, connections: int) -> None:
    assert connections_within(SETTINGS, files_needed(SETTINGS) - missing) == connections


@pytest.mark.parametrize("most", [400, resource.RLIM_INFINITY])
def test_the_last_descriptors_are_no_clients(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (most, most))
    limits = http_limits(SETTINGS)
    assert limits.descriptors == (400 - 32 if most == 400 else (1 << 30) - 32)
    assert limits.connections == connections_within(SETTINGS, limits.descriptors + 32)


def test_an_address_has_a_share_only_where_it_is_an_instance() -> None:
    """In front of nova all connections come from the metadata agents."""
    alone = Settings(identity=IdentitySettings(inventory_file="inventory.yaml"))
    assert http_limits(alone).connections_of_address == alone.instance_api.max_connections_per_address > 0
    assert http_limits(SETTINGS).connections_of_address == 0
