"""The formats, and that a peer can put nothing but an address and a name into them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from peerdata.guest.errors import Misused, Unusable
from peerdata.guest.formats import FORMATS, render
from peerdata.guest.formats import template as templates
from peerdata.guest.formats.nodes import Options, View
from peerdata.guest.model import Peer, Verdict

THREE = (
    Peer("u-1", {"addr": "10.0.0.11", "name": "one"}, 4),
    Peer("u-2", {"addr": "10.0.0.12:1234", "name": "two"}, 7),
    Peer("u-3", {"addr": "fd00::13"}, 9),
)


def view(*peers: Peer, **options: Any) -> View:
    return View(peers or THREE, "u-2", Options(**options))


def verdict(word: str, *peers: Peer, founders: str = "all") -> View:
    members = tuple(
        peer._replace(position=number, founder=word == "bootstrap" and (founders == "all" or peer.uuid == "u-2"))
        for number, peer in enumerate(peers or THREE)
    )
    given = Verdict("etcd", word, 3, founders, False, 2, 1, word == "join", members, "why", "u-2", 42, 1.0)
    return View(members, "u-2", Options(prefix="etcd_"), given)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("addresses", "10.0.0.11\n10.0.0.12:1234\nfd00::13\n"),
        ("hosts", "10.0.0.11 one\n10.0.0.12 two\nfd00::13 u-3\n"),
        (
            "etcd",
            'ETCD_INITIAL_CLUSTER="one=http://10.0.0.11:2380,two=http://10.0.0.12:1234,u-3=http://[fd00::13]:2380"\n'
            'ETCD_NAME="two"\n',
        ),
        ("galera", "gcomm://10.0.0.11,10.0.0.12:1234,[fd00::13]\n"),
        (
            "rabbitmq",
            "cluster_formation.peer_discovery_backend = classic_config\n"
            "cluster_formation.classic_config.nodes.1 = rabbit@one\n"
            "cluster_formation.classic_config.nodes.2 = rabbit@two\n"
            "cluster_formation.classic_config.nodes.3 = rabbit@fd00::13\n",
        ),
        ("redis-cluster", "10.0.0.11:6379 10.0.0.12:1234 fd00::13:6379\n"),
        (
            "nats",
            'routes: [\n  "nats-route://10.0.0.11:6222"\n  "nats-route://10.0.0.12:1234"\n  "nats-route://[fd00::13]:6222"\n]\n',
        ),
        ("unicast-hosts", "10.0.0.11:9300\n10.0.0.12:1234\n[fd00::13]:9300\n"),
        ("cassandra", "10.0.0.11,10.0.0.12:1234,fd00::13\n"),
        ("jgroups", "10.0.0.11[7800],10.0.0.12[1234],fd00::13[7800]\n"),
        ("patroni", 'etcd3:\n  hosts:\n  - "10.0.0.11:2379"\n  - "10.0.0.12:1234"\n  - "[fd00::13]:2379"\n'),
    ],
)
def test_each_format_is_what_its_software_reads(name: str, text: str) -> None:
    assert render(name, view()) == text


def test_ipv6_has_brackets_only_before_a_port_and_in_galeras_url() -> None:
    """galera splits at colons; a program for one address takes it bare, and Cassandra either way."""
    peer = Peer("u-1", {"addr": "fd00::1"}, 1)
    assert [render(name, view(peer)) for name in ("addresses", "cassandra", "galera")] == [
        "fd00::1\n",
        "fd00::1\n",
        "gcomm://[fd00::1]\n",
    ]
    assert render("addresses", view(peer, port=80)) == "[fd00::1]:80\n"
    assert "PEERDATA_ADDRESSES='fd00::1'\n" in render("env", view(peer))
    assert "PEERDATA_ADDRESSES='[fd00::1]:80'\n" in render("env", view(peer, port=80))


@pytest.mark.parametrize(("name", "port"), [("serf", 7946), ("consul", 8301)])
def test_serf_and_consul_get_addresses_to_join(name: str, port: int) -> None:
    addresses = [f"10.0.0.11:{port}", "10.0.0.12:1234", f"[fd00::13]:{port}"]
    assert json.loads(render(name, view())) == {"retry_join": addresses}


def test_prometheus_gets_a_target_with_labels_for_each() -> None:
    groups = json.loads(render("prometheus", view()))
    assert groups[2] == {"targets": ["[fd00::13]:9100"], "labels": {"peerdata_uuid": "u-3", "peerdata_name": "u-3"}}


def test_only_a_founder_of_elasticsearch_gets_initial_nodes() -> None:
    assert "initial" not in render("elasticsearch", view()) + render("opensearch", verdict("join"))
    assert yaml.safe_load(render("elasticsearch", verdict("bootstrap")))["cluster.initial_master_nodes"] == [
        "one",
        "two",
        "u-3",
    ]
    assert "cluster.initial_cluster_manager_nodes" in render("opensearch", verdict("bootstrap"))


def test_etcd_gets_the_state_of_the_cluster_and_its_term() -> None:
    assert 'STATE="new"\nETCD_INITIAL_CLUSTER_TOKEN="etcd-2"' in render("etcd", verdict("bootstrap"))
    assert 'STATE="existing"' in render("etcd", verdict("join"))


def test_only_a_founder_starts_a_new_galera_cluster() -> None:
    assert render("galera", verdict("bootstrap", founders="one")) == "gcomm://\n"
    with pytest.raises(Unusable):
        render("galera", view(Peer("u-1", {"other": "x"}, 1)))


def test_a_single_founder_lists_only_itself() -> None:
    assert render("addresses", verdict("bootstrap", founders="one")) == "10.0.0.12:1234\n"
    assert render("addresses", verdict("bootstrap", founders="all")).count("\n") == 3


def test_the_number_of_a_zookeeper_is_its_ordinal_plus_one() -> None:
    members = verdict("join")
    assert render("zookeeper", members) == (
        "server.1=10.0.0.11:2888:3888;2181\nserver.2=10.0.0.12:2888:3888;2181\nserver.3=[fd00::13]:2888:3888;2181\n"
    )
    later = members._replace(peers=tuple(peer._replace(position=peer.position + 5) for peer in members.peers))
    assert render("zookeeper", later).startswith("server.6=")


def test_ordinals_are_for_join_only() -> None:
    with pytest.raises(Misused, match="`join` only"):
        render("zookeeper", view())
    for asked in ("${ordinal}", "$ordinal"):
        template = f"# $$ordinal\n%for peer\n{asked} ${{name}}\n%end\n"
        with pytest.raises(Misused, match=r"line 3 .*`join` only"):
            templates.render(template, view()._replace(peers=()))
        assert templates.render(template, verdict("join")) == "# $ordinal\n0 one\n1 two\n2 u-3\n"


def test_keys_and_port_can_be_chosen() -> None:
    peer = Peer("u-1", {"etcd_addr": "10.0.0.1", "client": "10.0.0.2", "host": "h"}, 1)
    assert render("addresses", view(peer, prefix="etcd_")) == "10.0.0.1\n"
    assert render("addresses", view(peer, address_key="client", port=99)) == "10.0.0.2:99\n"
    assert render("hosts", view(peer, prefix="etcd_", name_key="host", domain="example.")) == "10.0.0.1 h.example h\n"


def test_a_founder_without_an_address_is_an_error() -> None:
    with pytest.raises(Unusable, match="u-9 has not published etcd_addr or addr"):
        render("etcd", verdict("bootstrap", *THREE, Peer("u-9", {}, 9)))


BAD_MEMBERS = [Peer("u-9", {}, 9), Peer("u-9", {"addr": ""}, 9), Peer("u-9", {"addr": "10.0.0.9", "name": "TWO"}, 9)]


@pytest.mark.parametrize("bad", BAD_MEMBERS, ids=["none", "empty", "name of another"])
def test_a_member_with_a_bad_address_does_not_keep_others_from_rejoining(bad: Peer) -> None:
    warnings: list[str] = []
    for name in ("etcd", "galera", "hosts", "zookeeper", "env"):
        good = render(name, verdict("join"))
        with_it = verdict("join", *THREE, bad)._replace(warn=warnings.append)
        assert set(good.splitlines()) - set(render(name, with_it).splitlines()) <= {"PEERDATA_COUNT='3'"}
        assert "u-9" in warnings.pop()
        assert "left out" in render_warning(name, with_it)
        assert not warnings
    with pytest.raises(Unusable, match="u-9"):
        render("etcd", verdict("bootstrap", *THREE, bad))


def render_warning(name: str, what: View) -> str:
    """Return the only warning."""
    warnings: list[str] = []
    render(name, what._replace(warn=warnings.append))
    (warning,) = warnings
    return warning


@pytest.mark.parametrize("name", ["etcd", "galera", "hosts", "addresses"])
def test_a_joining_member_is_never_left_out_of_its_own_list(name: str) -> None:
    own = Peer("u-2", {"addr": "no address!"}, 1)
    with pytest.raises(Unusable, match="u-2"):
        render(name, verdict("join", THREE[0], own, THREE[2]))


@pytest.mark.parametrize("name", ["galera", "hosts", "addresses"])
def test_a_member_without_any_other_to_join_is_an_error(name: str) -> None:
    bad = Peer("u-1", {"addr": "10.0.0.1", "name": "no name!"}, 1)
    with pytest.raises(Unusable, match="none to join"):
        render(name, verdict("join", bad, THREE[1]))
    assert "10.0.0.12" in render(name, verdict("join", THREE[1])), "the only member there is"


def test_a_peer_of_another_service_is_left_out_silently_and_a_bad_one_with_a_warning() -> None:
    warnings: list[str] = []
    peers = (
        Peer("u-1", {"other": "x"}, 1),
        Peer("u-2", {"addr": "no address!"}, 2),
        Peer("u-3", {"addr": "10.0.0.3"}, 3),
    )
    assert render("addresses", view(*peers)._replace(warn=warnings.append)) == "10.0.0.3\n"
    assert len(warnings) == 1
    assert "u-2" in warnings[0]


def test_of_two_peers_with_one_name_the_first_keeps_it() -> None:
    warnings: list[str] = []
    peers = (Peer("u-1", {"addr": "10.0.0.1", "name": "db"}, 1), Peer("u-2", {"addr": "10.0.0.2", "name": "DB"}, 2))
    assert render("hosts", view(*peers)._replace(warn=warnings.append)) == "10.0.0.1 db\n"
    assert warnings


# Hostile peers

HOSTILE = [
    "x\n127.0.0.1 www.example.org", "10.0.0.1\nevil", "$(touch /tmp/x)", "`id`", "a'; id; '", 'a" \\', "a,b=c", "a b",
    "${IFS}", "-h", "\x1b[31m", "\u2028", "a\r\nb", "a#b", "{{x}}", "a\tb", "]", "..", "",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.reads != "all keys"])
def test_an_invalid_address_or_name_reaches_no_configuration(name: str, value: str) -> None:
    make = (lambda *peers: verdict("join", *peers)) if name == "zookeeper" else view
    good = render(name, make())
    warnings: list[str] = []
    bad = Peer("u-8", {"addr": value}, 8), Peer("u-9", {"addr": "10.0.0.9", "name": value}, 9)
    assert render(name, make(*THREE, *bad)._replace(warn=warnings.append)) == good
    assert len(warnings) == 2
    for peer in bad:
        with pytest.raises(Unusable):
            render("etcd", verdict("bootstrap", *THREE, peer))


@pytest.mark.parametrize("name", ["localhost", "localhost.localdomain", "ip6-loopback", "www.example.org", "a_b"])
def test_a_peer_cannot_be_localhost_or_a_host_of_another_domain(name: str) -> None:
    assert render("hosts", view(Peer("u-1", {"addr": "10.0.0.1", "name": name}, 1))) == ""


@given(value=st.text(max_size=255), key=st.text("abc-_:. '$", min_size=1, max_size=9))
def test_a_shell_evaluates_exactly_what_was_published(value: str, key: str) -> None:
    """The shell's own words, by its own rules; the live shell is asked below."""
    text = render("env", view(Peer("u-1", {key: value}, 1)))
    for line in shlex.split(text.replace("\n", " ")):
        assert re.match(r"PEERDATA_[A-Z0-9_]+=", line)
    assert shlex.split(text)[0] == "PEERDATA_SELF=u-2"


@pytest.mark.parametrize("value", HOSTILE)
def test_a_shell_that_evals_env_runs_nothing_a_peer_published(value: str) -> None:
    text = render("env", view(Peer("u-1", {"k": value}, 1)))
    shown = subprocess.run(
        ["/bin/sh", "-ec", f'{text}\nprintf %s "${{PEERDATA_1_K-none}}"'], capture_output=True, timeout=10, check=True
    )
    assert shown.stdout.decode() == (value if not re.search(r"[\x00-\x1f\x7f]", value) else "none")
    assert shown.stderr == b""


def test_of_two_keys_with_one_variable_the_first_is_used() -> None:
    text = render("env", view(Peer("u-1", {"a-b": "first", "a.b": "second"}, 1)))
    assert "PEERDATA_1_A_B='first'" in text
    assert "second" not in text


@pytest.mark.parametrize("value", HOSTILE)
def test_a_table_never_controls_the_terminal(value: str) -> None:
    text = render("table", view(Peer("u-1", {"k": value}, 1)))
    assert len(text.split("\n")) == 3
    assert all(character.isprintable() for character in text.replace("\n", ""))


@given(st.text())
def test_json_is_ascii_and_has_the_published_value(value: str) -> None:
    text = render("json", view(Peer("u-1", {"k": value}, 1)))
    assert json.loads(text)[0]["meta"] == {"k": value}
    assert text.isascii()


def test_the_json_of_a_verdict_has_all_of_it() -> None:
    shown = json.loads(render("json", verdict("bootstrap")))
    assert (shown["verdict"], shown["term"], shown["self"]) == ("bootstrap", 2, "u-2")
    assert shown["members"][1] == {
        "uuid": "u-2", "self": True, "meta": {"addr": "10.0.0.12:1234", "name": "two"}, "ordinal": 1, "founder": True
    }  # fmt: skip


def test_an_unknown_format_is_misuse() -> None:
    with pytest.raises(Misused, match="galera"):
        render("nonsense", view())


# The user's own template


def test_a_template_is_filled_in_and_its_block_is_repeated_for_each_peer() -> None:
    text = "# $count peers\n%for peer\nserver ${name} ${endpoint};\n%end\nall: \n%for peer , \n${host}\n%end\n$$\n"
    assert templates.render(text, view(port=80)) == (
        "# 3 peers\nserver one 10.0.0.11:80;\nserver two 10.0.0.12:1234;\nserver u-3 [fd00::13]:80;\n"
        "all: \n10.0.0.11, 10.0.0.12, [fd00::13]\n$\n"
    )


def test_a_template_inserts_a_published_value_unquoted_only_if_it_is_plain() -> None:
    peer = Peer("u-1", {"addr": "10.0.0.1", "k": 'it\'s "x"\n$'}, 1)
    block = "%for peer\n{}\n%end\n"
    with pytest.raises(Unusable, match="json:k"):
        templates.render(block.format("${meta:k}"), view(peer))
    assert json.loads(templates.render(block.format("${json:k}"), view(peer))) == peer.meta["k"]
    assert shlex.split(templates.render(block.format("${sh:k}"), view(peer))) == [peer.meta["k"]]
    assert templates.render(block.format("${meta:addr}"), view(peer)) == "10.0.0.1\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\n$nothing\n", "line 2"), ("%for peer\nx\n", "line 1"), ("${\n", "line 1"), ("$name\n", "line 1")],
)
def test_an_invalid_template_is_reported_with_its_line(text: str, line: str) -> None:
    with pytest.raises(Misused, match=line):
        templates.render(text, view())
