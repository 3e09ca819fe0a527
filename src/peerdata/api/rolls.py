# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What the calls of a cluster say: query string in, plan and keys out; and a roll as its members see it. Pure.
"""

from __future__ import annotations

import re

from peerdata.api import publishing
from peerdata.api.routes import Call, only, only_of, parameters
from peerdata.errors import (
    BodyAndParameters,
    ClusterNameInvalid,
    ParameterInvalid,
    PeerdataError,
)
from peerdata.model import ClusterPlan, Founders, Verdict
from peerdata.service import verdict
from peerdata.service.board import prefixed, render
from peerdata.service.rules import printable
from peerdata.store.clusters import Roll

MOST_SIZE = 1000
MOST_TERM = 2**63 - 1

_NAME = re.compile(r"[a-zA-Z0-9\-_.]{1,64}")


def check_name(name: str) -> None:
    """Raise `ClusterNameInvalid` for what no cluster can be called."""
    if not _NAME.fullmatch(name) or name in (".", ".."):  # clients take these two for steps in the path
        raise ClusterNameInvalid(
            f"'{printable(name)}' is no name of a cluster: 1 to 64 of a-z A-Z 0-9 - _ . (and not . or .. alone)"
        )


def understand(query: bytes, body: bytes, fault: PeerdataError | None = None) -> tuple[ClusterPlan, dict[str, str]]:
    """
    What a member says of its cluster, and the keys that it publishes with that.

    Raises:
        RequestInvalid: one of its leaves.

    Source: docs/protocol.md, "Form a cluster".
    """
    keys, others = publishing.split(parameters(query))
    given = only_of(Call.CLUSTER, others, "size", "founders", "closed")
    size = given.get("size", "")
    if not _is_number(size, 1, MOST_SIZE):
        raise ParameterInvalid(
            f"size must say how many the cluster is planned for, 1 to {MOST_SIZE}, as in ?size=3", parameter="size"
        )
    founders = given.get("founders", Founders.ONE.value)
    if founders not in (Founders.ONE.value, Founders.ALL.value):
        raise ParameterInvalid("founders must be one or all", parameter="founders")
    closed = given.get("closed", "false")
    if closed not in ("true", "false"):
        raise ParameterInvalid("closed must be true or false", parameter="closed")
    _check_no_body(body, fault)
    return ClusterPlan(int(size), Founders(founders), closed == "true"), publishing.unrepeated(keys)


def understand_term(query: bytes, body: bytes, fault: PeerdataError | None = None) -> int:
    """The term that a founder confirms. Raises as `understand`."""
    term = only(Call.FORMED, query, "term").get("term", "")
    if not _is_number(term, 1, MOST_TERM):
        raise ParameterInvalid("term must be that of the verdict, as in ?term=1", parameter="term")
    _check_no_body(body, fault)
    return int(term)


def _check_no_body(body: bytes, fault: PeerdataError | None) -> None:
    if fault:
        raise fault
    if body:
        raise BodyAndParameters("this call has no body: everything stands in the query string")


def _is_number(text: str, least: int, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most


def render_roll(name: str, roll: Roll, caller: str, poll_after_s: float) -> bytes:
    """The cluster as the instance *caller* sees it."""
    cluster = roll.cluster
    there = cluster if cluster and cluster.members else None
    member = there and there.member(caller)
    said = verdict.judge(there, caller) if there else Verdict.WAIT
    founders_alone = bool(there and said is Verdict.BOOTSTRAP and there.plan.founders is Founders.ALL)
    head = render(
        {
            "cluster": name,
            "verdict": said.value,
            "size": there.plan.size if there else None,
            "founders": there.plan.founders.value if there else None,
            "closed": there.plan.closed if there else None,
            "term": cluster.term if cluster else 0,
            "ordinal": member.ordinal if member else None,
            "formed": bool(there and there.formed),
        }
    )
    tail = render(
        {
            "why": verdict.explain(there, caller) if there else "nobody is on the roll",
            "self": caller,
            "revision": roll.revision,
            "poll_after_s": poll_after_s,
        }
    )
    return b'%s,"members":%s,%s\n' % (head[:-1], _render_members(roll, founders_alone), tail[1:])


def _render_members(roll: Roll, founders_alone: bool) -> bytes:
    """What is the same for all members that poll."""
    if (known := roll.rendered.get(founders_alone)) is not None:
        return known
    cluster = roll.cluster
    shown = () if cluster is None else cluster.founders if founders_alone else cluster.members
    rendered = roll.rendered[founders_alone] = render(
        [
            {
                "uuid": one.uuid,
                "ordinal": one.ordinal,
                "founder": one.founder,
                "meta": prefixed(roll.metas.get(one.uuid, {}).items()),
            }
            for one in shown
        ]
    )
    return rendered
