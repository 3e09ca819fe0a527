# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""One DEBUG line for each request, whoever answered it."""

import logging
import re
from typing import NoReturn

import pytest

from peerdata.store import entries

from .conftest import ALICE, Cloud
from .conversation import Guest

REQUEST = re.compile(
    r"(?P<method>\S+) (?P<path>\S+) (?P<status>\d+), (?P<ms>\d+\.\d) ms, instance (?P<instance>\S+), "
    r"(?P<id>req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "peerdata.requests")
    return caplog


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str, str]]:
    found = [record.getMessage() for record in caplog.records if record.name == "peerdata.requests"]
    matches = [REQUEST.fullmatch(line) for line in found]
    assert all(matches), found
    return [(match["method"], match["path"], match["status"], match["instance"]) for match in matches if match]


async def test_each_request_has_one_line_without_its_values(
    alice: Guest, stranger: Guest, debug: pytest.LogCaptureFixture
) -> None:
    await alice.publish("a=s3cret", shared=True)
    await alice.publish("a=other", shared=True)
    await alice.get("shared.json")
    await alice.get("shared.json")  # which is answered at once
    await alice.ask("GET", "/openstack")
    await alice.ask("GET", "/openstack/latest/x%0ay?x=s3cret")
    await stranger.get("shared.json")
    metadata, shared = "/openstack/latest/metadata", "/openstack/latest/shared.json"
    assert lines(debug) == [
        ("POST", metadata, "200", ALICE),
        ("POST", metadata, "409", ALICE),
        ("GET", shared, "200", ALICE),
        ("GET", shared, "200", ALICE),
        ("GET", "/openstack", "200", ALICE),
        ("GET", "/openstack/latest/x�y", "404", ALICE),
        ("GET", shared, "404", "-"),
    ]
    assert "s3cret" not in debug.text


async def test_no_two_requests_have_the_same_id(alice: Guest, debug: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        await alice.get("shared.json")
    assert len({record.getMessage().rpartition(" ")[2] for record in debug.records}) == 10


async def test_a_defect_has_the_same_id_in_both_of_its_lines_and_in_the_answer(
    alice: Guest, debug: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> NoReturn:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(entries, "_read_entries", break_down)
        heard = await alice.publish("a=1")
    request_id = heard.error["request_id"]
    told = [record.levelname for record in debug.records if request_id in record.getMessage()]
    assert told == ["ERROR", "DEBUG"]


async def test_what_is_passed_on_names_the_instance_that_the_agent_has_signed(
    behind_nova: Cloud, debug: pytest.LogCaptureFixture
) -> None:
    """It is not proven, so nova was not asked for its project; but the signature of its id was checked."""
    alice, forged = behind_nova.guest(ALICE), behind_nova.guest(ALICE)
    await alice.ask("GET", "/openstack/latest/user_data")
    del behind_nova.nova.servers[ALICE]
    await alice.ask("GET", "/openstack/latest/meta_data.json")
    forged.headers = [(name, b"0" * 64 if b"signature" in name.lower() else value) for name, value in forged.headers]
    await forged.ask("GET", "/openstack/latest/shared.json")
    assert [(status, instance) for _, _, status, instance in lines(debug)] == [
        ("200", ALICE),
        ("404", ALICE),
        ("403", "-"),
    ]


async def test_without_debug_there_is_no_line(alice: Guest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await alice.get("shared.json")
    assert lines(caplog) == []
