# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Growth: what one call costs the servers' core in projects of 10 to 10 000 peers.

In CPU time of the service, which other work on the machine hardly changes. A read may grow, by its bytes; a poll
without news, and a publish, must not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.bed import SECRET, SIZES, WRITERS, Bed, callers
from bench.crowd import PEER_DATA, SHARED, instances_of
from bench.exchange import Check, ask, holds, request
from bench.load import Guests, Load, Wrk, send
from bench.rounds import Line, Row, measure
from bench.rows import Rows, check_quiet

PAIRS = 60
"""Publishes, each followed by a read of another instance of the project, one at a time."""

ROUNDS = 3
"""Of the reads, each of a second."""


@dataclass(frozen=True)
class Step:
    """What the calls cost in projects of one size; the median of each line counts."""

    peers: int
    shared_bytes: int
    read: Line
    poll: Line
    publish: Line
    pair: Line
    """For each of the two calls of a pair."""


def grow(bed: Bed) -> list[Step]:
    """All sizes, smallest first."""
    return [_step(bed, peers) for peers in SIZES]


def _step(bed: Bed, peers: int) -> Step:
    service, standalone = bed.service, bed.standalone
    instances = callers(bed.sized[peers][0])
    read = [request("GET", SHARED, one.signed(SECRET)) for one in instances]
    since = Rows(bed, seconds=1).revision(instances[0])
    poll = [request("GET", f"{PEER_DATA}?since={since}", one.signed(SECRET)) for one in instances]

    def of_service(what: str, requests: Sequence[bytes], check: Check) -> Line:
        load = Wrk(
            bed.tools,
            bed.stage.directory,
            who=what,
            server=service.name,
            port=service.port,
            requests=requests,
            check=check,
            seconds=1,
        )
        return _line(bed, peers, load, rounds=ROUNDS)

    def of_standalone(what: str, requests: Sequence[bytes], check: Check, *, connections: int) -> Line:
        load = Guests(
            who=what,
            server=standalone.name,
            port=standalone.port,
            rounds=iter([requests]),
            check=check,
            connections=connections,
        )
        return _line(bed, peers, load, rounds=1)

    writers = instances_of(bed.sized[peers])[:WRITERS]
    publishes = [one.publishes(one.forwarded(), suffix="_again") for one in writers]
    published = holds(b"from_server_etcd_addr")
    return Step(
        peers,
        len(ask(service.port, read[0]).body),
        of_service("a read", read, holds(b'"from_server_etcd_addr"')),
        of_service("a quiet poll", poll, check_quiet),
        of_standalone("a publish", publishes, published, connections=64),
        of_standalone("a publish and a read", list(_pairs(bed, peers)), holds(b"from_server_etcd_addr"), connections=1),
    )


def _pairs(bed: Bed, peers: int) -> Iterator[bytes]:
    """Publish and read in turn, in projects that have been read before."""
    writers = instances_of(bed.sized[peers])[: PAIRS + 1]
    reads = [request("GET", SHARED, one.forwarded()) for one in writers]
    send(bed.standalone.port, reads[::10], holds(b"from_server_etcd_addr"))
    for writer, reader in pairwise(writers):
        if writer.project == reader.project:
            yield writer.publishes(writer.forwarded(), suffix="_and_read")
            yield request("GET", SHARED, reader.forwarded())


def _line(bed: Bed, peers: int, load: Load, *, rounds: int) -> Line:
    return measure(Row(f"{load.who}, {peers} peers", load), bed.stage, rounds=rounds).ours
