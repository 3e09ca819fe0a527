# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The servers, and the store on them."""

from .fixtures import database_run, galera, mariadb, postgresql, pytest_runtest_makereport
from .stores import empty_url, engine, make_engine, store_urls

__all__ = [
    "database_run",
    "empty_url",
    "engine",
    "galera",
    "make_engine",
    "mariadb",
    "postgresql",
    "pytest_runtest_makereport",
    "store_urls",
]
