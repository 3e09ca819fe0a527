# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Skips, with the reason, what this machine cannot do; with PEERDATA_DEPLOY=required that is a failure."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases.fixtures import database_run, mariadb, postgresql, pytest_runtest_makereport

from . import build

__all__ = ["database_run", "mariadb", "postgresql", "pytest_runtest_makereport"]

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def cannot() -> Callable[[str], None]:
    """Skip or fail, for that reason."""

    def cannot(reason: str) -> None:
        if os.environ.get("PEERDATA_DEPLOY") == "required":
            pytest.fail(reason)
        pytest.skip(reason)

    return cannot


@pytest.fixture(scope="session")
def tool(cannot: Callable[[str], None]) -> Callable[[str], str]:
    """The path of a program of systemd's or of logrotate."""

    def tool(name: str) -> str:
        path = build.program(name)
        if not path:
            cannot(f"there is no {name}; `python -m tests.deploy` unpacks it")
        return path

    return tool
