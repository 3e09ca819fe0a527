# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What is measured: each row one kind of work, ours beside those that a reader knows.

A further peer (etcd, Redis) is one more `Load` in `Row.beside`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from bench.bed import SECRET, Bed, callers
from bench.crowd import META_DATA, PEER_DATA, SHARED, VENDOR_DATA, Instance
from bench.exchange import AnswerWrong, Check, Reply, ask, equals, holds, request
from bench.load import Guests, Load, Wrk, in_rounds
from bench.rounds import Row

READ_SIZES = (10, 100, 1_000)

OURS = "peerdata"
FILE = "nginx, these bytes as a file"
NOVA = "nova's own meta_data.json"


class Rows:
    """
    Makes the rows on a bed.

    Args:
        seconds: Of one round of a read.
    """

    def __init__(self, bed: Bed, *, seconds: int) -> None:
        self._bed = bed
        self._seconds = seconds

    def make(self) -> Iterable[Row]:
        """One after the other; each is to be measured before the next is made."""
        for peers in READ_SIZES:
            yield self.shared(peers)
        yield self.poll(100)
        yield self.publish_standalone()
        yield self.publish_before_nova()
        yield self.meta_data(callers(self._bed.sized[100][0]), "with keys of the instance merged in")
        yield self.meta_data(self._bed.silent, "of an instance without keys, untouched")
        yield self.pass_through()

    def shared(self, peers: int) -> Row:
        """`shared.json` in a project of that many."""
        project = self._bed.sized[peers][0]
        asked = self._signed(SHARED, callers(project))
        reply = ask(self._bed.service.port, asked[0])
        project.check_shared(reply)
        title = f"shared.json, {peers} peers, {len(reply.body) / 1000:.1f} kB"
        return Row(
            title,
            self._service(asked, equals(reply.body)),
            [
                self._file(f"shared-{peers}.json", reply.body, callers(project)),
                self._nova(META_DATA, callers(project), NOVA),
            ],
        )

    def poll(self, peers: int) -> Row:
        """`peer_data.json?since=` with nothing new."""
        instances = callers(self._bed.sized[peers][0])
        target = f"{PEER_DATA}?since={self.revision(instances[0])}"
        asked = self._signed(target, instances)
        reply = ask(self._bed.service.port, asked[0])
        check_quiet(reply)
        title = f"peer_data.json?since= with nothing new, {peers} peers, {len(reply.body)} bytes"
        return Row(title, self._service(asked, check_quiet), [self._file("poll.json", reply.body, instances)])

    def publish_standalone(self) -> Row:
        """Two new keys, durable; the first call of each instance."""
        batches = ([one.publishes(one.forwarded()) for one in instances] for instances in self._bed.booting)
        service = self._bed.standalone
        ours = Guests(
            who=f"{OURS}, stand-alone", server=service.name, port=service.port, rounds=batches, check=_published
        )
        published = self._bed.sized[100][0].instances[0]
        answer = ask(service.port, request("GET", META_DATA, published.forwarded()))
        return Row(
            "POST of two new keys, on the disk when answered with the whole document",
            ours,
            [self._file("published.json", answer.body, [published]), self._nova(META_DATA, self._bed.silent, NOVA)],
        )

    def publish_before_nova(self) -> Row:
        """The same in front of nova, which is asked for the document of each call."""
        known, service = self._bed.known, self._bed.service

        def batch(number: int) -> Sequence[bytes]:
            return [one.publishes(one.signed(SECRET), suffix=f"_{number}_{turn}") for turn in (1, 2) for one in known]

        ours = Guests(
            who=f"{OURS}, in front of nova",
            server=service.name,
            port=service.port,
            rounds=in_rounds(batch),
            check=_published,
        )
        return Row(
            "POST of two new keys, in front of nova, which is asked for the document of each answer",
            ours,
            [self._nova(META_DATA, known, NOVA)],
        )

    def meta_data(self, instances: Sequence[Instance], which: str) -> Row:
        """`meta_data.json`: what it costs to stand in between."""
        ours = self._service(self._signed(META_DATA, instances), holds(b'"uuid": "'), who=f"{OURS}, in front of nova")
        return Row(f"meta_data.json {which}", ours, [self._nova(META_DATA, instances, NOVA)])

    def pass_through(self) -> Row:
        """What is not ours."""
        instances = self._bed.silent
        asked = self._signed(VENDOR_DATA, instances)
        expected = equals(ask(self._bed.nova.port, asked[0]).body)
        return Row(
            "vendor_data.json, handed to nova and back",
            self._service(asked, expected, who=f"{OURS}, in front of nova"),
            [self._nova(VENDOR_DATA, instances, "nova's own vendor_data.json", expected)],
        )

    def revision(self, instance: Instance) -> int:
        """Of the project of *instance*, in the service in front of nova."""
        reply = ask(self._bed.service.port, request("GET", PEER_DATA, instance.signed(SECRET)))
        holds(b"")(reply)
        return int(json.loads(reply.body)["revision"])

    @staticmethod
    def _signed(target: str, instances: Sequence[Instance]) -> list[bytes]:
        return [request("GET", target, one.signed(SECRET)) for one in instances]

    def _service(self, asked: Sequence[bytes], check: Check, *, who: str = OURS) -> Load:
        service = self._bed.service
        return self._wrk(who=who, server=service.name, port=service.port, asked=asked, check=check)

    def _file(self, name: str, body: bytes, instances: Sequence[Instance]) -> Load:
        """nginx serving *body*, asked with the same headers."""
        nginx = self._bed.nginx
        asked = self._signed(nginx.serve(name, body), instances)
        return self._wrk(who=FILE, server=nginx.name, port=nginx.port, asked=asked, check=equals(body))

    def _nova(self, target: str, instances: Sequence[Instance], who: str, check: Check | None = None) -> Load:
        nova = self._bed.nova
        asked = self._signed(target, instances)
        return self._wrk(
            who=who, server=nova.name, port=nova.port, asked=asked, check=check or holds(b"uuid"), closes=True
        )

    def _wrk(
        self, *, who: str, server: str, port: int, asked: Sequence[bytes], check: Check, closes: bool = False
    ) -> Load:
        return Wrk(
            self._bed.tools,
            self._bed.stage.directory,
            who=who,
            server=server,
            port=port,
            requests=asked,
            check=check,
            seconds=self._seconds,
            closes=closes,
        )


_published: Callable[[Reply], None] = holds(b'"from_server_etcd_addr')


def check_quiet(reply: Reply) -> None:
    """That *reply* is of a poll which has nothing to tell."""
    holds(b"")(reply)
    news = json.loads(reply.body)
    if news["full"] or news["peers"] or news["removed"]:
        raise AnswerWrong("the poll has news")
