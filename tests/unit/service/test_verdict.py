"""What a person is told of a cluster that waits."""

import pytest

from peerdata.model import Cluster, ClusterPlan, Founders, Member
from peerdata.service import verdict


def cluster(*founder: bool, size: int, founders: Founders, formed: bool = False) -> Cluster:
    """One whose members are the founders that *founder* says."""
    members = tuple(Member(f"u-{ordinal}", ordinal, is_one) for ordinal, is_one in enumerate(founder))
    return Cluster(ClusterPlan(size, founders, closed=False), 1, formed, len(members), members)


@pytest.mark.parametrize(
    ("waiting", "told"),
    [
        (cluster(size=3, founders=Founders.ONE), "whoever asks first begins it"),
        (cluster(size=3, founders=Founders.ALL), "whoever asks first begins it"),
        (cluster(False, False, size=3, founders=Founders.ONE), "the next on the roll that asks founds it"),
        (cluster(False, True, size=3, founders=Founders.ONE), "the founder, u-1, must confirm that the cluster stands"),
        (cluster(True, size=1, founders=Founders.ALL), "the founder, u-0, must confirm that the cluster stands"),
        (cluster(False, False, size=5, founders=Founders.ALL), "3 more must ask"),
        (
            cluster(True, True, True, False, size=3, founders=Founders.ALL),
            "one of the 3 founders (ordinals 0, 1, 2) must confirm that the cluster stands",
        ),
        (
            cluster(*[True] * 1000, size=1000, founders=Founders.ALL),
            "one of the 1000 founders (ordinals 0, 1, 2, ...) must confirm that the cluster stands",
        ),
        (cluster(True, False, size=3, founders=Founders.ONE, formed=True), ""),
    ],
)
def test_it_is_told_in_words_for_whom_a_cluster_waits(waiting: Cluster, told: str) -> None:
    assert verdict.explain_wait(waiting) == told


def test_whoever_looks_once_a_founder_was_taken_out_hears_that_it_may_be_the_next() -> None:
    there = verdict.leave(cluster(True, False, size=3, founders=Founders.ONE), "u-0")
    assert verdict.explain(there, "u-1") == "1 of 3 are on the roll; the next on the roll that asks founds it"
    assert verdict.explain(there, "u-9").startswith("1 of 3 are on the roll, and this instance is not; ")
