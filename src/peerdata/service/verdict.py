# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Who bootstraps a cluster, and who joins it: the rules, pure. No store, no clock, no HTTP.

# Why there are never two sets of founders

Each function takes a cluster as it is and gives it as it is next. The store runs them one after the other,
in the transaction that reads the one and writes the other, so nobody decides on what has changed since.

A *term* has one set of founders: one instance, or the first ``size`` of the roll. It is chosen once, and stays
chosen until the cluster is formed, or until one of them is known not to exist any more. Silence is no such
knowledge: a founder that is slow, cut off or switched off may come back, so nobody takes its place. Only when nova
says that the instance is gone, or the operator takes it out, does the term grow, and a new set is chosen.

What a founder of an older term still does is fenced: it cannot confirm. And whoever asks again sees the higher term,
and knows that what it began in the older one is void.

Once a cluster is formed nobody is chosen any more, whatever happens, until its last member has left or its owner
resets it; both begin a new term. So the term only grows, and each has one set of founders at most: promise G7.
"""

from __future__ import annotations

from dataclasses import replace

from peerdata.errors import ClusterTaken, NotFounder
from peerdata.model import Cluster, ClusterPlan, Founders, Member, Verdict


def begin(plan: ClusterPlan) -> Cluster:
    """A cluster of which nobody has heard yet."""
    return Cluster(plan, term=1, formed=False, next_ordinal=0, members=())


def enter(cluster: Cluster, plan: ClusterPlan, uuid: str) -> Cluster:
    """
    Put an instance on the roll, unless it is there or the cluster is full, and choose founders where it is time.

    A repeat changes nothing, so whoever lost the answer asks again.

    Raises:
        ClusterTaken: the cluster has another plan.
    """
    if not cluster.members:
        cluster = replace(cluster, plan=plan)
    elif cluster.plan != plan:
        there = cluster.plan
        raise ClusterTaken(
            f"the cluster was begun with size={there.size}, founders={there.founders.value} and "
            f"closed={str(there.closed).lower()}, and all its members must say the same",
            size=there.size,
            founders=there.founders.value,
            closed=there.closed,
        )
    if cluster.member(uuid) is None:
        if _is_full(cluster):
            return cluster
        new = Member(uuid, cluster.next_ordinal, founder=False)
        cluster = replace(cluster, next_ordinal=cluster.next_ordinal + 1, members=(*cluster.members, new))
    return _choose_founders(cluster, asking=uuid)


def confirm(cluster: Cluster | None, uuid: str, term: int) -> Cluster:
    """
    A founder says that the cluster stands. A repeat changes nothing.

    Args:
        cluster: None: nobody has heard of it.

    Raises:
        NotFounder: it is none of this term; what it started is not the cluster.
    """
    member = cluster.member(uuid) if cluster else None
    if cluster is None or member is None or not member.founder or term != cluster.term:
        present = cluster.term if cluster else 0
        raise NotFounder(
            f"this instance is no founder of the cluster in term {term}; the present term is {present}. What it "
            "started is not the cluster: throw it away, and ask again what to do",
            term=present,
        )
    return replace(cluster, formed=True)


def leave(cluster: Cluster, uuid: str) -> Cluster:
    """
    Take an instance off the roll, of which it is known that it does not exist any more.

    If it was to found the cluster, others are in a new term: with ``founders=one`` the next that asks. When the last
    member leaves, the cluster is over, and the next that asks begins it anew.
    """
    leaving = cluster.member(uuid)
    if leaving is None:
        return cluster
    staying = tuple(member for member in cluster.members if member is not leaving)
    if not staying:
        return reset(cluster)
    if cluster.formed or not leaving.founder:
        return replace(cluster, members=staying)
    nobody = tuple(replace(member, founder=False) for member in staying)
    return _choose_founders(replace(cluster, term=cluster.term + 1, members=nobody), asking=None)


def reset(cluster: Cluster) -> Cluster:
    """Begin anew, in a new term, with an empty roll."""
    return Cluster(cluster.plan, cluster.term + 1, formed=False, next_ordinal=0, members=())


def judge(cluster: Cluster, uuid: str) -> Verdict:
    """What that instance is to do now."""
    member = cluster.member(uuid)
    if member is None:
        # Until it is formed, one of those who are in may have to be replaced.
        return Verdict.FULL if _is_full(cluster) and cluster.formed else Verdict.WAIT
    if cluster.formed:
        return Verdict.JOIN
    return Verdict.BOOTSTRAP if member.founder else Verdict.WAIT


def awaited(cluster: Cluster) -> tuple[Member, ...]:
    """Those for whom the others wait: the founders until they confirm, or the members while there are too few."""
    if cluster.formed:
        return ()
    return cluster.founders or cluster.members


def explain_wait(cluster: Cluster) -> str:
    """What must happen before the cluster is formed, and by whom, for a person; empty where it is formed."""
    if cluster.formed:
        return ""
    founders = cluster.founders
    if len(founders) == 1:
        return f"the founder, {founders[0].uuid}, must confirm that the cluster stands"
    if founders:
        ordinals = ", ".join(str(member.ordinal) for member in founders[:3])
        more = ", ..." if len(founders) > 3 else ""
        return f"one of the {len(founders)} founders (ordinals {ordinals}{more}) must confirm that the cluster stands"
    if not cluster.members:
        return "the first instance that joins begins it"
    if cluster.plan.founders is Founders.ONE:
        return "the next member that asks founds it"
    return f"{cluster.plan.size - len(cluster.members)} more must join"


def explain(cluster: Cluster, uuid: str) -> str:
    """Why `judge` says so, for a person."""
    verdict, there, size = judge(cluster, uuid), len(cluster.members), cluster.plan.size
    if verdict is Verdict.FULL:
        return f"the cluster is closed and has its {size} members"
    if cluster.member(uuid) is None:
        awaits = f"; {explain_wait(cluster)}" if not cluster.formed else ""
        return f"{there} of {size} are members, and this instance is not{awaits}"
    if verdict is Verdict.JOIN:
        return "the cluster is formed"
    if verdict is Verdict.BOOTSTRAP:
        others = len(cluster.founders) - 1
        if not others:
            return "this instance starts the cluster; the others join it"
        return f"this instance and {others} other founder{'s' if others > 1 else ''} start the cluster together"
    awaits = explain_wait(cluster)
    return awaits if cluster.founders else f"{there} of {size} are members; {awaits}"


def _is_full(cluster: Cluster) -> bool:
    return cluster.plan.closed and len(cluster.members) >= cluster.plan.size


def _choose_founders(cluster: Cluster, *, asking: str | None) -> Cluster:
    """The cluster with founders, if it has none, needs some, and has enough members for them."""
    if cluster.formed or cluster.founders:
        return cluster
    if cluster.plan.founders is Founders.ONE:
        chosen = {asking}  # not the first of the roll, which may have been silent for days: who asks is there
    elif len(cluster.members) >= cluster.plan.size:
        chosen = {member.uuid for member in cluster.members[: cluster.plan.size]}
    else:
        return cluster
    return replace(cluster, members=tuple(replace(member, founder=member.uuid in chosen) for member in cluster.members))
