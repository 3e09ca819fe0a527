# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.boots.broken`: the command `peerdata` with one rule broken, which the check must notice.

Whoever asks takes the place of the founder, who may still be at work: what becomes of a start with random delays.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from peerdata.cli import main
from peerdata.model import Cluster, ClusterPlan
from peerdata.service import verdict

_enter = verdict.enter


def _replace_the_silent(cluster: Cluster, plan: ClusterPlan, uuid: str) -> Cluster:
    after = _enter(cluster, plan, uuid)
    if after.formed:
        return after
    # The store writes only the rows of members that are new or other than they were.
    return replace(after, members=tuple(replace(one, founder=one.uuid == uuid) for one in after.members))


if __name__ == "__main__":
    verdict.enter = _replace_the_silent
    sys.exit(main())
