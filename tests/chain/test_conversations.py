# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The contract, held as conversations: real guests, curl, both agents, the service, real nova. See docs/protocol.md."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from .cloud import Cloud, Tenants
from .guest import METADATA, Guest, patiently
from .run import until
from .service import Service
from .straight import ask

pytestmark = pytest.mark.usefixtures("service")

either = pytest.mark.parametrize("agent", ["old", "new"])

OURS = ["cluster/", "metadata", "peer_data.json", "peer_data/last_error.json", "shared.json"]


def of(tenants: Tenants, agent: str) -> Guest:
    """A guest of project A behind the old or the new agent."""
    return {"old": tenants.a_old, "new": tenants.a_new}[agent][0]


def entry(guest: Guest, **meta: str) -> dict[str, object]:
    """The guest's line of shared.json."""
    return {"meta": {f"from_server_{key}": value for key, value in meta.items()}, "uuid": guest.uuid}


class Follower:
    """A program that knows its peers by following peer_data.json."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.peers: dict[str, Any] = {}
        self.revision: int | None = None

    def follow(self) -> Any:
        """Ask for what changed, apply it, and return the answer."""
        since = f"?since={self.revision}" if self.revision is not None else ""
        news = self.guest.read(f"peer_data.json{since}")
        if news["full"]:
            self.peers = {}
        for uuid in news["removed"]:
            self.peers.pop(uuid, None)
        self.peers |= {peer["uuid"]: peer for peer in news["peers"]}
        self.revision = news["revision"]
        return news

    def matches(self, full: Any) -> bool:
        """Whether it knows what a full read tells."""
        return self.peers == {peer["uuid"]: peer for peer in full["peers"]}


# Publishing


@either
def test_publishing_answers_the_whole_document_with_the_new_keys(tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)
    before = guest.meta_data()

    answer = guest.publish(leader="10.0.0.11:2380", color="blue")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert answer.json["meta"] == {
        "role": "member",
        "from_server_leader": "10.0.0.11:2380",
        "from_server_color": "blue",
    }
    assert {**answer.json, "meta": 0, "random_seed": 0} == {**before, "meta": 0, "random_seed": 0}
    assert guest.meta_data()["meta"] == answer.json["meta"]


@either
def test_a_body_publishes_the_same(tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)

    private = guest.post("/openstack/latest/metadata", b'{"meta": {"k": "v"}}')
    shared = guest.post("/openstack/latest/metadata?shared=project", '{"meta": {"s": "é€"}}'.encode())

    assert (private.status, shared.status) == (200, 200)
    assert shared.json["meta"] == {"role": "member", "from_server_k": "v", "from_server_s": "é€"}
    assert guest.shared() == [entry(guest, s="é€")]


def test_an_unshared_key_is_seen_by_its_own_instance_alone(tenants: Tenants) -> None:
    guest = tenants.a_old[0]
    guest.publish(shared=False, token="secret")

    assert guest.meta_data()["meta"]["from_server_token"] == "secret"
    for peer in tenants.a:
        assert peer.shared() == []
        assert peer.read("peer_data.json")["peers"] == []
    assert tenants.a_old[1].meta_data()["meta"] == {"role": "member"}


@pytest.mark.parametrize(("one", "other"), [("old", "new"), ("new", "old")])
def test_a_key_published_through_one_agent_is_seen_through_the_other(tenants: Tenants, one: str, other: str) -> None:
    publisher, reader = of(tenants, one), of(tenants, other)

    assert publisher.publish(addr="10.0.0.11").status == 200
    assert reader.shared() == [entry(publisher, addr="10.0.0.11")]


def test_every_instance_of_the_project_reads_the_same_list(tenants: Tenants) -> None:
    for number, guest in enumerate(tenants.a):
        guest.publish(number=str(number))

    for guest in tenants.a:
        assert guest.shared() == [entry(peer, number=str(number)) for number, peer in enumerate(tenants.a)]


@either
def test_asking_again_changes_nothing(tenants: Tenants, agent: str) -> None:
    """A guest that lost the answer simply asks again, by the other form if it likes."""
    guest = of(tenants, agent)
    first = guest.publish(a="1", b="2")
    before = guest.read("peer_data.json")

    again = guest.publish(a="1", b="2")
    part = guest.post("/openstack/latest/metadata?shared=project", b'{"meta": {"b": "2"}}')

    assert (again.status, part.status) == (200, 200)
    assert again.json["meta"] == part.json["meta"] == first.json["meta"]
    after = guest.read("peer_data.json")
    assert (after["revision"], after["peers"]) == (before["revision"], before["peers"])


@either
def test_another_value_is_refused_and_the_reason_can_be_read(tenants: Tenants, agent: str) -> None:
    """The old agent puts a page of its own in the place of the body."""
    guest = of(tenants, agent)
    guest.publish(leader="a")
    assert guest.last_error() is None

    refused = guest.publish(leader="b")

    assert refused.status == 409
    if agent == "new":
        assert refused.json["error"]["code"] == "peerdata.key.taken"
        assert refused.json["error"]["key"] == "leader"
    assert guest.last_error() == "peerdata.key.taken"
    assert guest.meta_data()["meta"]["from_server_leader"] == "a"
    assert tenants.a_old[1].last_error() is None


@either
def test_another_sharing_is_refused(tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)
    guest.publish(shared=False, quiet="1")
    guest.publish(loud="1")

    assert guest.publish(quiet="1").status == 409
    assert guest.publish(shared=False, loud="1").status == 409
    assert guest.shared() == [entry(guest, loud="1")]


@either
def test_a_call_with_one_taken_key_stores_none(tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)
    guest.publish(taken="1")
    revision = guest.read("peer_data.json")["revision"]

    assert guest.publish(afresh="1", taken="2", zebra="3").status == 409

    assert guest.shared() == [entry(guest, taken="1")]
    assert guest.meta_data()["meta"] == {"role": "member", "from_server_taken": "1"}
    assert guest.read("peer_data.json")["revision"] == revision


@either
def test_of_many_values_at_once_one_wins(tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)

    def offer(value: int) -> int:
        return patiently(lambda: guest.publish(leader=str(value))).status

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(offer, range(6)))

    assert sorted(statuses) == [200, 409, 409, 409, 409, 409]
    assert guest.shared() == [entry(guest, leader=str(statuses.index(200)))]


@either
def test_what_the_owner_set_counts_as_set(tenants: Tenants, cloud: Cloud, agent: str) -> None:
    guest = of(tenants, agent)
    cloud.nova.set_metadata(guest.uuid, {"from_server_leader": "owner"})

    assert guest.publish(shared=False, leader="guest", other="1").status == 409
    assert guest.publish(shared=False, leader="owner").status == 200
    assert guest.meta_data()["meta"] == {"from_server_leader": "owner"}


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("?shared=world&meta.k=v", None, "peerdata.shared.invalid"),
        ("?shared=&meta.k=v", None, "peerdata.shared.invalid"),
        ("?shared=project&meta.k=v", b'{"meta": {"l": "v"}}', "peerdata.body.and_parameters"),
        ("?shared=project", None, "peerdata.body.empty"),
        ("", b'{"meta": {}}', "peerdata.meta.empty"),
        ("", b'{"meta": {"k": 1}}', "peerdata.value.not_string"),
        ("", b'["meta"]', "peerdata.body.not_object"),
        ("?meta.=v", None, "peerdata.key.invalid"),
        ("?meta.k%2F=v", None, "peerdata.key.invalid"),
        ("?meta.k=v&meta.k=v", None, "peerdata.key.repeated"),
        (f"?meta.{'k' * 244}=v", None, "peerdata.key.invalid"),
        (f"?meta.k={'v' * 256}", None, "peerdata.value.too_long"),
        ("?meta.k=v&colour=blue", None, "peerdata.parameter.unknown"),
    ],
)
def test_a_wrong_request_is_400_and_stores_nothing(
    residents: Tenants, query: str, body: bytes | None, code: str
) -> None:
    old, new = residents.a_old[0], residents.a_new[0]
    for guest in (old, new):
        answer = guest.post(f"/openstack/latest/metadata{query}", body)
        assert answer.status == 400
        assert guest.last_error() == code
        assert guest.meta_data()["meta"] == {"role": "member"}
    assert answer.json["error"]["code"] == code
    assert old.shared() == []


@either
def test_keys_and_values_arrive_as_they_were_meant(tenants: Tenants, agent: str) -> None:
    """The agents rewrite percent-escapes on the way; what they mean stays."""
    guest = of(tenants, agent)
    meta = {
        "A-z_0:9. x": "a+b c%2Bd&e=f?g#h/i",
        "euro": "€ é 你好 🙂",
        "marks": "\"'<>[]{}|\\^`~;,",
        "lines": "one\ntwo\r\n\tthree",
        "escape": "%zz%",
        "empty": "",
        "k" * 243: "v" * 255,
    }

    assert guest.publish(meta).status == 200
    assert guest.shared() == [{"meta": {f"from_server_{key}": meta[key] for key in sorted(meta)}, "uuid": guest.uuid}]
    assert {f"from_server_{key}": value for key, value in meta.items()}.items() <= guest.meta_data()["meta"].items()


@either
def test_over_the_quota_is_403(tenants: Tenants, agent: str) -> None:
    """A 413 would not get through neutron."""
    guest = of(tenants, agent)
    for hundred in range(4):
        guest.publish({f"k{hundred * 32 + number}": "v" for number in range(32)})

    assert guest.publish(one="more").status == 403
    assert guest.last_error() == "peerdata.quota.reached"
    assert len(guest.shared()[0]["meta"]) == 128


# What neutron loses


@pytest.mark.parametrize("how", [["-H", "Expect: 100-continue"], ["-H", "Transfer-Encoding: chunked"]])
def test_a_body_that_the_new_agent_loses_is_400_and_the_body_less_call_then_succeeds(
    tenants: Tenants, how: list[str]
) -> None:
    guest = tenants.a_new[0]
    body = b'{"meta": {"k": "%s"}}' % (b"v" * 200)

    lost = guest.post("/openstack/latest/metadata?shared=project", body, *how)

    assert (lost.status, guest.shared()) == (400, [])
    assert guest.meta_data()["meta"] == {"role": "member"}
    assert guest.publish(k="v" * 200).status == 200
    assert guest.shared() == [entry(guest, k="v" * 200)]


def test_a_body_that_the_new_agent_cuts_is_400_and_stores_nothing(tenants: Tenants) -> None:
    guest = tenants.a_new[0]
    meta = b", ".join(b'"k%d": "%s"' % (number, b"v" * 200) for number in range(30))

    cut = guest.post("/openstack/latest/metadata?shared=project", b'{"meta": {%s}}' % meta)

    assert (cut.status, cut.json["error"]["code"]) == (400, "peerdata.body.not_json")
    assert guest.shared() == []


def test_the_old_agent_carries_a_large_body(tenants: Tenants) -> None:
    guest = tenants.a_old[0]
    meta = b", ".join(b'"k%d": "%s"' % (number, b"v" * 250) for number in range(100))

    assert guest.post("/openstack/latest/metadata?shared=project", b'{"meta": {%s}}' % meta).status == 200
    assert len(guest.shared()[0]["meta"]) == 100


@either
def test_an_instance_may_ask_from_its_link_local_address(tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)
    url = "http://[fe80::a9fe:a9fe%25eth0]/openstack/latest"

    assert guest.curl("--request", "POST", f"{url}/metadata?shared=project&meta.k=v").status == 200
    assert guest.curl(f"{url}/shared.json").json == [entry(guest, k="v")]


# Discovering


def test_peers_stand_in_the_order_in_which_each_first_shared(tenants: Tenants) -> None:
    order = [tenants.a_new[1], tenants.a_old[2], tenants.a_old[0], tenants.a_new[0]]
    tenants.a_old[0].publish(shared=False, first="but not shared")
    for guest in order:
        guest.publish(x="1")
    order[2].publish(more="2")

    assert [peer["uuid"] for peer in tenants.a_old[1].shared()] == [guest.uuid for guest in order]


def test_projects_with_the_same_addresses_never_see_each_other(tenants: Tenants) -> None:
    for a, b in (
        (tenants.a_old[0], tenants.b_old[0]),
        (tenants.a_new[0], tenants.b_new[0]),
    ):
        assert a.instance.address == b.instance.address
        assert a.publish(leader="a").status == 200
        assert b.publish(leader="b").status == 200

    for guest in tenants.a:
        assert guest.shared() == [entry(peer, leader="a") for peer in (tenants.a_old[0], tenants.a_new[0])]
    for guest in tenants.b:
        assert guest.shared() == [entry(peer, leader="b") for peer in (tenants.b_old[0], tenants.b_new[0])]
        assert {peer["uuid"] for peer in guest.read("peer_data.json")["peers"]} == {
            tenants.b_old[0].uuid,
            tenants.b_new[0].uuid,
        }
    assert tenants.a_old[0].meta_data()["meta"]["from_server_leader"] == "a"
    assert tenants.b_old[0].meta_data()["meta"]["from_server_leader"] == "b"


@either
def test_nothing_shared_is_an_empty_list(tenants: Tenants, agent: str) -> None:
    answer = of(tenants, agent).get("/openstack/latest/shared.json")

    assert (answer.status, answer.body) == (200, b"[]\n")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


@either
def test_following_gives_what_a_full_read_gives(tenants: Tenants, agent: str) -> None:
    follower = Follower(of(tenants, agent))
    first = follower.follow()
    assert (first["full"], first["peers"], first["self"]) == (True, [], follower.guest.uuid)

    joined: list[tuple[int, int]] = []
    for guest in (tenants.a_old[1], tenants.a_new[1], tenants.a_old[1]):
        guest.publish({f"k{len(joined)}": "v"})
        news = follower.follow()
        assert news["full"] is False
        assert [peer["uuid"] for peer in news["peers"]] == [guest.uuid]
        assert news["poll_after_s"] >= 1
        joined.append((news["revision"], news["peers"][0]["joined"]))
        assert follower.matches(tenants.a_old[2].read("peer_data.json"))

    revisions = [revision for revision, _ in joined]
    assert revisions == sorted(set(revisions))
    assert joined[2][1] == joined[0][1] < joined[1][1]
    quiet = follower.follow()
    assert (quiet["peers"], quiet["removed"], quiet["full"]) == ([], [], False)
    assert quiet["revision"] == follower.revision


def test_what_everybody_publishes_at_once_has_one_order_for_all(tenants: Tenants) -> None:
    with ThreadPoolExecutor(len(tenants.a)) as pool:
        published = list(pool.map(lambda guest: patiently(lambda: guest.publish(addr=guest.uuid)).status, tenants.a))
    assert published == [200] * 5

    order = [peer["uuid"] for peer in tenants.a_old[0].shared()]

    assert sorted(order) == sorted(guest.uuid for guest in tenants.a)
    for guest in tenants.a:
        assert [peer["uuid"] for peer in guest.shared()] == order
        peers = guest.read("peer_data.json")["peers"]
        assert [peer["uuid"] for peer in peers] == order
        assert [peer["joined"] for peer in peers] == sorted({peer["joined"] for peer in peers})


def test_an_instance_that_the_operator_removes_leaves_and_may_come_anew(tenants: Tenants, service: Service) -> None:
    leaver, stayer = tenants.a_new[0], tenants.a_old[0]
    leaver.publish(k="first")
    stayer.publish(k="v")
    follower = Follower(tenants.a_old[1])
    follower.follow()

    service.command("instance", "remove", leaver.uuid)

    assert follower.follow()["removed"] == [leaver.uuid]
    assert follower.follow()["removed"] == []
    assert stayer.shared() == [entry(stayer, k="v")]
    assert leaver.meta_data()["meta"] == {"role": "member"}
    assert leaver.publish(k="second").status == 200
    assert stayer.shared() == [entry(stayer, k="v"), entry(leaver, k="second")]
    follower.follow()
    assert follower.matches(stayer.read("peer_data.json"))


def test_a_revision_from_the_future_is_answered_in_full(tenants: Tenants) -> None:
    tenants.a_old[0].publish(k="v")

    news = tenants.a_new[0].read("peer_data.json?since=99999")

    assert news["full"] is True
    assert [peer["uuid"] for peer in news["peers"]] == [tenants.a_old[0].uuid]


def test_a_prefix_parts_the_clusters_of_a_project(tenants: Tenants) -> None:
    tenants.a_old[0].publish(etcd_addr="1", serf_addr="2")
    tenants.a_new[0].publish(serf_addr="3")

    peers = tenants.a_old[1].read("peer_data.json?prefix=etcd_")["peers"]

    assert [(peer["uuid"], peer["meta"]) for peer in peers] == [(tenants.a_old[0].uuid, {"from_server_etcd_addr": "1"})]


@pytest.mark.parametrize("call", ["shared.json?x=1", "peer_data.json?since=x", "peer_data.json?since=-1"])
def test_a_wrong_parameter_is_400(residents: Tenants, call: str) -> None:
    for guest in (residents.a_old[0], residents.a_new[0]):
        assert guest.get(f"/openstack/latest/{call}").status == 400


# Versions


@either
def test_every_version_that_nova_lists_has_our_calls(tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)
    versions = guest.get("/openstack").body.decode().split()
    assert versions[0] == "2012-08-10"
    assert versions[-1] == "latest"

    for number, version in enumerate(versions):
        published = guest.post(f"/openstack/{version}/metadata?shared=project&meta.k{number}=v")
        read = guest.get(f"/openstack/{version}/meta_data.json")
        assert (published.status, read.status) == (200, 200), version
        assert published.json["meta"] == read.json["meta"]
        assert len(read.json["meta"]) == number + 2
        assert guest.get(f"/openstack/{version}/shared.json").json == guest.shared()
        assert guest.get(f"/openstack/{version}/peer_data.json").json["peers"] == guest.read("peer_data.json")["peers"]


@either
@pytest.mark.parametrize("version", ["2012-08-11", "1999-01-01", "newest", "2009-04-04"])
def test_an_unknown_version_is_404_and_stores_nothing(residents: Tenants, agent: str, version: str) -> None:
    guest = of(residents, agent)

    assert guest.post(f"/openstack/{version}/metadata?shared=project&meta.k=v").status == 404
    for name in ("shared.json", "peer_data.json", "peer_data/last_error.json", "meta_data.json"):
        assert guest.get(f"/openstack/{version}/{name}").status == 404
    assert guest.shared() == []


@pytest.mark.parametrize(
    "path",
    [
        "//openstack/latest/{}",
        "///openstack/latest/{}",
        "/openstack//latest/{}",
        "/openstack/latest//{}",
        "/openstack/latest/{}/",
        "/openstack/./latest/{}",
        "/x/../openstack/latest/{}",
        "/%6fpenstack/latest/{}",
        "/openstack%2Flatest%2F{}",
    ],
)
def test_a_path_is_read_as_nova_reads_it(tenants: Tenants, cloud: Cloud, service: Service, path: str) -> None:
    """Nova finds its meta_data.json under each spelling, so there are our keys, and our calls."""
    guest = tenants.a_new[0]
    headers = cloud.nova.headers(guest.instance)
    meta_data, metadata, shared = (path.format(name) for name in ("meta_data.json", "metadata", "shared.json"))
    assert ask(cloud.nova.url, meta_data, headers=headers).json["uuid"] == guest.uuid

    published = ask(service.url, f"{metadata}?shared=project&meta.k=v", method="POST", headers=headers)

    assert published.status == 200
    assert ask(service.url, shared, headers=headers).json == [entry(guest, k="v")]
    assert ask(service.url, meta_data, headers=headers).json["meta"]["from_server_k"] == "v"
    assert guest.get(meta_data).json["meta"]["from_server_k"] == "v"


@pytest.mark.parametrize("name", ["shared.json", "peer_data.json", "peer_data/last_error.json", "meta_data.json"])
def test_head_answers_as_get_without_the_body(residents: Tenants, cloud: Cloud, service: Service, name: str) -> None:
    guest = residents.a_new[0]
    headers = cloud.nova.headers(guest.instance)
    get, head = (
        ask(service.url, f"/openstack/latest/{name}", method=method, headers=headers) for method in ("GET", "HEAD")
    )

    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert residents.a_old[0].curl("--head", f"{METADATA}/openstack/latest/{name}").status == 200


@either
@pytest.mark.parametrize("version", ["latest", "2012-08-10"])
def test_a_version_lists_what_nova_has_and_what_we_have(
    residents: Tenants, cloud: Cloud, agent: str, version: str
) -> None:
    guest = of(residents, agent)
    of_nova = ask(cloud.nova.url, f"/openstack/{version}/", headers=cloud.nova.headers(guest.instance))

    answer = guest.get(f"/openstack/{version}/")

    assert answer.status == 200
    assert answer.body.decode().split("\n") == of_nova.body.decode().split("\n") + OURS


# Who asks


@either
def test_an_instance_that_nova_deleted_before_it_was_seen_is_404(tenants: Tenants, cloud: Cloud, agent: str) -> None:
    guest = of(tenants, agent)
    cloud.nova.delete(guest.uuid)

    assert guest.publish(k="v").status == 404
    assert guest.get("/openstack/latest/shared.json").status == 404
    assert guest.get("/openstack/latest/meta_data.json").status == 404
    assert tenants.a_old[1].shared() == []


@either
def test_a_forged_identity_publishes_for_the_forger_alone(tenants: Tenants, cloud: Cloud, agent: str) -> None:
    guest, victim = of(tenants, agent), tenants.b_old[0]
    forged = cloud.nova.headers(victim.instance)
    del forged["X-Forwarded-For"]
    headers = [part for name, value in forged.items() for part in ("-H", f"{name}: {value}")]

    assert guest.post("/openstack/latest/metadata?shared=project&meta.k=v", None, *headers).status == 200

    assert victim.shared() == []
    assert guest.shared() == [entry(guest, k="v")]


def test_a_proxy_that_cannot_sign_is_refused(residents: Tenants, cloud: Cloud, service: Service) -> None:
    headers = cloud.nova.headers(residents.a_old[0].instance)
    for name, status in (("X-Instance-ID-Signature", 403), ("X-Instance-ID", 403)):
        wrong = ask(service.url, "/openstack/latest/shared.json", headers={**headers, name: "0" * 64})
        assert (wrong.status, wrong.json["error"]["code"]) == (status, "peerdata.identity.signature")
    for name in ("X-Instance-ID", "X-Tenant-ID", "X-Instance-ID-Signature"):
        without = {key: value for key, value in headers.items() if key != name}
        assert ask(service.url, "/openstack/latest/shared.json", headers=without).status == 400


def test_a_signed_instance_of_another_project_sees_nothing(tenants: Tenants, cloud: Cloud, service: Service) -> None:
    """The signature does not cover the tenant, so nova is asked; a proof of before does not help."""
    mine, other = tenants.a_old[0], tenants.b_old[0]
    mine.publish(k="v")
    other.publish(k="w")
    lie = {**cloud.nova.headers(mine.instance), "X-Tenant-ID": other.instance.project}

    for path in ("shared.json", "peer_data.json", "peer_data/last_error.json", "meta_data.json"):
        assert ask(service.url, f"/openstack/latest/{path}", headers=lie).status == 404
    assert ask(service.url, "/openstack/latest/metadata?meta.x=y", method="POST", headers=lie).status == 404


# When something stops


@pytest.fixture
def impatient(cloud: Cloud, service: Service) -> Iterator[Service]:
    """A service of its own that gives nova a second and a half; the agents' upstream, instead of *service*."""
    service = Service(cloud.run, cloud.nova, "peerdata-impatient", {"nova": {"timeout": 1.5}})
    service.start()
    cloud.send_to(service.url)
    yield service
    service.kill()


@pytest.fixture
def nova_stopped(cloud: Cloud, tenants: Tenants) -> Iterator[Tenants]:
    """Two guests of A have been seen; then nova is gone."""
    tenants.a_old[0].publish(k="v")
    assert tenants.a_new[0].shared() == [entry(tenants.a_old[0], k="v")]
    cloud.nova.stop()
    yield tenants
    cloud.nova.start()
    cloud.nova.wait()


def test_without_nova_known_instances_still_find_their_peers(nova_stopped: Tenants) -> None:
    for guest in (nova_stopped.a_old[0], nova_stopped.a_new[0]):
        assert guest.shared() == [entry(nova_stopped.a_old[0], k="v")]
        assert len(guest.read("peer_data.json")["peers"]) == 1


def test_without_nova_nothing_is_published_and_nobody_new_is_let_in(nova_stopped: Tenants) -> None:
    for guest in (nova_stopped.a_old[0], nova_stopped.a_new[0]):
        assert guest.publish(other="w").status in (502, 504)
        assert guest.get("/openstack/latest/meta_data.json").status in (502, 504)
        assert guest.get("/latest/meta-data/").status in (502, 504)
        assert guest.shared() == [entry(nova_stopped.a_old[0], k="v")]
    for stranger in (nova_stopped.a_old[1], nova_stopped.a_new[1]):
        assert stranger.get("/openstack/latest/shared.json").status in (502, 504)


def test_without_nova_known_instances_still_find_their_peers_after_a_crash_of_the_service(
    nova_stopped: Tenants, service: Service
) -> None:
    time.sleep(3)  # nova's answers are in the store after one
    service.kill()
    service.start()
    for guest in (nova_stopped.a_old[0], nova_stopped.a_new[0]):
        assert guest.shared() == [entry(nova_stopped.a_old[0], k="v")]
    for stranger in (nova_stopped.a_old[1], nova_stopped.a_new[1]):
        assert stranger.get("/openstack/latest/shared.json").status in (502, 504)


@pytest.mark.usefixtures("impatient")
def test_a_nova_that_hangs_is_504_and_stores_nothing(cloud: Cloud, tenants: Tenants) -> None:
    guests = (tenants.a_old[0], tenants.a_new[0])
    for guest in guests:
        assert guest.shared() == []
    cloud.nova.pause()
    try:
        assert [guest.publish(k="v").status for guest in guests] == [504, 504]
        assert [guest.shared() for guest in guests] == [[], []]
    finally:
        cloud.nova.resume()
    for guest in guests:
        assert patiently(partial(guest.publish, k="v")).status == 200


def test_what_was_answered_200_survives_a_crash_of_the_service(tenants: Tenants, service: Service) -> None:
    """Killed three times while five guests publish without pause."""
    kept: dict[str, dict[str, str]] = {guest.uuid: {} for guest in tenants.a}
    over = threading.Event()

    def publish(guest: Guest) -> None:
        for number in range(128):
            if over.is_set():
                break
            key = f"k{number}"
            # 500 or 502: it was killed in the middle of an answer.
            answer = patiently(partial(guest.publish, {key: "v"}), again=(500, 502, 503))
            assert answer.status == 200, answer
            kept[guest.uuid][f"from_server_{key}"] = "v"

    def published() -> int:
        return sum(map(len, kept.values()))

    with ThreadPoolExecutor(len(tenants.a)) as pool:
        publishers = [pool.submit(publish, guest) for guest in tenants.a]
        try:
            for _ in range(3):
                enough = published() + 15
                until(f"{enough} keys are published", lambda: published() >= enough)  # noqa: B023  called at once
                service.kill()
                service.start()
        finally:
            over.set()
        for publisher in publishers:
            publisher.result()

    for guest in tenants.a:
        found = {peer["uuid"]: peer["meta"] for peer in guest.shared()}
        assert found == kept
        assert kept[guest.uuid].items() <= guest.meta_data()["meta"].items()
