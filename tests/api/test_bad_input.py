"""Every bad input: a 400 with its code and a sentence that helps, nothing stored, and the reason can be read again."""

import pytest

from peerdata.errors import BodyTimedOut, BodyTooLarge

from .conversation import Guest

GOOD = b'{"meta": {"k": "v"}}'

PUBLISH = [
    ("empty body", "", b"", "body.empty"),
    ("empty body, to be shared", "shared=project", b"", "body.empty"),
    ("cut JSON", "", b'{"meta": {"k": "v', "body.not_json"),
    ("not UTF-8", "", b'{"meta": {"k": "\xff"}}', "body.not_utf8"),
    ("not an object", "", b"[]", "body.not_object"),
    ("no meta", "", b"{}", "meta.missing"),
    ("empty meta", "", b'{"meta": {}}', "meta.empty"),
    ("meta not an object", "", b'{"meta": []}', "meta.not_object"),
    ("a value that is not a string", "", b'{"meta": {"k": 1}}', "value.not_string"),
    ("a key twice in the body", "", b'{"meta": {"k": "v", "k": "v"}}', "key.repeated"),
    ("a key twice in the query", "meta.k=v&meta.k=v", b"", "key.repeated"),
    ("a key too long", "meta." + "k" * 244 + "=v", b"", "key.invalid"),
    ("an empty key", "meta.=v", b"", "key.invalid"),
    ("a key outside the alphabet", "meta.a/b=v", b"", "key.invalid"),
    ("a value too long", "meta.k=" + "v" * 256, b"", "value.too_long"),
    ("a lone surrogate", "", b'{"meta": {"k": "\\udc80"}}', "value.invalid"),
    ("NUL", "meta.k=%00", b"", "value.invalid"),
    ("chunk framing as a body", "", b"14\r\n" + GOOD + b"\r\n0\r\n\r\n", "body.not_json"),
    ("body and parameters", "meta.k=v", GOOD, "body.and_parameters"),
    ("another member in the body", "", b'{"meta": {"k": "v"}, "shared": true}', "body.member_unknown"),
    ("shared with another value", "shared=all&meta.k=v", b"", "shared.invalid"),
    ("shared empty", "shared=&meta.k=v", b"", "shared.invalid"),
    ("shared twice", "shared=project&shared=project&meta.k=v", b"", "shared.invalid"),
    ("share=project", "share=project&meta.k=v", b"", "parameter.unknown"),
    ("a query that is not UTF-8", "meta.k=%ff", b"", "parameter.invalid"),
    ("a good key beside a bad one", "meta.good=v&meta.b%2fad=v", b"", "key.invalid"),
]


@pytest.mark.parametrize(("query", "body", "code"), [row[1:] for row in PUBLISH], ids=[row[0] for row in PUBLISH])
async def test_a_bad_publish_is_refused_and_stores_nothing(
    alice: Guest, bob: Guest, query: str, body: bytes, code: str
) -> None:
    before = (await alice.get("meta_data.json")).meta
    refused = await alice.post(body, query)
    assert (refused.status, refused.code) == (400, code)
    assert len(refused.error["message"]) > 20
    assert (await alice.get("meta_data.json")).meta == before
    assert (await bob.get("peer_data.json")).json["revision"] == 0
    again = await alice.last_error()
    assert again.items() >= refused.error.items()
    assert again["call"] == "POST /openstack/latest/metadata"


OURS = ["metadata", "shared.json", "peer_data.json", "peer_data/last_error.json"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", OURS)
async def test_a_method_that_a_call_does_not_have_is_a_400(alice: Guest, path: str, method: str) -> None:
    """Behind neutron a 405 would not arrive."""
    refused = await alice.ask(method, f"/openstack/latest/{path}?shared=project&meta.k=v")
    assert (refused.status, refused.code) == (400, "method.unsupported")
    assert refused.error["method"] == method
    assert "POST" in refused.error["message"] or "GET" in refused.error["message"]
    assert (await alice.get("peer_data.json")).json["revision"] == 0


@pytest.mark.parametrize("path", OURS[1:])
async def test_post_to_a_list_is_a_400(alice: Guest, path: str) -> None:
    refused = await alice.ask("POST", f"/openstack/latest/{path}", GOOD)
    assert (refused.status, refused.code) == (400, "method.unsupported")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_meta_data_json_is_read_only(alice: Guest, method: str) -> None:
    refused = await alice.ask(method, "/openstack/latest/meta_data.json", GOOD)
    assert (refused.status, refused.code) == (400, "method.unsupported")


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("shared.json", "prefix=etcd_", "parameter.unknown"),
        ("shared.json", "x", "parameter.unknown"),
        ("shared.json", "=", "parameter.unknown"),
        ("shared.json", "%ff", "parameter.invalid"),
        ("peer_data/last_error.json", "since=1", "parameter.unknown"),
        ("peer_data.json", "sincee=1", "parameter.unknown"),
        ("peer_data.json", "Since=1", "parameter.unknown"),
        ("peer_data.json", "since=1&x=y", "parameter.unknown"),
        ("peer_data.json", "since=1&since=1", "parameter.repeated"),
        ("peer_data.json", "prefix=a&prefix=b", "parameter.repeated"),
        ("peer_data.json", "since=", "parameter.invalid"),
        ("peer_data.json", "since", "parameter.invalid"),
        ("peer_data.json", "since=-1", "parameter.invalid"),
        ("peer_data.json", "since=+1", "parameter.invalid"),
        ("peer_data.json", "since=1.0", "parameter.invalid"),
        ("peer_data.json", "since=1e3", "parameter.invalid"),
        ("peer_data.json", "since=0x1", "parameter.invalid"),
        ("peer_data.json", "since=1_000", "parameter.invalid"),
        ("peer_data.json", "since=%D9%A3", "parameter.invalid"),  # an Arabic three
        ("peer_data.json", "since=9223372036854775808", "parameter.invalid"),
        ("peer_data.json", "since=" + "9" * 5000, "parameter.invalid"),
        ("peer_data.json", "since=%001", "parameter.invalid"),
        ("peer_data.json", "prefix=a/b", "parameter.invalid"),
        ("peer_data.json", "prefix=" + "k" * 244, "parameter.invalid"),
        ("peer_data.json", "prefix=k%0A", "parameter.invalid"),
        ("peer_data.json", "wait=soon", "parameter.invalid"),
        ("peer_data.json", "wait=", "parameter.invalid"),
        ("peer_data.json", "wait=-1", "parameter.invalid"),
    ],
)
async def test_a_parameter_that_a_list_does_not_know_or_understand_is_a_400(
    alice: Guest, path: str, query: str, code: str
) -> None:
    await alice.publish("a=1", shared=True)
    refused = await alice.get(path, query)
    assert (refused.status, refused.code) == (400, code)


@pytest.mark.parametrize("query", ["x=y", "since=x", "%ff", "&&", "meta.k=v"])
async def test_meta_data_json_ignores_parameters_as_nova_does(alice: Guest, query: str) -> None:
    assert (await alice.get("meta_data.json", query)).status == 200


@pytest.mark.parametrize(
    "fault", [BodyTooLarge("the body is over 65536 bytes", limit=65_536), BodyTimedOut("too slow")]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "metadata"), ("GET", "shared.json"), ("GET", "meta_data.json"), ("POST", "meta_data.json")],
)
async def test_a_body_that_was_given_up_is_a_400_that_can_be_read_again(
    alice: Guest, method: str, path: str, fault: BodyTooLarge | BodyTimedOut
) -> None:
    refused = await alice.ask(method, f"/openstack/latest/{path}", GOOD, fault=fault)
    assert (refused.status, refused.error["code"]) == (400, fault.code)
    assert (await alice.last_error())["code"] == fault.code
    assert (await alice.get("peer_data.json")).json["revision"] == 0


async def test_what_is_wrong_with_the_query_is_told_before_the_body(alice: Guest) -> None:
    """Docs/protocol.md: "identity, then path and method, then query, then body"."""
    refused = await alice.ask(
        "POST", "/openstack/latest/metadata?share=project", GOOD, fault=BodyTooLarge("over 65536 bytes")
    )
    assert refused.code == "parameter.unknown"


@pytest.mark.parametrize(
    ("method", "target", "body", "first"),
    [
        ("PUT", "/openstack/latest/metadata?x=y", b"{", "method.unsupported"),
        ("POST", "/openstack/latest/metadata?x=y&meta.a/b=", b"{", "parameter.unknown"),
        ("POST", "/openstack/latest/metadata?shared=no", b"{", "shared.invalid"),
        ("POST", "/openstack/latest/metadata", b'{"meta": {"a/b": "", "b": 1}}x', "body.not_json"),
        ("POST", "/openstack/latest/metadata?meta.taken=x&meta.a/b=y", b"", "key.invalid"),
    ],
)
async def test_the_first_thing_wrong_is_what_is_reported(
    alice: Guest, method: str, target: str, body: bytes, first: str
) -> None:
    await alice.publish("taken=1")
    assert (await alice.ask(method, target, body)).code == first


async def test_who_is_nobody_is_told_so_whatever_else_is_wrong(stranger: Guest) -> None:
    for heard in (
        await stranger.post(b"{", "x=y"),
        await stranger.ask("PUT", "/openstack/latest/shared.json"),
        await stranger.get("shared.json", "x=y"),
        await stranger.get("meta_data.json"),
        await stranger.get("peer_data/last_error.json"),
        await stranger.get("shared.json", version="1999-01-01"),
        await stranger.ask("GET", "/"),
        await stranger.ask("GET", "/openstack/latest/user_data"),
    ):
        assert (heard.status, heard.code) == (404, "identity.unknown")
        assert heard.error["address"] == stranger.client
