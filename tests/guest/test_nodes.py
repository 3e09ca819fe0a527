"""The rules of what is written: what an instance may offer, and whom a founder lists."""

from __future__ import annotations

import pytest

from peerdata.guest.answers import read_verdict
from peerdata.guest.errors import Misused, Unusable
from peerdata.guest.formats import FORMATS, check_members, render
from peerdata.guest.formats.nodes import Options, View, check_offered, check_published

DB = Options(prefix="db_")
OTHER = Options(prefix="db_", address_key="client", name_key="host")


@pytest.mark.parametrize(
    ("meta", "options", "is_written", "result"),
    [
        # Without a format only CLUSTER_addr is checked.
        ({}, DB, False, False),
        ({"db_addr": "10.0.0.1"}, DB, False, True),
        ({"db_addr": ""}, DB, False, "db_addr is not an address: ''"),
        ({"addr": "nonsense!"}, DB, False, True),
        ({"db_name": "no name"}, DB, False, False),
        ({"client": "nonsense!"}, OTHER, False, True),
        ({"db_addr": "nonsense!"}, OTHER, False, "db_addr is not an address"),
        # With one, the key that the format reads, and the name.
        ({}, DB, True, False),
        ({"db_addr": "[fd00::1]:80"}, DB, True, True),
        ({"addr": "nonsense!"}, DB, True, "addr is not an address"),
        ({"addr": "nonsense!", "db_addr": "10.0.0.1"}, DB, True, True),
        ({"client": ":1"}, OTHER, True, "client is not an address: ':1'"),
        ({"addr": "10.0.0.1"}, OTHER, True, False),
        ({"db_addr": "10.0.0.1", "db_name": "no name"}, DB, True, "db_name is not a valid name: 'no name'"),
        ({"db_addr": "10.0.0.1", "name": "no name", "db_name": "one"}, DB, True, True),
        ({"client": "10.0.0.1", "host": "-h"}, OTHER, True, "host is not a valid name: '-h'"),
    ],
)
def test_an_offer_is_checked_before_it_is_published(
    meta: dict[str, str], options: Options, is_written: bool, result: bool | str
) -> None:
    if isinstance(result, bool):
        assert check_offered(meta, options, is_written=is_written) is result
    else:
        with pytest.raises(Misused) as caught:
            check_offered(meta, options, is_written=is_written)
        assert caught.value.message.startswith(result)
        assert caught.value.message.endswith("; nothing was published")


def test_a_long_invalid_value_is_shown_in_part() -> None:
    with pytest.raises(Unusable) as caught:
        check_published("db_addr", "\x1b" * 255)
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()


def view_of(founders: str, of_term: set[str]) -> View:
    """The view of the instance ``a`` that bootstraps with the others *of_term*, of a cluster with three members."""
    members = [
        {"uuid": uuid, "ordinal": number, "founder": uuid in of_term, "meta": {"from_server_addr": f"10.0.0.{number}"}}
        for number, uuid in enumerate("abc")
    ]
    document = {
        "cluster": "db", "verdict": "bootstrap", "size": 3, "founders": founders, "closed": False, "term": 1,
        "ordinal": 0, "formed": False, "members": members, "why": "why", "self": "a", "revision": 1, "poll_after_s": 1,
    }  # fmt: skip
    verdict = read_verdict(document, "db")
    return View(verdict.members, verdict.own_uuid, Options(prefix="db_"), verdict)


@pytest.mark.parametrize(
    ("founders", "of_term", "listed"),
    [("one", {"a"}, "a"), ("all", {"a", "b", "c"}, "abc"), ("majority", {"a", "b"}, "ab"), ("one", set(), "a")],
)
def test_a_founder_lists_the_founders_of_the_answer_whatever_the_mode(
    founders: str, of_term: set[str], listed: str
) -> None:
    """A mode that this version does not know needs no change here."""
    assert [node.uuid for node in view_of(founders, of_term).nodes()] == list(listed)


def test_only_several_founders_give_consul_a_number_to_expect() -> None:
    assert "bootstrap_expect" not in render("consul", view_of("one", {"a"}))
    for mode in ("all", "majority"):
        assert '"bootstrap_expect": 3' in render("consul", view_of(mode, {"a", "b", "c"}))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_that_writes_ordinals_needs_members(name: str) -> None:
    check_members(name, has_members=True)
    if FORMATS[name].needs_members:
        with pytest.raises(Misused, match=f"the format {name} is for `join` only"):
            check_members(name, has_members=False)
    else:
        check_members(name, has_members=False)
    assert [name for name, form in FORMATS.items() if form.needs_members] == ["zookeeper"]


def test_only_json_and_table_do_without_addresses_and_only_json_has_the_verdict() -> None:
    assert [name for name, form in FORMATS.items() if not form.needs_addresses] == ["json", "table"]
    assert [name for name, form in FORMATS.items() if form.whole_verdict] == ["json"]
