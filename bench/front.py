# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The front: the service, nginx and haproxy as proxies side by side on the servers' core, all before one fast upstream.

The upstream shares the other core with the load, so that the CPU time of a proxy is its own alone.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from tests.chain.run import until

from bench.bed import SECRET
from bench.crowd import META_DATA, SHARED, Crowd, Instance, instances_of
from bench.exchange import AnswerWrong, Check, Reply, ask, holds, request
from bench.goals import Verdict, at_most
from bench.load import CONNECTIONS
from bench.load.guests import Guests, in_rounds, send
from bench.load.wrk import Wrk
from bench.markdown import table
from bench.part import Part, Setting, of_row
from bench.peers.bare import Bare
from bench.peers.haproxy import Haproxy
from bench.peers.nginx import Documents, Proxy
from bench.rounds import Beside, Measured, Row, measure
from bench.rows.loads import OURS, signed
from bench.rows.publishes import check_published
from bench.service import Service

HEADING = "In front of a fast upstream"

NAMES = ("pass_through", "pass_through_1", "meta_data", "meta_data_keys", "publish_before_nova")

ROUNDS = 3
"""Of each row."""

USER_DATA = "/openstack/latest/user_data"
USER_DATA_BYTES = 2_000

CALLERS = 10
"""Instances that ask in turn."""

WRITERS = 200
"""Instances that publish; each does so once a round and keeps within its quota."""

NGINX = "nginx proxy_pass"
"""Beside whom the goals are."""

HAPROXY, BARE, STRAIGHT = "haproxy", "a bare proxy on httptools and uvloop", "the upstream itself"

ADDED_MS = 0.3
"""What we may add to the p50 of one connection beyond what nginx adds."""

MAPPED = """\
The upstream is an nginx that serves files of 2 kB, on the core of the load, and connections to it may be kept. nginx
and haproxy are proxies on the servers' core as the service is, with kept connections and nothing to log. The bare proxy
parses and copies and does nothing else: the least that one in Python can cost. Requests carry the headers of neutron's
metadata agent."""


class Server(Protocol):
    """One that can be asked."""

    @property
    def name(self) -> str:
        """On the stage."""

    @property
    def port(self) -> int:
        """On 127.0.0.1."""


@dataclass(frozen=True)
class Front:
    """What runs, and who asks."""

    setting: Setting
    upstream: Documents
    nginx: Proxy
    haproxy: Haproxy
    bare: Bare
    service: Service
    silent: list[Instance]
    """Have no keys."""
    talking: list[Instance]
    """Have published two."""
    writers: list[Instance]
    """Publish in each round; the service knows them."""

    def load(
        self, server: Server, who: str, asked: list[bytes], check: Check, *, connections: int = CONNECTIONS
    ) -> Wrk:
        """The requests *asked* in turn, to one of these."""
        return Wrk(
            self.setting.tools,
            self.setting.stage.directory,
            who=who,
            server=server.name,
            port=server.port,
            requests=asked,
            check=check,
            seconds=self.setting.seconds,
            connections=connections,
        )


@contextmanager
def opened(setting: Setting) -> Iterator[Front]:
    """Start everything; everybody is known to the service inside, and gone outside."""
    stage, tools = setting.stage, setting.tools
    crowd = Crowd()
    silent = instances_of(crowd.add("silent", size=CALLERS))
    talking = instances_of(crowd.add("talking", size=CALLERS))
    writers = instances_of(crowd.add("writers", size=WRITERS // 2, projects=2))
    upstream = Documents(stage, tools)
    everybody = [*silent, *talking, *writers]
    upstream.fill({one.uuid: document(one) for one in everybody}, random.Random(0).randbytes(USER_DATA_BYTES))
    upstream.start()
    nginx, haproxy, bare = Proxy(stage, tools, upstream.port), Haproxy(stage, upstream.port), Bare(stage, upstream.port)
    service = Service.before_nova(stage, upstream.url, SECRET, name="peerdata-front")
    for proxy in (nginx, haproxy, bare, service):
        proxy.start()
    until("the service knows nova's versions", lambda: _answered(service, silent[0]), every_s=0.2)
    send(service.port, signed(SHARED, everybody), holds(b"["))
    send(service.port, [one.publishes(one.signed(SECRET)) for one in talking], check_published)
    yield Front(setting, upstream, nginx, haproxy, bare, service, silent, talking, writers)
    for name in (service.name, bare.name, nginx.name, haproxy.name, upstream.name):
        stage.stop(name)


def _answered(service: Service, one: Instance) -> bool:
    return ask(service.port, request("GET", SHARED, one.signed(SECRET))).status == 200


def measured(setting: Setting, names: Collection[str]) -> Iterator[Part]:
    """Those of `NAMES`."""
    with opened(setting) as front:
        if "pass_through" in names:
            yield _row(pass_through(front), front)
        if "pass_through_1" in names:
            yield _at_one_connection(front)
        if "meta_data" in names:
            yield _row(meta_data(front), front)
        if "meta_data_keys" in names:
            yield _row(meta_data_keys(front), front)
        if "publish_before_nova" in names:
            yield _row(publish(front), front)


def _row(row: Row, front: Front) -> Part:
    return of_row(HEADING, measure(row, front.setting.stage, rounds=ROUNDS))


def pass_through(front: Front) -> Row:
    """What is not ours."""
    asked = signed(USER_DATA, front.silent)
    return Row(
        "user_data of 2 kB, passed through",
        front.load(front.service, OURS, asked, _passes),
        [
            Beside(front.load(front.nginx, NGINX, asked, _passes), cpu_goal=3, cpu_dream=2),
            Beside(front.load(front.haproxy, HAPROXY, asked, _passes)),
            Beside(front.load(front.bare, BARE, asked, _passes)),
        ],
        note=MAPPED,
    )


def meta_data(front: Front) -> Row:
    """`meta_data.json` of a caller who has no keys."""
    asked, check = signed(META_DATA, front.silent), holds(b'"uuid": "')
    ours = front.load(front.service, OURS, asked, check)
    nginx = front.load(front.nginx, NGINX, asked, check)
    return Row("meta_data.json of a known caller without keys", ours, [Beside(nginx, cpu_goal=4)])


def meta_data_keys(front: Front) -> Row:
    """`meta_data.json` of a caller whose keys are merged in; nginx hands on the document without them."""
    asked = signed(META_DATA, front.talking)
    ours = front.load(front.service, OURS, asked, holds(b'"from_server_etcd_addr'))
    nginx = front.load(front.nginx, NGINX, asked, holds(b'"uuid": "'))
    return Row("meta_data.json of a known caller with two keys", ours, [Beside(nginx, cpu_goal=6)])


def publish(front: Front) -> Row:
    """Two new keys, durable; the upstream is asked for the document of each answer."""

    def batch(number: int) -> list[bytes]:
        return [
            one.publishes(one.signed(SECRET), suffix=f"_{number}_{turn}") for turn in (1, 2) for one in front.writers
        ]

    service = front.service
    ours = Guests(who=OURS, server=service.name, port=service.port, rounds=in_rounds(batch), check=check_published)
    note = "Known callers; the document of each answer is the upstream's. The CPU time is that of the service alone."
    return Row("POST of two new keys in front of nova", ours, note=note, cpu_ms=0.35)


def _at_one_connection(front: Front) -> Part:
    """How much later an answer comes than straight from the upstream."""
    asked = signed(USER_DATA, front.silent)
    servers = ((front.upstream, STRAIGHT), (front.nginx, NGINX), (front.haproxy, HAPROXY), (front.bare, BARE))
    beside = [Beside(front.load(server, who, asked, _passes, connections=1)) for server, who in servers]
    ours = front.load(front.service, OURS, asked, _passes, connections=1)
    title = "user_data of 2 kB, passed through, one connection"
    row = measure(Row(title, ours, beside), front.setting.stage, rounds=ROUNDS)
    return replace(of_row(HEADING, row), text=_added_text(row), verdicts=[_added_verdict(row)])


def _added_verdict(row: Measured) -> Verdict:
    straight, nginx, *_ = row.beside
    work = f"{row.row.title}, p50 added beyond what nginx adds"
    if straight.failure or nginx.failure or row.ours.failure:
        return at_most(work, ADDED_MS, None, " ms")
    return at_most(work, ADDED_MS, max(0.0, row.ours.p50_ms - nginx.p50_ms), " ms", doubt=row.ours.doubt)


def _added_text(row: Measured) -> str:
    straight = row.beside[0]
    lines = []
    for line in row.lines:
        if line.failure or straight.failure:
            lines.append([line.who, f"**failed**: {line.failure or straight.failure}", "", "", ""])
        else:
            added = "" if line is straight else f"{line.p50_ms - straight.p50_ms:.3f}"
            lines.append([line.who, f"{line.p50_ms:.3f}", added, f"{line.p99_ms:.3f}", f"{line.cpu_us:.1f}"])
    titles = ("", "p50 ms", "p50 added ms", "p99 ms", "CPU µs each")
    return f"### {row.row.title}\n\n{table(titles, lines, 'lrrrr')}"


def _passes(reply: Reply) -> None:
    if reply.status != 200 or len(reply.body) != USER_DATA_BYTES:
        raise AnswerWrong(f"status {reply.status}, {len(reply.body)} bytes: {reply.body[:200]!r}")


def document(one: Instance) -> bytes:
    """The `meta_data.json` of an instance with the members and the size (2 kB) that nova's has (nova, base.py)."""
    chance = random.Random(one.number)
    key = f"ssh-rsa {base64.b64encode(chance.randbytes(279)).decode()} owner"
    members = {
        "uuid": one.uuid,
        "meta": {"role": "member"},
        "public_keys": {"owner-key": key},
        "keys": [{"name": "owner-key", "type": "ssh", "data": key}],
        "hostname": f"instance-{one.number}.novalocal",
        "name": f"instance-{one.number}",
        "launch_index": 0,
        "availability_zone": "nova",
        "random_seed": base64.b64encode(chance.randbytes(512)).decode(),
        "project_id": one.project,
        "devices": [],
        "dedicated_cpus": [],
    }
    return json.dumps(members).encode()
