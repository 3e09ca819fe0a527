# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A stand-in for the metadata service, in memory, for the tests of programs that use it. Standard library alone.

    from peerdata import testing

    with testing.Cloud() as cloud:
        one, two = cloud.instance("one"), cloud.instance("two")
        Guest(one.url).publish({"addr": "10.0.0.11"})
        assert len(Guest(two.url).peers().peers) == 1

Each instance has a URL of its own, so a program under test is told who it is by ``PEERDATA_URL``. The rules are those
of docs/protocol.md; tests/guest/test_stand_in.py holds the same conversations with it and with the real service.
"""

from peerdata.testing.cloud import Cloud, Instance

__all__ = ["Cloud", "Instance"]
