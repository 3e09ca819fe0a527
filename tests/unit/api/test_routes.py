"""The URL table: which call a target means, and what stands in its query."""

import posixpath
import tracemalloc
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerdata.api.routes import LISTED, PATHS, Call, parameters, understand
from peerdata.errors import ParameterInvalid

OURS = [
    ("/openstack/latest/metadata", Call.PUBLISH),
    ("/openstack/latest/meta_data.json", Call.META_DATA),
    ("/openstack/latest/shared.json", Call.SHARED),
    ("/openstack/latest/peer_data.json", Call.PEER_DATA),
    ("/openstack/latest/peer_data/last_error.json", Call.LAST_ERROR),
    ("/openstack/latest", Call.LISTING),
]


@pytest.mark.parametrize(("path", "call"), OURS)
def test_each_call_has_its_path_under_every_version(path: str, call: Call) -> None:
    for version in ("latest", "2018-08-27", "2012-08-10", "anything"):
        target = understand(path.replace("latest", version).encode())
        assert (target.call, target.version) == (call, version)


@pytest.mark.parametrize(
    "variant",
    [
        "{}/",
        "{}//",
        "{}/.",
        "{}/x/..",
        "/.{}",
        "/x/..{}",
        "/../..{}",
        "/{}",
        "//{}",
        "/%2F{}",
    ],
)
@pytest.mark.parametrize(("path", "call"), OURS)
def test_a_path_is_normalised_as_nova_does(path: str, call: Call, variant: str) -> None:
    assert understand(variant.format(path).encode()).call is call


@pytest.mark.parametrize(
    ("target", "call", "version"),
    [
        ("/openstack//latest//shared.json", Call.SHARED, "latest"),
        ("/openstack/latest/./shared.json", Call.SHARED, "latest"),
        ("/openstack/x/../latest/shared.json", Call.SHARED, "latest"),
        ("/openstack/latest/peer_data/../shared.json", Call.SHARED, "latest"),
        ("/openstack/latest/shared%2Ejson", Call.SHARED, "latest"),
        ("/openstack%2Flatest%2fshared.json", Call.SHARED, "latest"),
        ("/%6Fpenstack/latest/shared.json", Call.SHARED, "latest"),
        ("/openstack/%6Catest/shared.json", Call.SHARED, "latest"),
        ("/openstack/latest/%2E%2E/latest/shared.json", Call.SHARED, "latest"),
        ("/openstack/latest/shared.json?", Call.SHARED, "latest"),
        ("/openstack/latest/shared.json?a/../b", Call.SHARED, "latest"),
        ("/openstack/latest/peer_data%2Flast_error.json", Call.LAST_ERROR, "latest"),
        ("/openstack/latest/", Call.LISTING, "latest"),
        ("/openstack/2018-08-27/", Call.LISTING, "2018-08-27"),
        ("openstack/latest/shared.json", Call.SHARED, "latest"),
    ],
)
def test_escapes_and_detours_lead_to_the_same_call(target: str, call: Call, version: str) -> None:
    understood = understand(target.encode())
    assert (understood.call, understood.version) == (call, version)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "",
        "*",
        "?",
        "/?openstack/latest/shared.json",
        "/openstack",
        "/openstack/",
        "/openstack/..",
        "/openstack/latest/..",
        "/Openstack/latest/shared.json",
        "/openstack/latest/Shared.json",
        "/openstack/latest/shared.json/x",
        "/openstack/latest/shared.json%00",
        "/openstack/latest/shared.json%20",
        "/openstack/latest/shared.json;x",
        "/openstack/latest/shared%252Ejson",
        "/openstack/latest/shared.json%3Fx",
        "/openstack/latest/peer_data",
        "/openstack/latest/last_error.json",
        "/openstack/latest/metadata/x",
        "/openstack/latest/user_data",
        "/openstack/latest/password",
        "/openstack/latest/vendor_data2.json",
        "/openstack/shared.json/x",
        "/latest/meta-data/",
        "/2009-04-04/meta-data/instance-id",
        "/latest/shared.json",
        "/x/openstack/latest/shared.json",
        "/openstack/latest/sh\u00e4red.json",
        "/openstack/latest/%FF",
    ],
)
def test_everything_else_is_novas(target: str) -> None:
    understood = understand(target.encode())
    assert (understood.call, understood.version) == (Call.OTHER, "")


@given(
    st.lists(
        st.sampled_from(["", ".", "..", "openstack", "latest", "shared.json", "metadata", "peer_data", "x"]), max_size=8
    )
)
def test_any_path_means_what_novas_own_rule_makes_of_it(parts: list[str]) -> None:
    """Paste.urlmap makes slashes in front one; nova, api/metadata/base.py, lookup: normpath, then split at slashes."""
    path = "/" + "/".join(parts)
    normal = posixpath.normpath("/" + path.lstrip("/"))
    tokens = normal.split("/")[1:]
    understood = understand(path.encode())
    assert understood.path == normal
    if tokens[0] == "openstack" and len(tokens) >= 2:
        assert understood.call is PATHS.get("/".join(tokens[2:]), Call.OTHER)
    else:
        assert understood.call is Call.OTHER


@given(st.text())
def test_an_escaped_path_means_the_same_as_the_plain_one(text: str) -> None:
    everything_escaped = "".join(f"%{byte:02x}" for byte in f"/openstack/latest/{text}".encode())
    understood = understand(b"/" + everything_escaped[3:].encode())
    plain = understand(b"/openstack/latest/" + quote(text, safe="").encode())
    assert (understood.call, understood.path) == (plain.call, plain.path)


@given(st.binary() | st.binary().map(lambda tail: b"/openstack/latest/" + tail))
def test_any_target_is_understood(target: bytes) -> None:
    understood = understand(target)
    assert understood.path.startswith("/")
    understood.path.encode()
    assert understood.query == target.partition(b"?")[2]


def test_long_targets_are_not_kept_in_memory() -> None:
    """A thousand guests' requests of 64 KiB must not stay for ever."""
    tracemalloc.start()
    for number in range(50):
        understand(b"/openstack/latest/%d?%s" % (number, b"x" * 60_000))
        understand(b"/openstack/latest/%s/%d" % (b"x" * 60_000, number))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


def test_our_entries_are_listed_but_not_novas() -> None:
    assert LISTED == ("cluster/", "metadata", "peer_data.json", "peer_data/last_error.json", "shared.json")


# The query string


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", []),
        (b"&", []),
        (b"&&a=1&&b=2&", [("a", "1"), ("b", "2")]),
        (b"a", [("a", "")]),
        (b"a=", [("a", "")]),
        (b"=a", [("", "a")]),
        (b"=", [("", "")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a=1&a=2", [("a", "1"), ("a", "2")]),
        (b"b=1&a=2", [("b", "1"), ("a", "2")]),
        (b"a+b=c+d", [("a b", "c d")]),
        (b"a%20b=c%20d", [("a b", "c d")]),
        (b"a=%2B", [("a", "+")]),
        (b"a=%252B", [("a", "%2B")]),
        (b"a=%26%3D%25", [("a", "&=%")]),
        (b"a=%zz", [("a", "%zz")]),
        (b"a=%", [("a", "%")]),
        (b"a=%4", [("a", "%4")]),
        (b"a=%C3%BC%c3%bc", [("a", "üü")]),
        ("a=ü".encode(), [("a", "ü")]),
        (b"a=%C3\xbc", [("a", "ü")]),
        (b"a=%00%0A", [("a", "\0\n")]),
        (b"a;b=1", [("a;b", "1")]),
        (b"a=?b/..", [("a", "?b/..")]),
        (b"a=%F0%9F%99%82", [("a", "🙂")]),
    ],
)
def test_parameters_are_form_decoded_in_order(query: bytes, found: list[tuple[str, str]]) -> None:
    assert parameters(query) == found


@pytest.mark.parametrize("query", [b"a=%E9", b"%E9=a", b"a=%C3", b"a=\xff", b"a=%ED%A0%80", b"a=%C0%80", b"ok=1&a=%80"])
def test_a_query_that_is_not_utf8_is_refused(query: bytes) -> None:
    with pytest.raises(ParameterInvalid, match="UTF-8"):
        parameters(query)


@given(st.binary())
def test_any_query_is_understood_or_invalid(query: bytes) -> None:
    try:
        found = parameters(query)
    except ParameterInvalid:
        return
    for name, value in found:
        name.encode()
        value.encode()


@given(st.lists(st.tuples(st.text(), st.text())))
def test_what_a_client_encoded_is_what_is_decoded(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    assert parameters(query.encode()) == pairs
