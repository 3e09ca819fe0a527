# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The database servers, shared with tests/databases where both run."""

from hypothesis import settings

from tests.databases.fixtures import database_run, galera, pytest_runtest_makereport

# Others may use the machine.
settings.register_profile("torture", deadline=None)
settings.load_profile("torture")

__all__ = ["database_run", "galera", "pytest_runtest_makereport"]
