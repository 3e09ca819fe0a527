"""The way to nova: who is held, who joins whom, who goes first, and what an operator is told when it fails."""

import asyncio
import errno
import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NoReturn

import pytest
from prometheus_client import REGISTRY

from peerdata.api import passthrough
from peerdata.upstream import nova as way
from peerdata.upstream.connections import Connection
from peerdata.upstream.nova import MAX_WAITERS
from peerdata.upstream.queue import QUESTION_BYTES

from .conftest import ALICE, ZOE, Cloud
from .conversation import Guest, Heard
from .fake_nova import FakeNova, Seen

PATIENCE_S = 10.0


class Gate:
    """A nova that takes requests and answers each when it is let through; `asked` says for what it was asked."""

    def __init__(self, nova: FakeNova) -> None:
        self.asked: list[tuple[bytes, bytes]] = []
        self._open = asyncio.Event()
        self._answer = nova.mood
        nova.mood = self._hold

    async def _hold(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        self.asked.append((seen.header(b"x-tenant-id") or b"", seen.target.rpartition(b"/")[2]))
        await self._open.wait()
        await self._answer(seen, writer)

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.asked) < times:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)

    def open(self) -> None:
        """Let all through, from now on."""
        self._open.set()


@pytest.fixture
def gate(behind_nova: Cloud) -> Gate:
    return Gate(behind_nova.nova)


async def through(cloud: Cloud, uuid: str = ALICE, **nova: object) -> Guest:
    """An instance behind a service with these settings of ``[nova]``."""
    return cloud.guest(uuid, await cloud.rebuild(nova=nova))


def begin(heard: Awaitable[Heard]) -> "asyncio.Future[Heard]":
    return asyncio.ensure_future(heard)


async def all_of(*heard: Awaitable[Heard]) -> list[Heard]:
    return await asyncio.wait_for(asyncio.gather(*heard), PATIENCE_S)


async def settle() -> None:
    """Let everything that was begun come as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0.001)


# Time


def answer_after(nova: FakeNova, seconds: float) -> None:
    answer = nova.mood

    async def mood(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await answer(seen, writer)

    nova.mood = mood


async def test_what_is_slow_in_nova_arrives_when_it_is_passed_on_and_our_own_questions_do_not_wait(
    behind_nova: Cloud,
) -> None:
    """Dynamic vendordata may take nova 12 s."""
    answer_after(behind_nova.nova, 0.8)
    alice = await through(behind_nova, timeout=0.2, pass_through_timeout=PATIENCE_S)
    passed_on, own = await all_of(alice.get("user_data"), alice.publish("a=1"))
    assert (passed_on.status, passed_on.body) == (200, bytes(range(256)))
    assert (own.status, own.code) == (504, "upstream.silent")


async def test_time_is_counted_from_sending_and_not_from_queueing(behind_nova: Cloud) -> None:
    answer_after(behind_nova.nova, 0.3)
    alice = await through(behind_nova, max_connections=1, timeout=0.8, pass_through_timeout=0.8)
    heard = await all_of(*(alice.get("user_data", f"n={number}") for number in range(4)), alice.publish("a=1"))
    assert [one.status for one in heard] == [200] * 5


async def test_who_has_queued_too_long_is_a_504_and_nova_is_not_asked(behind_nova: Cloud, gate: Gate) -> None:
    alice = await through(behind_nova, max_connections=1, queue_timeout=0.3)
    first = begin(alice.get("user_data"))
    await gate.until_asked(1)
    late = await asyncio.wait_for(alice.get("vendor_data.json"), PATIENCE_S)
    assert (late.status, late.code) == (504, "upstream.silent")
    assert len(gate.asked) == 1
    gate.open()
    assert (await first).status == 200


async def test_a_storm_is_held_and_not_refused(behind_nova: Cloud, gate: Gate) -> None:
    """Cloud-init repeats a call that timed out, and takes a 503 for the last word."""
    alice = await through(behind_nova, max_connections=4)
    storm = [begin(alice.get("user_data", f"n={number}")) for number in range(500)]
    await gate.until_asked(3)
    await settle()
    assert len(gate.asked) == 3, "three quarters of what nova may be asked at once"
    gate.open()
    assert {one.status for one in await all_of(*storm)} == {200}


# One question for the same request


async def test_a_repeated_read_joins_the_one_that_is_under_way_or_waits(behind_nova: Cloud, gate: Gate) -> None:
    alice = await through(behind_nova, max_connections=1)
    same = [begin(alice.get("user_data")) for _ in range(50)]
    await gate.until_asked(1)
    same += [begin(alice.get("vendor_data.json")) for _ in range(50)]
    await settle()
    gate.open()
    heard = await all_of(*same)
    assert [one.status for one in heard] == [200] * 50 + [404] * 50
    assert [path for _, path in gate.asked] == [b"user_data", b"vendor_data.json"]


async def test_who_joined_a_question_that_nova_lost_is_not_given_up_with_it(behind_nova: Cloud, gate: Gate) -> None:
    """A guest repeats a call that timed out, and would take a 504 right after that for the last word."""
    alice = await through(behind_nova, pass_through_timeout=0.6)
    first = begin(alice.get("user_data"))
    await gate.until_asked(1)
    await asyncio.sleep(0.3)
    repeated = begin(alice.get("user_data"))
    assert (await asyncio.wait_for(first, PATIENCE_S)).status == 504
    await gate.until_asked(2)
    gate.open()
    assert (await asyncio.wait_for(repeated, PATIENCE_S)).status == 200


async def test_who_joined_a_question_that_nova_lost_waits_no_longer_than_its_own_limit(
    behind_nova: Cloud, gate: Gate
) -> None:
    alice = await through(behind_nova, pass_through_timeout=2.0)
    first = begin(alice.get("user_data"))
    await gate.until_asked(1)
    await asyncio.sleep(0.2)
    began = asyncio.get_running_loop().time()
    repeated = begin(alice.get("user_data"))
    assert (await asyncio.wait_for(first, PATIENCE_S)).status == 504
    assert (await asyncio.wait_for(repeated, PATIENCE_S)).status == 504
    assert asyncio.get_running_loop().time() - began < 3.4, "its own 2 s and the clock's steps, not 1.8 s and 2 more"


async def test_a_flood_of_one_request_is_bounded(behind_nova: Cloud, gate: Gate) -> None:
    """Each that joins holds its request and its connection; a guest repeats a call, and no more."""
    heard = [begin(behind_nova.alice.get("user_data")) for _ in range(MAX_WAITERS + 10)]
    await settle()
    gate.open()
    statuses = Counter(one.status for one in await all_of(*heard))
    assert statuses == {200: MAX_WAITERS, 503: 10}


async def test_nothing_else_joins(behind_nova: Cloud, gate: Gate) -> None:
    alice, bob = behind_nova.alice, behind_nova.bob
    odd = replace(alice, headers=[*alice.headers, (b"accept", b"x")])
    asked = [
        alice.get("user_data"),
        bob.get("user_data"),
        odd.get("user_data"),
        alice.ask("HEAD", "/openstack/latest/user_data"),
        alice.ask("GET", "/openstack/latest/user_data?x"),
        alice.ask("GET", "/openstack/latest/user_data", b"body"),
        alice.ask("POST", "/openstack/latest/user_data", b"body"),
        alice.ask("POST", "/openstack/latest/user_data", b"body"),
    ]
    heard = [begin(one) for one in asked]
    await gate.until_asked(len(asked))
    gate.open()
    assert {one.status for one in await all_of(*heard)} == {200}


async def test_a_read_after_a_change_does_not_join_a_read_before_it(behind_nova: Cloud, gate: Gate) -> None:
    alice = behind_nova.alice
    before = begin(alice.get("password"))
    await gate.until_asked(1)
    change = begin(alice.ask("POST", "/openstack/latest/password", b"x"))
    await gate.until_asked(2)
    after = begin(alice.get("password"))
    await gate.until_asked(3)
    gate.open()
    await all_of(before, change, after)


async def test_who_goes_away_takes_nothing_from_those_who_joined(behind_nova: Cloud, gate: Gate) -> None:
    alice = behind_nova.alice
    first, second = begin(alice.get("user_data")), begin(alice.get("user_data"))
    own = [begin(alice.get("meta_data.json")) for _ in range(2)]
    await gate.until_asked(2)
    for leaving in (first, own[0]):
        leaving.cancel()
    await settle()
    gate.open()
    assert [one.status for one in await all_of(second, own[1])] == [200, 200]


# Fairness, and memory


async def test_a_flood_of_one_project_does_not_keep_another_waiting(behind_nova: Cloud, gate: Gate) -> None:
    alice = await through(behind_nova, max_connections=1)
    zoe = replace(alice, uuid=ZOE, headers=behind_nova.zoe.headers)
    flood = [begin(alice.get("user_data", f"n={number}")) for number in range(30)]
    await gate.until_asked(1)
    await settle()
    quiet = begin(zoe.get("user_data"))
    await settle()
    gate.open()
    await all_of(quiet, *flood)
    assert [project for project, _ in gate.asked].index(b"green") <= 2


async def test_beyond_the_bound_in_bytes_the_flood_is_refused_and_nobody_else(behind_nova: Cloud, gate: Gate) -> None:
    room_for_ten = 10 * (QUESTION_BYTES + 600)
    alice = await through(behind_nova, max_connections=1, max_queued_bytes=room_for_ten)
    zoe = replace(alice, uuid=ZOE, headers=behind_nova.zoe.headers)
    flood = [begin(alice.get("user_data", f"n={number}")) for number in range(30)]
    await settle()
    refused = [one for one in flood if one.done()]
    assert 18 <= len(refused) <= 20
    assert {(one.result().status, one.result().code) for one in refused} == {(503, "server.busy")}
    quiet = begin(zoe.get("user_data"))
    await settle()
    gate.open()
    assert (await quiet).status == 200
    heard = await all_of(*flood)
    assert {one.status for one in heard} == {200, 503}


async def test_readiness_does_not_stand_in_line(behind_nova: Cloud) -> None:
    nova, answer = behind_nova.nova, behind_nova.nova.mood

    async def mood(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.target != b"/":
            await asyncio.Event().wait()
        await answer(seen, writer)

    nova.mood = mood
    parts = await behind_nova.rebuild(nova={"max_connections": 1})
    stuck = [begin(behind_nova.guest(ALICE, parts).get("user_data", f"n={number}")) for number in range(3)]
    await nova.asked.wait()
    assert (await Guest(parts.operators, "").ask("GET", "/readyz")).json["nova"] is True
    assert not any(one.done() for one in stuck)
    for one in stuck:
        one.cancel()


# What an operator is told


async def test_a_failure_names_instance_path_number_and_upstream(
    behind_nova: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    await behind_nova.nova.close()
    assert (await behind_nova.alice.ask("GET", "/openstack/latest/user_data?secret")).status == 502
    (line,) = caplog.messages
    for part in ("ECONNREFUSED", ALICE, "GET /openstack/latest/user_data", behind_nova.nova.url):
        assert part in line
    assert "secret" not in line


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EADDRNOTAVAIL, errno.EHOSTUNREACH])
async def test_a_host_that_has_run_out_of_something_is_a_502_that_says_of_what(
    behind_nova: Cloud, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async def create_connection(*_args: object, **_kwargs: object) -> NoReturn:
        raise OSError(number, "no more")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
    heard = await behind_nova.alice.get("user_data")
    assert (heard.status, heard.code) == (502, "upstream.failed")
    assert f"{errno.errorcode[number]}: no more" in caplog.text


async def test_a_nova_that_is_down_does_not_fill_the_log(behind_nova: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    await behind_nova.nova.close()
    await all_of(*(behind_nova.alice.get("user_data", f"n={number}") for number in range(300)))
    await asyncio.sleep(2.2)
    assert 2 <= len(caplog.messages) <= 6
    repeats = [int(line.split()[0]) for line in caplog.messages if "more like it" in line]
    assert sum(repeats) + len(caplog.messages) - len(repeats) == 300


async def test_a_target_cannot_write_lines_of_its_own_into_the_log(
    behind_nova: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    await behind_nova.nova.close()
    odd = replace(behind_nova.alice, headers=[(b"x-instance-id", b"a\xc2\x85b\x1b[31m\xff")])
    await odd.ask("GET", b"/a\x1b[31m%0A\xc2\x85")
    assert all(line.isprintable() for line in caplog.messages)


def gauge(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_the_metrics_tell_how_many_wait_and_for_how_long(behind_nova: Cloud, gate: Gate) -> None:
    alice = await through(behind_nova, max_connections=1, queue_timeout=8.0)
    waiting = [begin(alice.get("user_data", f"n={number}")) for number in range(5)]

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)

    await until(lambda: gauge("peerdata_nova_waiting") == 4 and gauge("peerdata_nova_waiting_seconds") > 0.5)
    gate.open()
    await all_of(*waiting)
    await until(lambda: gauge("peerdata_nova_waiting") == 0 and gauge("peerdata_nova_waiting_seconds") == 0)


async def test_the_time_with_nova_is_counted_by_status(behind_nova: Cloud) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("peerdata_upstream_seconds_count", {"outcome": "404"}) or 0.0

    before = count()
    await behind_nova.alice.get("nothing")
    assert count() == before + 1


# Defects, and what is left behind


def break_down(*_args: object, **_kwargs: object) -> NoReturn:
    raise ZeroDivisionError("between us")


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (passthrough, "_as_answer"),
        (Connection, "_finish"),
        (Connection, "on_header"),
        (Connection, "on_headers_complete"),
        (way, "write_request"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_defect_on_the_way_is_a_500_with_a_request_id(
    behind_nova: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: object, what: str
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(where, what, break_down)
        heard = await asyncio.wait_for(behind_nova.alice.get("user_data"), PATIENCE_S)
    assert (heard.status, heard.code) == (500, "server.error")
    assert heard.error["request_id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert (await behind_nova.alice.get("user_data")).status == 200


async def test_what_is_passed_on_costs_no_task_and_leaves_nothing_for_the_collector(behind_nova: Cloud) -> None:
    alice = behind_nova.alice
    await alice.get("user_data")
    tasks = len(asyncio.all_tasks())
    gc.collect()
    gc.disable()
    try:
        for number in range(100):
            await alice.get("user_data", f"n={number}")
        left = gc.collect()
    finally:
        gc.enable()
    assert len(asyncio.all_tasks()) == tasks
    assert left < 100


async def test_the_service_ends_while_nova_is_asked(behind_nova: Cloud, gate: Gate) -> None:
    alice = await through(behind_nova, max_connections=1)
    under_way = begin(alice.get("user_data"))
    await gate.until_asked(1)
    waits = begin(alice.get("vendor_data.json"))
    await settle()
    logging.getLogger("peerdata").info("closing")
    await alice.service._behind._nova.close()  # type: ignore[attr-defined]
    assert [one.status for one in await all_of(under_way, waits)] == [502, 503]
