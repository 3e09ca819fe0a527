# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A fake metadata service, in memory, for the tests of programs that use peerdata. Standard library only.

    from peerdata import testing

    with testing.Cloud() as cloud:
        one, two = cloud.instance("one"), cloud.instance("two")
        Guest(one.url).publish({"addr": "10.0.0.11"})
        assert len(Guest(two.url).peers().peers) == 1

Each instance has a URL of its own, so ``PEERDATA_URL`` decides which instance a program under test is. The rules are
those of docs/protocol.md; tests/guest/test_fake_service.py holds the same conversations with the real service.
"""

from peerdata.testing.cloud import Cloud, Instance

__all__ = ["Cloud", "Instance"]
