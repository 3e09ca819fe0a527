# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The cases of tests/store/test_upgrades.py once more, each on PostgreSQL, on MariaDB and on a Galera cluster."""

from tests.store.test_upgrades import *  # noqa: F403 - the cases are the tests of that module
