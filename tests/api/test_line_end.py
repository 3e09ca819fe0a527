# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""JSON of ours ends its line, nova's documents end as nova's do, and Content-Length counts what is sent."""

import json

import pytest

from peerdata.httpd.messages import GOES_ON, Answer, wire_form

from .conftest import ALICE, Build, Cloud, guest_of
from .conversation import Guest

OURS = [
    ("GET", "shared.json"),
    ("GET", "peer_data.json"),
    ("GET", "peer_data.json?since=0"),
    ("GET", "peer_data.json?prefix=a"),
    ("GET", "peer_data/last_error.json"),
    ("POST", "cluster/db.json?size=3"),
    ("GET", "cluster/db.json"),
    ("POST", "cluster/db/formed?term=1"),
    ("POST", "cluster/db/formed?term=9"),  # errors
    ("GET", "shared.json?x=1"),
    ("POST", "metadata"),
    ("GET", "nothing"),
]


def ends_its_line_once(body: bytes) -> bool:
    return body.endswith(b"\n") and body.count(b"\n") == 1


async def test_every_json_of_ours_ends_in_one_line_feed(alice: Guest) -> None:
    await alice.publish("a=1", shared=True)
    for method, path in OURS:
        heard = await alice.ask(method, f"/openstack/latest/{path}")
        assert ends_its_line_once(heard.body), (path, heard)
        json.loads(heard.body)


async def test_so_do_the_answers_to_operators_and_balancers(build: Build) -> None:
    parts = await build(instance_api={"healthcheck_path": "/healthcheck"})
    operator = Guest(parts.operators, "")
    for path in ("/healthz", "/readyz", "/nothing"):
        assert ends_its_line_once((await operator.ask("GET", path)).body)
    assert ends_its_line_once((await guest_of(parts, ALICE).ask("GET", "/healthcheck")).body)
    parts.health.stopping = True
    assert ends_its_line_once((await operator.ask("GET", "/healthz")).body)


async def test_a_metadata_document_ends_as_nova_s_does_with_and_without_keys_of_ours(behind_nova: Cloud) -> None:
    alice = behind_nova.alice
    without = await alice.get("meta_data.json")
    published = await alice.publish("a=1")
    merged = await alice.get("meta_data.json")
    assert not any(heard.body.endswith(b"\n") for heard in (without, published, merged))


async def test_a_long_list_shares_its_text_and_ends_its_line_too(build: Build) -> None:
    parts = await build(limits={"max_keys_per_instance": 200, "max_keys_per_project": 1000})
    alice = guest_of(parts, ALICE)
    for number in range(160):
        await alice.publish(f"k{number}={'v' * 250}", shared=True)
    for path in ("shared.json", "peer_data.json"):
        heard = await alice.get(path)
        assert len(heard.body) > 32_768
        assert ends_its_line_once(heard.body)
        assert len(heard.json if path == "shared.json" else heard.json["peers"]) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_length_counts_the_line_feed(method: str) -> None:
    for body in (b"[]\n", (b"[", b"]\n"), b"[" + b" " * 40_000 + b"]\n"):
        sent = wire_form(Answer(200, body), method, b"", GOES_ON)
        whole = sent if isinstance(sent, bytes) else b"".join(sent)
        head, _, rest = whole.partition(b"\r\n\r\n")
        length = len(body) if isinstance(body, bytes) else sum(map(len, body))
        assert b"content-length: %d" % length in head
        assert len(rest) == (length if method == "GET" else 0)
