# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Each software forms one cluster by its start script, and stands again after one fault. `make clusters` does more."""

import random
from collections.abc import Iterator

import pytest

from ..databases.ip import why_not
from ..databases.run import Run
from . import Packages
from .all import ALL
from .bed import Bed
from .cases import Cluster, faults
from .software import Software


@pytest.fixture(scope="module")
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """The network, with machines that are off."""
    if reason := why_not() or Packages.default().why_not():
        pytest.skip(reason)
    run = Run.begin()
    failed = request.session.testsfailed
    try:
        with Bed(run) as opened:
            yield opened
    finally:
        run.end(keep_logs=request.session.testsfailed > failed)


@pytest.mark.parametrize("software", ALL, ids=lambda software: software.name)
def test_members_that_boot_at_once_are_one_cluster_and_stand_again_after_a_fault(bed: Bed, software: Software) -> None:
    chance = random.Random()
    cluster = Cluster(bed, software, chance)
    fault = chance.choice([fault for fault in faults(software) if fault.quick])
    if fault.from_a_cluster:
        cluster.boot()
    fault.strike(cluster)
