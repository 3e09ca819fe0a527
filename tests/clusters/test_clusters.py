# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Each software forms one cluster by its start script, and stands again after one fault. `make clusters` does more."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ..databases.ip import why_not
from ..databases.run import Run
from . import PROJECT, Packages
from .all import ALL
from .bed import Bed
from .cases import Cluster, faults
from .software import Software

EXAMPLES = sorted(path.parent for path in (PROJECT / "examples").glob("*/start.sh"))


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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_a_start_script_has_at_most_ten_lines(example: Path) -> None:
    lines = [line.strip() for line in (example / "start.sh").read_text().splitlines()]
    assert sum(bool(line) and not line.startswith("#") for line in lines) <= 10


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_user_data_has_the_same_start_script(example: Path) -> None:
    text = (example / "user-data").read_text()
    assert text.startswith("#cloud-config\n")
    files = {file["path"]: file["content"] for file in yaml.safe_load(text)["write_files"]}
    assert files[f"/usr/local/sbin/start-{example.name}"] == (example / "start.sh").read_text()
