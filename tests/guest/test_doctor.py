"""The findings of the doctor and their advice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from peerdata import testing
from peerdata.guest import doctor, wire

from .conftest import Run


def answer(status: int, body: object = b"", **headers: str) -> wire.Answer:
    return wire.Answer(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode(), "10.0.0.11")


def refusal(code: str, **facts: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "why", **facts}}


def test_a_good_setup_has_only_good_findings(cloud: testing.Cloud, run: Run) -> None:
    done = run(cloud.instance(), "doctor")
    assert done.returncode == 0, done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if "identity" not in line] == ["ok"] * 6
    assert cloud.bodies == 1, "the one that is to be refused"


def test_the_doctor_notes_an_old_agent(run: Run) -> None:
    with testing.Cloud(old_agent=True) as cloud:
        done = run(cloud.instance(), "doctor")
    assert done.returncode == 0
    assert "note  reasons:" in done.stdout
    assert "ok    body: a body that is sent after the headers arrives" in done.stdout


def test_plain_nova_sends_to_the_operator(run: Run) -> None:
    with testing.Cloud(without_peerdata=True) as cloud:
        done = run(cloud.instance(), "doctor")
    assert done.returncode == 1
    assert "do: ask the operator" in done.stdout


def refuse(server: wire.Server, *_: object) -> wire.Answer:
    raise wire.NotConnected(f"{server} cannot be reached: network is unreachable")


def test_a_missing_route_has_advice() -> None:
    finding = list(doctor.examine({}, ask=refuse))[-1]
    assert (finding.level, "ip route get" in finding.advice) == ("wrong", True)


def test_the_advice_names_a_configured_address(cloud: testing.Cloud, run: Run, environment: dict[str, str]) -> None:
    done = run("http://127.0.0.1:1", "doctor")
    assert done.returncode == 1
    assert "do: PEERDATA_URL=http://127.0.0.1:1 is set: correct it, or unset it" in done.stdout
    environment["PEERDATA_SOURCE"] = "192.0.2.99"
    done = run(cloud.instance(), "doctor")
    assert "cannot assign requested address" in done.stdout
    assert "PEERDATA_SOURCE=192.0.2.99 are set: correct them, or unset them" in done.stdout
    assert "ip route get" not in done.stdout


@pytest.mark.parametrize(
    "page",
    [
        answer(200, b"\n<!DOCTYPE html><title>Log in</title>"),
        answer(200, b"<HTML>"),
        wire.Answer(302, {"content-type": "text/html; charset=utf-8"}, b"", "10.0.0.11"),
    ],
)
def test_a_page_for_a_browser_is_not_a_metadata_service(page: wire.Answer) -> None:
    found = doctor.check_service(page)
    assert (found.level, found.message) == (
        "wrong",
        "an HTML page (a login page or another web server), not a metadata service",
    )
    assert "is set" in doctor.check_service(page, doctor.set_by_hand({"PEERDATA_URL": "http://x"})).advice
    assert "does not know this instance" in doctor.check_service(answer(404, b"<html>")).message, "the agent's own page"


def test_another_listener_differs_from_an_unknown_instance() -> None:
    found = doctor.check_service(answer(404, refusal("peerdata.path.unknown")))
    assert "another listener" in found.message
    found = doctor.check_service(answer(404, refusal("peerdata.identity.unknown")))
    assert found.message == "it does not know this instance (404): why"


@pytest.mark.parametrize("url", ["ftp://x", "http://x:\u00b2", "http://\u00fcx", "http://x/\u00fc"])
def test_an_invalid_url_is_a_finding(run: Run, url: str) -> None:
    done = run(url, "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert "correct or unset PEERDATA_URL" in done.stdout


def test_a_timeout_of_zero_still_waits_for_each_answer(cloud: testing.Cloud, run: Run) -> None:
    done = run(cloud.instance(), "doctor", "--timeout", "0")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({}, "ok"),
        ({"http_proxy": "http://proxy:3128"}, "note"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "localhost, 169.254.169.254"}, "ok"),
        ({"ALL_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, "ok"),
        ({"https_proxy": "http://proxy:3128"}, "ok"),
    ],
)
def test_a_proxy_for_the_metadata_address_is_a_note(environment: dict[str, str], level: str) -> None:
    assert doctor.check_proxy(environment, "169.254.169.254").level == level


def test_a_lost_body_is_detected_even_behind_the_page_of_an_old_agent() -> None:
    lost = refusal("peerdata.body.empty")
    assert "gets lost" in doctor.check_body(answer(400, lost), answer(200, lost)).message
    assert "gets lost" in doctor.check_body(answer(400, b"<html>"), answer(200, lost)).message
    assert "unknown: the answer" in doctor.check_body(answer(503), answer(503)).message


def test_different_uuids_from_nova_and_peerdata_are_wrong() -> None:
    same = doctor.check_identity(answer(200, {"uuid": "a"}), answer(200, {"self": "a"}), "")
    assert same.level == "ok"
    assert doctor.check_identity(answer(200, {"uuid": "a"}), answer(200, {"self": "b"}), "").level == "wrong"
    assert doctor.check_identity(answer(200, {"uuid": "a"}), answer(200, {"self": "a"}), "c").level == "note"


@pytest.mark.parametrize(
    ("status", "advice"), [(403, "metadata_proxy_shared_secret"), (404, "deleted"), (503, "try again")]
)
def test_a_refused_identity_has_advice_by_status(status: int, advice: str) -> None:
    finding = doctor.check_identity(answer(status, b"<html>"), answer(200, {"self": "a"}), "")
    assert finding.level == "wrong"
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("now", "level", "way"),
    [(1000.0, "ok", ""), (1005.0, "ok", ""), (900.0, "wrong", "behind"), (1100.0, "wrong", "ahead")],
)
def test_the_clock_is_compared_with_the_time_of_the_refusal(now: float, level: str, way: str) -> None:
    last = answer(200, refusal("peerdata.meta.missing", time="1970-01-01T00:16:40Z"))
    finding = doctor.check_clock(last, last, now, now + 1)
    assert finding.level == level
    assert way in finding.message
