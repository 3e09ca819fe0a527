# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The listeners, as data."""

from peerdata.capacity import OPERATORS, http_limits
from peerdata.serving import listeners_of
from peerdata.settings import IdentitySettings, InstanceApiSettings, OperatorApiSettings, Settings

SETTINGS = Settings(
    instance_api=InstanceApiSettings(listen=("127.0.0.1:1",), listen_tls=("127.0.0.1:2",)),
    operator_api=OperatorApiSettings(listen=("127.0.0.1:3",)),
    identity=IdentitySettings(inventory_file="inventory.yaml", trusted_proxies=("192.0.2.0/24",)),
)


def test_instances_and_operators_have_their_own_addresses_and_limits() -> None:
    instances, operators = listeners_of(SETTINGS)
    assert (instances.name, instances.addresses, instances.tls_addresses) == (
        "instances",
        ("127.0.0.1:1",),
        ("127.0.0.1:2",),
    )
    assert (operators.name, operators.addresses, operators.tls_addresses) == ("operators", ("127.0.0.1:3",), ())
    assert (instances.limits, operators.limits) == (http_limits(SETTINGS), OPERATORS)


def test_only_a_trusted_proxy_of_instances_is_exempt_from_the_limit_of_one_address() -> None:
    instances, operators = listeners_of(SETTINGS)
    assert instances.is_proxy("192.0.2.1")
    assert not instances.is_proxy("198.51.100.1")
    assert not operators.is_proxy("192.0.2.1")


def test_operators_are_answered_until_instances_are_drained() -> None:
    assert [(listener.name, listener.drains) for listener in listeners_of(SETTINGS)] == [
        ("instances", True),
        ("operators", False),
    ]
