"""`meta_data.json` of a caller who is known: no task, no question to the store where nothing was committed."""

import asyncio
import json
from collections.abc import Awaitable, Collection

import pytest
from sqlalchemy import Connection

from peerdata.errors import StoreUnavailable
from peerdata.httpd.messages import Answer, Request
from peerdata.model import Entry, Instance
from peerdata.store import entries

from .conftest import ALICE, BOB, Cloud
from .conversation import Guest
from .fake_nova import Server, answer_bytes

META_DATA = "/openstack/latest/meta_data.json"
A_DATE = "2018-08-27"


class Reads:
    """Counts how often the store was asked for instances' own keys, and may refuse."""

    def __init__(self) -> None:
        self.number = 0
        self.away = False
        self._read = entries.read_instances

    def __call__(self, connection: Connection, instances: Collection[Instance]) -> dict[Instance, dict[str, Entry]]:
        self.number += 1
        if self.away:
            raise StoreUnavailable("the store is away; try again")
        return self._read(connection, instances)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """In the place of the statement."""
    reads = Reads()
    monkeypatch.setattr(entries, "read_instances", reads)
    return reads


def begin(guest: Guest, target: str = META_DATA, method: str = "GET") -> Answer | Awaitable[Answer]:
    """The service's answer, or what it gives who waits for it."""
    return guest.service.respond(Request(method, target.encode(), guest.headers, b"", None, guest.client))


@pytest.mark.parametrize("keys", [False, True])
@pytest.mark.parametrize("version", ["latest", A_DATE])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_it_costs_no_task_and_no_question_to_the_store(
    behind_nova: Cloud, reads: Reads, method: str, version: str, keys: bool
) -> None:
    alice = behind_nova.alice
    if keys:
        await alice.publish("a=1")
    first = await alice.get("meta_data.json", version=version)
    number, tasks = reads.number, asyncio.all_tasks()
    begun = begin(alice, f"/openstack/{version}/meta_data.json", method)
    assert isinstance(begun, asyncio.Future)
    assert not isinstance(begun, asyncio.Task)
    of_ours = {task for task in asyncio.all_tasks() - tasks if "peerdata" in repr(task)}
    assert of_ours == set()
    answer = await begun
    assert (answer.status, answer.body) == (200, first.body)
    assert reads.number == number
    assert json.loads(first.body).get("meta", {}) == ({"from_server_a": "1"} if keys else {})


async def test_whatever_anybody_publishes_is_in_the_next_read(behind_nova: Cloud, reads: Reads) -> None:
    """G3: through any server, shared or not, and where another instance commits the answer stays right."""
    alice, elsewhere = behind_nova.alice, behind_nova.guest(ALICE, await behind_nova.rebuild())
    await alice.get("meta_data.json")
    expected: dict[str, str] = {}
    for number, (who, shared) in enumerate([(alice, False), (elsewhere, False), (elsewhere, True), (alice, True)]):
        assert (await who.publish(f"k{number}=1", shared=shared)).status == 200
        expected[f"from_server_k{number}"] = "1"
        for reader in (alice, elsewhere):
            assert (await reader.get("meta_data.json")).meta == expected
    await behind_nova.bob.publish("b=1")
    number = reads.number
    assert (await alice.get("meta_data.json")).meta == expected
    assert reads.number == number + 1


@pytest.mark.parametrize("version", ["latest", A_DATE])
async def test_the_document_of_another_is_a_502_that_is_kept(behind_nova: Cloud, version: str) -> None:
    alice = behind_nova.alice
    await behind_nova.bob.publish("secret=1")
    await alice.get("meta_data.json", version=version)
    for wrong in (behind_nova.nova.servers[BOB], Server(ALICE, "green", "")):
        document = json.dumps(wrong.document(version)).encode()
        behind_nova.nova.say_to(b"meta_data.json", answer_bytes(200, document))
        heard = await alice.get("meta_data.json", version=version)
        assert (heard.status, heard.code) == (502, "upstream.failed")
        assert b"secret" not in heard.body
    kept = await alice.last_error()
    assert (kept["code"], kept["call"]) == ("peerdata.upstream.failed", f"GET /openstack/{version}/meta_data.json")


@pytest.mark.parametrize("said", ["{", "[]", '{"uuid": 1}', f'{{"uuid": "{ALICE}", "meta": {{"a": 1}}}}'])
async def test_a_200_without_a_document_is_a_502(behind_nova: Cloud, said: str) -> None:
    await behind_nova.alice.get("meta_data.json")
    behind_nova.nova.say_to(b"meta_data.json", answer_bytes(200, said.encode()))
    heard = await behind_nova.alice.get("meta_data.json")
    assert (heard.status, heard.code) == (502, "upstream.failed")


async def test_several_who_share_a_failure_are_each_told(behind_nova: Cloud) -> None:
    alice = behind_nova.alice
    await alice.get("meta_data.json")
    behind_nova.nova.say_bytes(b"nonsense\r\n\r\n")
    heard = await asyncio.gather(*(alice.get("meta_data.json") for _ in range(3)))
    assert [(one.status, one.code) for one in heard] == [(502, "upstream.failed")] * 3


async def test_five_who_ask_at_once_share_a_question(behind_nova: Cloud) -> None:
    alice = behind_nova.alice
    await alice.get("meta_data.json")
    behind_nova.nova.seen.clear()
    heard = await asyncio.gather(*(alice.get("meta_data.json") for _ in range(5)))
    assert [one.status for one in heard] == [200] * 5
    assert len(behind_nova.nova.seen) == 1


async def test_without_the_store_it_is_a_503_and_right_again_afterwards(behind_nova: Cloud, reads: Reads) -> None:
    """Never nova's document alone: keys that were answered 200 would be missing (G3)."""
    alice = behind_nova.alice
    await alice.publish("a=1")
    reads.away = True
    heard = await alice.get("meta_data.json")
    assert (heard.status, heard.code) == (503, "store.unavailable")
    reads.away = False
    assert (await alice.get("meta_data.json")).meta == {"from_server_a": "1"}


async def test_a_defect_is_a_500_and_ends_nothing(behind_nova: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = behind_nova.alice
    await alice.get("meta_data.json")

    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr("peerdata.identity.proofs.document_in", broken)
        heard = await asyncio.gather(*(alice.get("meta_data.json") for _ in range(2)))
        assert [one.status for one in heard] == [500, 500]
    assert (await alice.get("meta_data.json")).status == 200


async def test_a_caller_who_left_takes_nothing_from_the_others(behind_nova: Cloud) -> None:
    alice = behind_nova.alice
    await alice.get("meta_data.json")
    leaves, stays = (begin(alice) for _ in range(2))
    assert isinstance(leaves, asyncio.Future)
    assert isinstance(stays, asyncio.Future)
    leaves.cancel()
    assert (await stays).status == 200


async def test_once_nova_knows_the_caller_no_more_it_is_unknown_here_too(behind_nova: Cloud) -> None:
    alice = behind_nova.alice
    await alice.publish("a=1", shared=True)
    await alice.get("meta_data.json")
    del behind_nova.nova.servers[ALICE]
    assert (await alice.get("meta_data.json")).status == 404  # nova's own
    assert (await alice.get("shared.json")).code == "identity.unknown"
