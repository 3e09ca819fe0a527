# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The versions of the OpenStack metadata format, as nova 34.0.0 lists them (nova, api/metadata/base.py).
"""

from __future__ import annotations

NOVA_VERSIONS = frozenset(
    (
        "2012-08-10",
        "2013-04-04",
        "2013-10-17",
        "2015-10-15",
        "2016-06-30",
        "2016-10-06",
        "2017-02-22",
        "2018-08-27",
        "2020-10-14",
        "2025-04-04",
        "latest",
    )
)

WITH_RANDOM_SEED = "2013-04-04"
WITH_PROJECT_ID = "2015-10-15"
WITH_DEVICES = "2016-06-30"
WITH_DEDICATED_CPUS = "2020-10-14"
"""The versions with which members of meta_data.json began. As text they compare as dates, and ``latest`` after them."""
