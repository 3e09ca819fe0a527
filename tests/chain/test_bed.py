# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The bed itself: the way through neutron is what was measured of it, and nova answers for the right instance."""

import sys

import pytest

from .cloud import AGENTS, Cloud, Tenants
from .echo import Echo, Reply
from .guest import CurlFailed, Guest
from .ports import free_port
from .run import kill, until

METADATA_V6 = "http://[fe80::a9fe:a9fe%25eth0]"
JSON = {"Content-Type": "application/json; charset=utf-8"}
ERROR = b'{"error": {"code": "peerdata.key.taken"}}'


def of(tenants: Tenants, agent: str) -> Guest:
    """A guest behind the old or the new agent."""
    return {"old": tenants.a_old, "new": tenants.a_new}[agent][0]


either = pytest.mark.parametrize("agent", ["old", "new"])


def test_every_instance_reads_its_own_metadata_from_nova(nova_alone: Cloud, residents: Tenants) -> None:
    """Though the two projects have the same addresses."""
    for guest in residents.all:
        document = guest.meta_data()
        assert (document["uuid"], document["project_id"]) == (guest.uuid, guest.instance.project)
        assert (document["name"], document["meta"]) == (guest.instance.name, {"role": "member"})


def test_nova_tells_of_the_port_by_which_an_instance_is_plugged(nova_alone: Cloud, residents: Tenants) -> None:
    for guest in (residents.a_old[1], residents.b_new[0]):
        document = guest.get("/openstack/latest/network_data.json").json

        assert [network["ip_address"] for network in document["networks"]] == [guest.instance.address]
        assert [link["ethernet_mac_address"] for link in document["links"]] == [guest.instance.mac]


@either
def test_nova_answers_for_a_link_local_address(nova_alone: Cloud, residents: Tenants, agent: str) -> None:
    """The agent knows the port by the MAC in the address."""
    guest = of(residents, agent)

    assert guest.curl(f"{METADATA_V6}/openstack/latest/meta_data.json").json["uuid"] == guest.uuid


def test_what_the_owner_sets_while_nova_runs_is_read(nova_alone: Cloud, tenants: Tenants) -> None:
    guest = tenants.a_old[0]
    nova_alone.nova.set_metadata(guest.uuid, {"from_server_leader": "owner"})

    assert guest.meta_data()["meta"] == {"from_server_leader": "owner"}


@either
def test_a_deleted_instance_is_unknown_to_nova(nova_alone: Cloud, tenants: Tenants, agent: str) -> None:
    guest = of(tenants, agent)
    nova_alone.nova.delete(guest.uuid)

    assert guest.get("/openstack/latest/meta_data.json").status == 404


@either
def test_no_header_of_a_guest_arrives(echo: Echo, residents: Tenants, agent: str) -> None:
    guest = of(residents, agent)
    sent = {"If-None-Match": '"7"', "Authorization": "Basic eDp5", "X-Mine": "1", "Content-Type": "application/json"}
    guest.post("/x", b"{}", *(part for name, value in sent.items() for part in ("-H", f"{name}: {value}")))

    assert not sent.keys() & {name.title() for name in echo.last.headers}
    assert echo.last.headers["x-instance-id"] == guest.uuid
    assert echo.last.headers["x-tenant-id"] == guest.instance.project
    assert echo.last.headers["x-forwarded-for"] == guest.instance.address


@either
def test_a_forged_identity_is_ignored(echo: Echo, residents: Tenants, cloud: Cloud, agent: str) -> None:
    guest, victim = of(residents, agent), residents.b_old[0]
    forged = cloud.nova.headers(victim.instance)
    del forged["X-Forwarded-For"]
    guest.get("/x", *(part for name, value in forged.items() for part in ("-H", f"{name}: {value}")))

    for name, value in cloud.nova.headers(guest.instance).items():
        assert echo.last.headers[name.lower()] == value


@pytest.mark.skipif(AGENTS["new"][1] != "ovn", reason="the agent of ML2 overwrites the header")
def test_a_network_named_by_a_guest_behind_ovn_finds_nobody(echo: Echo, residents: Tenants, cloud: Cloud) -> None:
    answer = residents.a_new[0].get("/x", "-H", f"X-OVN-Network-ID: {cloud.networks['b', 'new']}")

    assert (answer.status, echo.requests) == (404, [])


def test_the_same_address_in_two_projects_is_two_instances(echo: Echo, residents: Tenants) -> None:
    for mine, other in ((residents.a_old, residents.b_old), (residents.a_new, residents.b_new)):
        assert mine[0].instance.address == other[0].instance.address
        for guest in (mine[0], other[0]):
            guest.get("/x")
            assert echo.last.headers["x-instance-id"] == guest.uuid


@either
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_every_method_passes(echo: Echo, residents: Tenants, agent: str, method: str) -> None:
    of(residents, agent).get("/openstack/latest/metadata", "--request", method)

    assert [(request.method, request.target) for request in echo.requests] == [(method, "/openstack/latest/metadata")]


@either
def test_a_query_of_3500_bytes_passes_whole(echo: Echo, residents: Tenants, agent: str) -> None:
    query = "shared=project&meta.k=" + "v" * 3500
    of(residents, agent).post(f"/openstack/latest/metadata?{query}")

    assert echo.last.target == f"/openstack/latest/metadata?{query}"


@either
@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/x?meta.k=%e2%82%ac%2B+b", "/x?meta.k=%E2%82%AC%2B+b"),
        ("/x?meta.k=[1]", "/x?meta.k=%5B1%5D"),
        ("/x?meta.k=%zz", "/x?meta.k=%25zz"),
        ("/a%2Fb", "/a/b"),
        ("/a%3Fb", "/a?b"),
        ("/a%23b", "/a"),
        ("/a/../b", "/b"),
    ],
)
def test_what_the_agents_make_of_an_address(
    echo: Echo, residents: Tenants, agent: str, sent: str, arrives: str
) -> None:
    of(residents, agent).get(sent)

    assert echo.last.target == arrives


@either
def test_a_body_of_3000_bytes_in_one_piece_with_the_headers_arrives(echo: Echo, residents: Tenants, agent: str) -> None:
    of(residents, agent).post("/x", b"b" * 3000)

    assert echo.last.body == b"b" * 3000


@pytest.mark.parametrize(
    ("how", "old", "new"),
    [
        ([], 10_000, None),
        (["-H", "Expect: 100-continue"], 10_000, 0),
        (["-H", "Transfer-Encoding: chunked"], 0, None),
    ],
    ids=["large", "after-the-headers", "chunked"],
)
def test_a_body_that_does_not_fit_with_the_headers_is_cut(
    echo: Echo, residents: Tenants, how: list[str], old: int, new: int | None
) -> None:
    """Where *new* is none, the agent sends on what was in its first read of 4096 bytes."""
    body = b"b" * 10_000
    residents.a_old[0].post("/x", body, *how)
    assert len(echo.last.body) == old

    answer = residents.a_new[0].post("/x", body, *how)
    assert answer.status == 200
    assert len(echo.last.body) == new if new is not None else 0 < len(echo.last.body) < 4096
    assert echo.last.headers["content-length"] == str(len(echo.last.body))


def test_4_kb_of_request_headers_are_too_many_for_the_new_agent(echo: Echo, residents: Tenants) -> None:
    headers = ["-H", "X-Mine: " + "h" * 4500]

    assert residents.a_old[0].get("/x", *headers).status == 200
    assert residents.a_new[0].get("/x", *headers).status == 502


def test_of_a_good_answer_the_old_agent_keeps_body_and_content_type_alone(echo: Echo, residents: Tenants) -> None:
    echo.begin(Reply(200, {**JSON, "ETag": '"7"', "Retry-After": "3"}, b'{"k": "\xc3\xa9"}'))
    old, new = residents.a_old[0].get("/x"), residents.a_new[0].get("/x")

    assert (old.status, old.body, old.headers["content-type"]) == (200, echo.reply.body, JSON["Content-Type"])
    assert (new.status, new.body, new.headers["content-type"]) == (200, echo.reply.body, JSON["Content-Type"])
    assert not {"etag", "retry-after"} & old.headers.keys()
    assert {"etag", "retry-after"} <= new.headers.keys()


@pytest.mark.parametrize("status", [400, 403, 404, 409, 500, 502, 503, 504])
def test_of_an_error_the_old_agent_keeps_the_status_alone(echo: Echo, residents: Tenants, status: int) -> None:
    echo.begin(Reply(status, JSON, ERROR))
    old, new = residents.a_old[0].get("/x"), residents.a_new[0].get("/x")

    assert (old.status, ERROR in old.body) == (status, False)
    assert (new.status, new.body) == (status, ERROR)


@pytest.mark.parametrize("status", [201, 202, 301, 401, 405, 410, 412, 413, 415, 422, 429, 501])
def test_no_other_status_reaches_a_guest(echo: Echo, residents: Tenants, status: int) -> None:
    echo.begin(Reply(status, JSON, ERROR))

    assert (residents.a_old[0].get("/x").status, residents.a_new[0].get("/x").status) == (500, 502)


def test_an_error_without_a_body_is_a_502_of_the_new_agent(echo: Echo, residents: Tenants) -> None:
    echo.begin(Reply(404, JSON, b""))

    assert (residents.a_old[0].get("/x").status, residents.a_new[0].get("/x").status) == (404, 502)


@pytest.mark.skipif(AGENTS["old"][1] != "ml2", reason="the agent of OVN has no cache to skip")
def test_a_404_is_asked_for_twice_by_the_old_agent(echo: Echo, residents: Tenants) -> None:
    """A POST too; so a 404 must mean that nothing was done."""
    echo.begin(Reply(404, JSON, ERROR))

    residents.a_old[0].post("/x", b"{}")
    assert [request.method for request in echo.requests] == ["POST", "POST"]

    residents.a_new[0].post("/x", b"{}")
    assert len(echo.requests) == 3


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "application/problem+json"])
def test_a_content_type_without_charset_is_a_502_of_the_new_agent(echo: Echo, residents: Tenants, kind: str) -> None:
    echo.begin(Reply(200, {"Content-Type": kind}, "€".encode()))

    assert (residents.a_old[0].get("/x").status, residents.a_new[0].get("/x").status) == (200, 502)


def test_plain_text_without_charset_that_fits_latin_1_is_cut_by_the_new_agent(echo: Echo, residents: Tenants) -> None:
    """It announces the length of the UTF-8 and sends Latin-1."""
    echo.begin(Reply(200, {"Content-Type": "text/plain"}, "é".encode()))

    assert residents.a_old[0].get("/x").body == "é".encode()
    with pytest.raises(CurlFailed, match="1 bytes remaining"):
        residents.a_new[0].get("/x")


@either
def test_200_kb_of_json_arrive_whole(echo: Echo, residents: Tenants, agent: str) -> None:
    echo.begin(Reply(200, JSON, b'"' + b"j" * 200_000 + b'"'))

    assert of(residents, agent).get("/x").body == echo.reply.body


@either
def test_where_nobody_listens_upstream_the_guest_gets_503(cloud: Cloud, residents: Tenants, agent: str) -> None:
    cloud.send_to("http://127.0.0.1:1")

    assert of(residents, agent).get("/x").status == 503


def test_guests_reach_those_of_their_project_on_both_networks_and_no_others(residents: Tenants) -> None:
    """The other project's guest at the same address is in a network of its own."""
    host = residents.a_new[1]
    port = str(free_port())
    place = ["--bind", host.instance.address, "--directory", "/proc/self", port]
    server = host.start("listener", sys.executable, "-m", "http.server", *place)
    url = f"http://{host.instance.address}:{port}/comm"

    def reached(guest: Guest) -> bool:
        return guest.run("curl", "--silent", "--fail", "--max-time", "2", url).returncode == 0

    try:
        until("a guest serves HTTP", lambda: reached(residents.a_new[0]))
        assert reached(residents.a_old[0])
        assert not any(reached(guest) for guest in residents.b)
    finally:
        kill(server)
