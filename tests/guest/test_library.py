"""The library against the fake service, with a fake clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from peerdata import testing
from peerdata.guest import Guest, Misused, NotReached, NotYet, Refused, Unusable, wire


class Clock:
    """Only sleeping moves it; *meanwhile* happens in the first sleeps."""

    def __init__(self) -> None:
        self.time = 0.0
        self.meanwhile: list[Any] = []

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        if self.meanwhile:
            self.meanwhile.pop(0)()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_guest(clock: Clock, tmp_path: Path) -> Any:
    def make(instance: testing.Instance, state: str = "") -> Guest:
        return Guest(
            instance.url, state=state, min_poll_s=0.01, clock=clock, sleep=clock.sleep, now=lambda: 1_000_000.0
        )

    return make


def test_peers_read_shared_keys_and_only_their_instance_reads_private_ones(
    cloud: testing.Cloud, make_guest: Any
) -> None:
    one, two = make_guest(cloud.instance("one")), make_guest(cloud.instance("two"))
    assert one.publish({"addr": "10.0.0.11", "gro-se": "ü ?&#"}).meta["gro-se"] == "ü ?&#"
    one.publish({"secret": "1"}, private=True)
    (peer,) = two.peers().peers
    assert peer.meta == {"addr": "10.0.0.11", "gro-se": "ü ?&#"}
    assert one.whoami().meta["secret"] == "1"
    assert one.whoami().name == "one"
    assert cloud.bodies == 0


@pytest.mark.parametrize("fault", [500, 503, 504, "cut", "silent", "closed"])
def test_a_publish_whose_answer_is_lost_is_repeated_and_carried_out_once(
    cloud: testing.Cloud, make_guest: Any, fault: int | str
) -> None:
    guest = make_guest(cloud.instance())
    cloud.fail(fault, fault)
    guest.publish({"a": "1"})
    assert guest.peers().revision == 1


@pytest.mark.parametrize("old_agent", [False, True])
def test_a_taken_key_is_refused_with_its_reason_through_every_agent(make_guest: Any, old_agent: bool) -> None:
    with testing.Cloud(old_agent=old_agent) as cloud:
        guest = make_guest(cloud.instance())
        guest._now = guest.client._now = __import__("time").time
        guest.publish({"a": "1"})
        with pytest.raises(Refused, match="already holds another value") as caught:
            guest.publish({"a": "2"})
        assert caught.value.code == "peerdata.key.taken"


def test_a_wait_ends_at_the_number_of_peers(cloud: testing.Cloud, make_guest: Any, clock: Clock) -> None:
    one, two = make_guest(cloud.instance()), make_guest(cloud.instance())
    one.publish({"db_addr": "1"})
    clock.meanwhile = [lambda: one.publish({"other": "x"}), lambda: two.publish({"db_addr": "2"})]
    peers = one.wait(2, "db_", timeout_s=100)
    assert [peer.meta for peer in peers.peers] == [{"db_addr": "1"}, {"db_addr": "2"}]


def test_a_wait_that_times_out_reports_how_many_peers_there_were(
    cloud: testing.Cloud, make_guest: Any, clock: Clock
) -> None:
    guest = make_guest(cloud.instance())
    guest.publish({"a": "1"})
    with pytest.raises(NotYet, match="only 1 of 2 peers after 10 s"):
        guest.wait(2, timeout_s=10)
    assert clock.time == pytest.approx(10)


def test_the_service_decides_how_often_it_is_polled(make_guest: Any, clock: Clock) -> None:
    with testing.Cloud(poll_after_s=4) as cloud:
        with pytest.raises(NotYet):
            make_guest(cloud.instance()).wait(1, timeout_s=39)
        assert len(cloud.requests) == 11  # at 0, 4, ... 36 and 39


@pytest.mark.parametrize("poll_after_s", [0, 1e-9, 0.3, -1, float("nan"), None])
def test_a_service_is_polled_at_most_once_a_second_whatever_it_asks_for(clock: Clock, poll_after_s: Any) -> None:
    asked = poll_times(clock, poll_after_s)
    assert 4 <= len(asked) <= 21


def test_a_test_may_poll_more_often_but_never_more_often_than_it_allows(clock: Clock) -> None:
    asked = poll_times(clock, 0, min_poll_s=0.1)
    assert len(asked) == pytest.approx(201, abs=1)


def poll_times(clock: Clock, poll_after_s: Any, **options: Any) -> list[float]:
    """When a service with that ``poll_after_s`` is polled in 20 s."""
    body = {"revision": 1, "full": True, "self": "0e", "peers": [], "removed": [], "poll_after_s": poll_after_s}
    asked: list[float] = []

    def exchange(*_: Any) -> wire.Answer:
        asked.append(clock.time)
        return wire.Answer(200, {}, json.dumps(body).encode(), "10.0.0.11")

    guest = Guest("http://198.51.100.1", state="", exchange=exchange, clock=clock, sleep=clock.sleep, **options)
    with pytest.raises(NotYet):
        guest.wait(1, timeout_s=20)
    return asked


def test_calls_that_share_a_timeout_end_together(clock: Clock) -> None:
    def exchange(*_: Any) -> wire.Answer:
        raise NotReached("away")

    guest = Guest("http://198.51.100.1", state="", exchange=exchange, clock=clock, sleep=clock.sleep)
    guest.end_within(30)
    for call in (guest.addresses, guest.whoami, lambda: guest.join("db", 3, timeout_s=600)):
        with pytest.raises(NotReached):
            call()
        assert clock.time == pytest.approx(30)


@pytest.mark.parametrize("status", [401, 403, 404, 400])
def test_a_waiting_join_keeps_asking_through_refusals_of_the_agent(
    cloud: testing.Cloud, make_guest: Any, clock: Clock, status: int
) -> None:
    one, two = make_guest(cloud.instance()), make_guest(cloud.instance())
    one.join("db", 2)
    odd = [status, *([] if status == 404 else [403])]  # a page, and no reason in last_error.json either
    clock.meanwhile = [lambda: cloud.fail(*odd), lambda: one.formed("db", 1)]
    assert two.join("db", 2, timeout_s=100).verdict == "join"
    cloud.fail(*odd)
    with pytest.raises(Refused):
        two.join("db", 2, timeout_s=100)


def test_a_follower_receives_each_change_and_removal_and_asks_only_for_news(
    cloud: testing.Cloud, make_guest: Any, clock: Clock
) -> None:
    instance = cloud.instance()
    one, two = make_guest(instance), make_guest(cloud.instance())
    clock.meanwhile = [lambda: one.publish({"a": "1"}), lambda: cloud.fail(503), instance.remove]
    counts = []
    for peers in two.follow():
        counts.append(len(peers.peers))
        if counts == [0, 1, 0]:
            break
    assert "since=" in cloud.requests[-1]


def test_a_follower_yields_nothing_while_the_service_is_unavailable(
    cloud: testing.Cloud, make_guest: Any, clock: Clock
) -> None:
    one = make_guest(cloud.instance())
    one.publish({"a": "1"})
    cloud.fail(*[503] * 7)
    lists = list(one.follow(timeout_s=200))
    assert [len(peers.peers) for peers in lists] == [1]


def test_the_last_good_list_is_kept_on_disk_with_its_time(
    cloud: testing.Cloud, make_guest: Any, tmp_path: Path
) -> None:
    instance = cloud.instance()
    make_guest(instance).publish({"a": "1"})
    assert make_guest(instance, str(tmp_path)).peers().read_at == 0
    again = make_guest(instance, str(tmp_path))
    cloud.fail(*[503] * 50)
    with pytest.raises(NotReached):
        again.peers()
    old = again.last_good()
    assert (old.read_at, [peer.meta for peer in old.peers]) == (1_000_000.0, [{"a": "1"}])
    assert again.last_good("other_") is None
    assert make_guest(cloud.instance(), str(tmp_path)).last_good() is None, "it is of another service"


def test_a_list_kept_by_another_machine_is_ignored(
    cloud: testing.Cloud, make_guest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lay in the image that this instance was started from."""
    instance = cloud.instance()
    make_guest(instance, str(tmp_path)).peers()
    monkeypatch.setattr("peerdata.guest.state._machine", lambda: "another")
    assert make_guest(instance, str(tmp_path)).last_good() is None


def test_one_founder_starts_the_cluster_and_the_others_join_once_it_is_formed(
    cloud: testing.Cloud, make_guest: Any, clock: Clock, tmp_path: Path
) -> None:
    one, two = make_guest(cloud.instance(), str(tmp_path)), make_guest(cloud.instance())
    first = one.join("db", 2, meta={"db_addr": "10.0.0.1"})
    assert (first.verdict, first.term, first.ordinal) == ("bootstrap", 1, 0)
    assert one.join("db", 2).verdict == "bootstrap", "until it is formed"
    assert two.join("db", 2, until_ready=False).verdict == "wait"
    clock.meanwhile = [lambda: one.formed("db")]  # the term is remembered
    second = two.join("db", 2, meta={"db_addr": "10.0.0.2"})
    assert second.verdict == "join"
    assert [member.meta for member in second.members] == [{"db_addr": "10.0.0.1"}, {"db_addr": "10.0.0.2"}]
    assert one.join("db", 2).verdict == "join"


def test_a_join_asks_a_last_time_at_its_timeout(cloud: testing.Cloud, make_guest: Any, clock: Clock) -> None:
    """The service is unavailable until the last moment, within what would be a pause."""
    guest = make_guest(cloud.instance())
    guest.client._chance = lambda: 0.5
    cloud.fail(503, 503, 503, 503)  # at 0, 1, 3 and 7 s
    assert guest.join("db", 2, timeout_s=10).verdict == "bootstrap"
    assert clock.time == pytest.approx(10)
    cloud.fail(*[503] * 5)
    with pytest.raises(NotReached):
        guest.join("db", 2, timeout_s=10)
    assert clock.time == pytest.approx(20)


def test_all_founders_start_with_the_same_list(cloud: testing.Cloud, make_guest: Any, clock: Clock) -> None:
    guests = [make_guest(cloud.instance()) for _ in range(4)]
    clock.meanwhile = [lambda: [guest.join("etcd", 3, founders="all", until_ready=False) for guest in guests[1:]]]
    verdicts = [guest.join("etcd", 3, founders="all", until_ready=False) for guest in guests[:1]]
    assert verdicts[0].verdict == "wait"
    assert guests[0].join("etcd", 3, founders="all").verdict == "bootstrap"
    lists = [guest.join("etcd", 3, founders="all", until_ready=False) for guest in guests]
    assert [one.verdict for one in lists] == ["bootstrap", "bootstrap", "bootstrap", "wait"]
    assert lists[0].members == lists[2].members
    assert len(lists[0].members) == 3


def test_a_replaced_founder_cannot_confirm(cloud: testing.Cloud, make_guest: Any) -> None:
    instance, one, two = cloud.instance(), None, make_guest(cloud.instance())
    one = make_guest(instance)
    assert one.join("db", 2).verdict == "bootstrap"
    assert two.join("db", 2, until_ready=False).verdict == "wait"
    instance.remove()
    again = two.join("db", 2)
    assert (again.verdict, again.term) == ("bootstrap", 2)
    with pytest.raises(Refused, match="not a founder") as caught:
        two.formed("db", 1)
    assert caught.value.code == "peerdata.cluster.not_founder"
    assert two.formed("db", 2).formed


def test_another_size_is_refused_and_a_closed_cluster_becomes_full(cloud: testing.Cloud, make_guest: Any) -> None:
    one, two = make_guest(cloud.instance()), make_guest(cloud.instance())
    one.join("db", 1, closed=True)
    one.formed("db", 1)
    with pytest.raises(Refused) as caught:
        two.join("db", 2, closed=True)
    assert caught.value.code == "peerdata.cluster.taken"
    assert two.join("db", 1, closed=True).verdict == "full"
    assert two.state("db").ordinal is None


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", ".", "x" * 65, "a:b", "ü"])
def test_an_invalid_cluster_name_is_never_sent(cloud: testing.Cloud, make_guest: Any, name: str) -> None:
    with pytest.raises(Misused):
        make_guest(cloud.instance()).join(name, 1)
    assert cloud.requests == []


def test_an_unknown_term_must_be_given(cloud: testing.Cloud, make_guest: Any) -> None:
    with pytest.raises(Misused, match="term"):
        make_guest(cloud.instance()).formed("db")


def test_own_addresses_come_from_network_data_or_the_connection(cloud: testing.Cloud, make_guest: Any) -> None:
    network_data = {"networks": [{"type": "ipv4", "ip_address": "192.0.2.1"}], "links": []}
    assert make_guest(cloud.instance(network_data=network_data)).addresses() == ["192.0.2.1"]
    assert make_guest(cloud.instance()).addresses() == ["127.0.0.1"]
    with pytest.raises(Unusable):
        make_guest(cloud.instance(network_data={})).addresses()
