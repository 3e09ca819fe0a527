# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The database servers, shared with tests/databases where both run."""

from tests.databases.fixtures import database_run, postgresql, pytest_runtest_makereport

__all__ = ["database_run", "postgresql", "pytest_runtest_makereport"]
