# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Publishes: two new keys of an instance that is known, on the disk when it is answered; etcd on the same disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.bed import Bed
from bench.crowd import Instance
from bench.exchange import Check, holds
from bench.load import Load
from bench.load.guests import Guests
from bench.peers import etcd
from bench.rounds import Beside, Row

check_published = holds(b'"from_server_etcd_addr')
"""What every publish is answered."""

MAPPED = """\
The first call of each instance, stand-alone, so that nova is not part of it. It sets both keys or none, only if they
are new, and answers with the whole document. etcd creates one key that holds both values, which is less: two creates,
one for each key, would halve its rate. The transaction of v3 is the same work as ours."""


def publish(bed: Bed) -> Row:
    """Of instances that start for the first time, all in one round once."""

    def of_etcd(who: str, asked: Callable[[Instance], bytes], check: Check) -> Load:
        # Each line has keys of its own, which it creates.
        return Guests(
            who=who,
            server=bed.etcd.name,
            port=bed.etcd.port,
            rounds=([asked(one) for one in instances] for instances in bed.booting),
            check=check,
        )

    def create(one: Instance) -> bytes:
        return etcd.create_v2(f"created/{one.project}/{one.uuid}", etcd.both(one))

    def put(one: Instance) -> bytes:
        return etcd.put_v3(f"put/{one.project}/{one.uuid}", etcd.both(one))

    def transaction(one: Instance) -> bytes:
        return etcd.create_v3({f"made/{one.project}/{one.uuid}/{key}": value for key, value in one.entries})

    return Row(
        "POST of two new keys, durable",
        ours(bed.standalone.name, bed.standalone.port, bed.booting),
        [
            Beside(of_etcd("etcd v2 create of one key", create, etcd.check_created), goal=0.7, dream=1.0, p99=True),
            Beside(of_etcd("etcd v3 JSON put of one key", put, etcd.check_put), goal=1.5, p99=True),
            Beside(of_etcd("etcd v3 JSON transaction of two", transaction, holds(b'"succeeded":true'))),
        ],
        note=MAPPED,
    )


def ours(server: str, port: int, booting: Sequence[Sequence[Instance]], *, who: str = "peerdata, stand-alone") -> Load:
    """A stand-alone service to which the instances of each round publish."""
    rounds = ([one.publishes(one.forwarded()) for one in instances] for instances in booting)
    return Guests(who=who, server=server, port=port, rounds=rounds, check=check_published)
