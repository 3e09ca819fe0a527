# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Reads: `shared.json`, and a poll that has nothing to tell, beside everybody who can answer the same question.
"""

from __future__ import annotations

import json

from bench.bed import callers
from bench.crowd import META_DATA, PEER_DATA, SHARED, Instance
from bench.exchange import AnswerWrong, Reply, ask, equals, holds
from bench.load import Load
from bench.load.resp import HashReads
from bench.peers import etcd
from bench.rounds import Beside, Row
from bench.rows.loads import Loads, signed

MAPPED = """\
etcd v2 has a directory for each instance with its two keys in it, and is asked for all of the project's; etcd v3 has
the same keys under a prefix, which a range reads; the Redis hash has a field for each key. Their answers hold the same
uuids, keys and values. Nobody signs to them."""


def shared(loads: Loads, peers: int) -> Row:
    """`shared.json` in a project of that many, beside a file alone."""
    title, ours, file = _shared(loads, peers)
    return Row(title, ours, [Beside(file)])


def shared_100(loads: Loads) -> Row:
    """`shared.json` of 100 peers, beside all."""
    title, ours, file = _shared(loads, 100)
    bed = loads.bed
    project = bed.sized[100]
    redis = HashReads(
        who="Redis HGETALL",
        server=bed.redis.name,
        port=bed.redis.port,
        key=project.name,
        fields=bed.redis.fill(project),
        seconds=loads.seconds,
    )
    directory = loads.etcd(etcd.directory_v2(project), etcd.lists_v2(project), who="etcd v2 directory")
    prefix = loads.etcd(etcd.range_v3(project.name), etcd.lists_v3(project), who="etcd v3 JSON range")
    beside = [
        Beside(file, goal=0.25),
        Beside(redis, goal=0.55, dream=1.0),
        Beside(directory, goal=4, p99=True),
        Beside(prefix, goal=40, p99=True),
        Beside(loads.nova(META_DATA, callers(project)), goal=6),
    ]
    return Row(title, ours, beside, note=MAPPED)


def shared_1000(loads: Loads) -> Row:
    """`shared.json` of 1000 peers."""
    title, ours, file = _shared(loads, 1_000)
    project = loads.bed.sized[1_000]
    directory = loads.etcd(etcd.directory_v2(project), etcd.lists_v2(project), who="etcd v2 directory")
    return Row(title, ours, [Beside(file, goal=1.0), Beside(directory, p99=True)])


def poll(loads: Loads) -> Row:
    """`peer_data.json?since=` with nothing new."""
    project = loads.bed.sized[100]
    instances = callers(project)
    asked = signed(f"{PEER_DATA}?since={revision(loads, instances[0])}", instances)
    reply = ask(loads.bed.service.port, asked[0])
    check_quiet(reply)
    news = etcd.range_v3(project.name, since=loads.bed.etcd.revision())
    return Row(
        f"peer_data.json?since= with nothing new, 100 peers, {len(reply.body)} bytes",
        loads.service(asked, check_quiet),
        [
            Beside(loads.file("poll.json", reply.body, instances), goal=0.25),
            Beside(loads.etcd(news, etcd.check_quiet, who="etcd v3 JSON range, min_mod_revision"), p99=True),
        ],
        note="The nearest that etcd has is a range of what changed since a revision; its v2 can only wait for one.",
    )


def revision(loads: Loads, instance: Instance) -> int:
    """Of the project of *instance*, in the service in front of nova."""
    reply = ask(loads.bed.service.port, signed(PEER_DATA, [instance])[0])
    holds(b"")(reply)
    return int(json.loads(reply.body)["revision"])


def check_quiet(reply: Reply) -> None:
    """That *reply* is of a poll which has nothing to tell."""
    holds(b"")(reply)
    news = json.loads(reply.body)
    if news["full"] or news["peers"] or news["removed"]:
        raise AnswerWrong("the poll has news")


def _shared(loads: Loads, peers: int) -> tuple[str, Load, Load]:
    """The title of the row; ours; nginx with the same bytes."""
    project = loads.bed.sized[peers]
    asked = signed(SHARED, callers(project))
    reply = ask(loads.bed.service.port, asked[0])
    project.check_shared(reply)
    return (
        f"shared.json, {peers} peers, {len(reply.body) / 1000:.1f} kB",
        loads.service(asked, equals(reply.body)),
        loads.file(f"shared-{peers}.json", reply.body, callers(project)),
    )
