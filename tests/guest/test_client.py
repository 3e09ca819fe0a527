"""Calls are repeated until they are answered; with a fake clock, so that the tests take no time."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from peerdata.guest import client, wire
from peerdata.guest.errors import Misused, NoService, NotReached, Refused

PAGE = b"<html>409 Conflict</html>"

Scripted = "wire.Answer | Exception"


class Wire:
    """Scripted answers, and a clock that only sleeping advances."""

    def __init__(self, *script: wire.Answer | Exception) -> None:
        self.script = list(script)
        self.asked: list[tuple[str, str, str]] = []
        self.at: list[float] = []
        self.time = 0.0

    def exchange(self, server: wire.Server, method: str, target: str, timeout_s: float) -> wire.Answer:
        self.asked.append((server.host, method, target))
        self.at.append(self.time)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def client(self, url: str = "http://198.51.100.1", notice: Callable[[str], None] = lambda _: None) -> client.Client:
        return client.Client(
            url,
            exchange=self.exchange,
            clock=lambda: self.time,
            sleep=self.sleep,
            chance=lambda: 0.5,
            now=lambda: 1_000_000.0,
            notice=notice,
        )


def answer(status: int, body: object = None) -> wire.Answer:
    return wire.Answer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), "10.0.0.11")


def error(code: str, message: str = "why", **facts: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message, **facts}}


@pytest.mark.parametrize(
    "failure",
    [
        answer(500, error("peerdata.server.error")),
        answer(502, b""),
        answer(503, PAGE),
        answer(504, PAGE),
        answer(429, PAGE),
        answer(408, PAGE),
        answer(200, b'[{"uuid":'),
        answer(200, b""),
        wire.NotConnected("refused"),
        NotReached("cut"),
    ],
    ids=repr,
)
def test_a_transient_failure_is_repeated(failure: wire.Answer | Exception) -> None:
    notices: list[str] = []
    wires = Wire(failure, failure, answer(200, [1]))
    assert wires.client(notice=notices.append).ask("GET", "shared.json", deadline=100) == [1]
    assert len(wires.asked) == 3
    assert len(notices) == 2
    assert wires.time > 0


def test_an_unreadable_200_is_repeated_like_a_500() -> None:
    def read(document: object) -> str:
        if document != {"uuid": "0e"}:
            raise NotReached("it is not one")
        return "read"

    wires = Wire(
        answer(200, {}), answer(200), answer(503, PAGE), answer(200, b"[" * 200_000), answer(200, {"uuid": "0e"})
    )
    assert wires.client().ask("GET", "meta_data.json", deadline=100, read=read) == "read"
    with pytest.raises(NotReached, match="it is not one"):
        Wire(*[answer(200, {})] * 3).client().ask("GET", "meta_data.json", deadline=3, read=read)


@pytest.mark.parametrize(
    ("odd", "listing"),
    [
        (answer(401, PAGE), []),
        (answer(403, error("peerdata.identity.signature_invalid")), []),
        (answer(400, error("peerdata.identity.header_missing")), []),
        (answer(404, PAGE), [answer(200, b"meta_data.json")]),
        (answer(404, PAGE), [answer(404, PAGE)]),
        (answer(404, PAGE), [wire.NotConnected("gone")] * 4),
        (answer(404, error("peerdata.identity.unknown")), []),
    ],
    ids=repr,
)
def test_a_call_that_was_answered_before_repeats_refusals_of_the_agent(
    odd: wire.Answer, listing: list[wire.Answer | Exception]
) -> None:
    last_error = [answer(403, PAGE)] if odd.status == 401 else []
    wires = Wire(odd, *last_error, *listing, answer(200, [1]))
    assert wires.client().ask("GET", "peer_data.json", deadline=None, was_answered=True) == [1]


@pytest.mark.parametrize(("status", "code"), [(400, "parameter.unknown"), (403, "quota.keys"), (409, "cluster.taken")])
def test_a_reason_of_the_services_own_is_always_final(status: int, code: str) -> None:
    wires = Wire(answer(status, error(f"peerdata.{code}")))
    with pytest.raises(Refused):
        wires.client().ask("GET", "peer_data.json", deadline=100, was_answered=True)


def test_a_refusal_that_lasts_until_the_deadline_is_reported() -> None:
    with pytest.raises(Refused):
        Wire(*[answer(403, error("peerdata.identity.x"))] * 9).client().ask("GET", "x", deadline=9, was_answered=True)


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_refusal_is_final_and_has_its_reason(status: int) -> None:
    wires = Wire(answer(status, error("peerdata.key.taken", "it is taken")))
    with pytest.raises(Refused, match="it is taken") as caught:
        wires.client().ask("POST", "metadata", [("meta.a", "b")], deadline=100)
    assert (caught.value.status, caught.value.code) == (status, "peerdata.key.taken")
    assert wires.time == 0


def test_a_reason_replaced_by_an_old_agent_is_fetched_again() -> None:
    kept = error(
        "peerdata.key.taken", "it is taken", call="POST /openstack/latest/metadata", time="1970-01-12T13:46:30Z"
    )
    wires = Wire(answer(409, PAGE), answer(200, kept))
    with pytest.raises(Refused, match=r"^it is taken$") as caught:
        wires.client().ask("POST", "metadata", deadline=100)
    assert caught.value.code == "peerdata.key.taken"


@pytest.mark.parametrize(
    "last",
    [
        answer(200, {"error": None}),
        answer(
            200, error("peerdata.key.taken", call="POST /openstack/latest/cluster/x.json", time="1970-01-12T13:46:30Z")
        ),
        answer(503, PAGE),
        wire.NotConnected("gone"),
    ],
)
def test_the_reason_of_another_call_is_not_used(last: wire.Answer | Exception) -> None:
    wires = Wire(answer(409, PAGE), last)
    with pytest.raises(Refused, match="lost on the way") as caught:
        wires.client().ask("POST", "metadata", deadline=100)
    assert caught.value.code == ""


def test_an_old_reason_is_reported_with_its_time() -> None:
    kept = error(
        "peerdata.key.taken", "it is taken", call="POST /openstack/latest/metadata", time="1970-01-11T00:00:00Z"
    )
    with pytest.raises(Refused, match="of 1970-01-11"):
        Wire(answer(409, PAGE), answer(200, kept)).client().ask("POST", "metadata", deadline=100)


def test_a_404_from_plain_nova_is_no_service() -> None:
    wires = Wire(answer(404, PAGE), answer(200, b"meta_data.json\nnetwork_data.json"))
    with pytest.raises(NoService):
        wires.client().ask("GET", "peer_data.json", deadline=100)


def test_a_404_from_an_older_peerdata_is_no_service_for_that_call() -> None:
    wires = Wire(answer(404, PAGE), answer(200, b"meta_data.json\nmetadata\nshared.json"))
    with pytest.raises(NoService, match="too old"):
        wires.client().ask("POST", "cluster/etcd.json", deadline=100)


def test_a_404_from_another_listener_is_not_an_unknown_instance() -> None:
    """For example the operators' listener, which has none of the paths for instances."""
    wires = Wire(*[answer(404, error("peerdata.path.unknown", "here are /healthz, /readyz and /metrics"))] * 2)
    with pytest.raises(NoService, match=r"http://198\.51\.100\.1 is another listener.*/healthz"):
        wires.client().ask("GET", "shared.json", deadline=100)


def test_a_404_from_a_configured_url_names_the_url() -> None:
    with pytest.raises(Refused, match=r"http://198\.51\.100\.1 does not know this instance, or is not a"):
        Wire(answer(404, PAGE), answer(404, PAGE)).client().ask("GET", "shared.json", deadline=100)


def test_a_404_for_an_instance_unknown_to_nova_is_a_refusal() -> None:
    wires = Wire(answer(404, PAGE), answer(200, b"meta_data.json\nmetadata\nshared.json"))
    with pytest.raises(Refused, match="nova does not know"):
        wires.client().ask("POST", "metadata", deadline=100)
    with pytest.raises(Refused, match="unknown"):
        Wire(answer(404, error("peerdata.identity.unknown", "unknown"))).client().ask("GET", "shared.json", deadline=9)


def test_the_error_at_the_deadline_is_the_last_failure() -> None:
    wires = Wire(*[answer(503, error("peerdata.store.unavailable", "the store is unavailable"))] * 50)
    with pytest.raises(NotReached, match="503: the store is unavailable"):
        wires.client().ask("GET", "shared.json", deadline=60)
    assert wires.time <= 60


def test_the_last_attempt_is_at_the_deadline() -> None:
    """However long the pause before it would be: a service that is there in the last second is found."""
    wires = Wire(*[wire.NotConnected("refused")] * 4, answer(200, [1]))
    assert wires.client().ask("GET", "shared.json", deadline=10) == [1]
    assert wires.at == [0, 1, 3, 7, 10]
    wires = Wire(*[wire.NotConnected("refused")] * 5)
    with pytest.raises(NotReached):
        wires.client().ask("GET", "shared.json", deadline=10)
    assert wires.at[-1] == 10


def test_a_timeout_of_zero_is_one_attempt() -> None:
    wires = Wire(wire.NotConnected("refused"))
    with pytest.raises(NotReached):
        wires.client().ask("GET", "shared.json", deadline=0)


def test_at_most_eight_requests_are_sent_in_ten_seconds() -> None:
    wires = Wire(*[answer(200, {})] * 40)
    asking = wires.client(f"http://{wire.V4}")
    for _ in range(40):
        asking.ask("GET", "shared.json", deadline=None)
    for number, at in enumerate(wires.at):
        assert sum(at <= other < at + 10 for other in wires.at[number:]) <= 8


def test_ipv6_is_tried_after_ipv4_and_first_once_it_has_answered() -> None:
    wires = Wire(wire.NotConnected("no route"), answer(200, {}), answer(200, {}))
    asking = wires.client()
    asking.servers = [wire.Server(wire.V4, 80), wire.Server(f"{wire.V6}%eth0", 80)]
    asking.ask("GET", "shared.json", deadline=100)
    asking.ask("GET", "shared.json", deadline=100)
    assert [host for host, _, _ in wires.asked] == [wire.V4, "fe80::a9fe:a9fe%eth0", "fe80::a9fe:a9fe%eth0"]


def test_values_are_percent_encoded() -> None:
    wires = Wire(answer(200, {}))
    wires.client().ask("POST", "metadata", [("meta.a b", "1&x=2#\n?ü+%")], deadline=1)
    assert wires.asked[0][2] == "/openstack/latest/metadata?meta.a%20b=1%26x%3D2%23%0A%3F%C3%BC%2B%25"


def test_a_query_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(Misused):
        Wire().client().ask("POST", "metadata", [("meta.a", "x" * 14_000)], deadline=1)
