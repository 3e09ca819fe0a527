# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The cases of tests/store once more, each on PostgreSQL, on MariaDB and on a Galera cluster."""

from tests.store.test_bytes import *  # noqa: F403 - the cases are the tests of these modules
from tests.store.test_clusters import *  # noqa: F403 - the cases are the tests of these modules
from tests.store.test_entries import *  # noqa: F403
from tests.store.test_proofs import *  # noqa: F403
