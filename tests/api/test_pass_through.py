"""Everything that is not ours: to nova as it came, and back as it is, byte for byte."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest

from peerdata.errors import BodyTooLarge

from .conftest import Cloud
from .conversation import Guest
from .fake_nova import FakeNova, answer_bytes


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/latest/meta-data/",
        b"/2009-04-04/meta-data/instance-id",
        b"/openstack",
        b"/openstack/latest/user_data",
        b"/openstack/latest/vendor_data2.json?x=y&x=y&&=",
        b"/openstack/latest/password",
        b"/openstack/latest/metadata",
        b"/openstack/2018-08-27/network_data.json",
        b"/openstack/1999-01-01/shared.json",
        b"//latest//meta-data/",
        b"/a/../b/./c",
        b"/a%2Fb%2fc%3F%23%25%zz%",
        b"/%E9%FF%00",
        b"/a+b%20c?d+e=%2B",
        b'/a"<b>[c]{d}|e^f`g\\h',
        b"/a?b?c=/../d",
        b"/a;b=c,d@e:f!$&'()*",
        b"/" + b"x" * 8000 + b"?" + b"y" * 8000,
    ],
)
async def test_path_and_query_arrive_as_they_were_sent(behind_nova: Cloud, target: bytes) -> None:
    await behind_nova.alice.ask("GET", target)
    assert behind_nova.nova.seen[-1].target == target


@pytest.mark.parametrize("target", [b"/a?", b"/a#b", b"/a?b#c"])
async def test_an_empty_query_and_a_number_sign_arrive_too(behind_nova: Cloud, target: bytes) -> None:
    """Llhttp lets a number sign through; what it means is nova's to say."""
    await behind_nova.alice.ask("GET", target)
    assert behind_nova.nova.seen[-1].target == target


@pytest.fixture
async def elsewhere() -> AsyncIterator[FakeNova]:
    """A server that nobody configured; whatever arrives there has been led astray."""
    server = FakeNova()
    await server.open()
    yield server
    await server.close()


@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT"])
@pytest.mark.parametrize("begin", [b"*@", b"@", b"x@"])
async def test_no_target_leads_anywhere_but_to_nova(
    behind_nova: Cloud, elsewhere: FakeNova, method: str, begin: bytes
) -> None:
    """``GET *@host:port/ HTTP/1.1`` passes llhttp, and so does ``CONNECT @host:port``."""
    heard = await behind_nova.alice.ask(method, begin + b"127.0.0.1:%d/openstack" % elsewhere.port)
    assert elsewhere.seen == []
    assert heard.status in (400, 404)


@pytest.mark.parametrize(("method", "target"), [("OPTIONS", b"*"), ("CONNECT", b"example.org:443"), ("GET", b"*x")])
async def test_a_target_without_a_path_is_the_requests_fault(behind_nova: Cloud, method: str, target: bytes) -> None:
    heard = await behind_nova.alice.ask(method, target)
    assert heard.status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH"])
async def test_every_method_arrives(behind_nova: Cloud, method: str) -> None:
    await behind_nova.alice.ask(method, "/openstack/latest/user_data")
    assert behind_nova.nova.seen[-1].method == method


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
@pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)), b"\r\n\r\n", b"x" * 65_536])
async def test_a_body_arrives_whole_and_no_other_way_of_sending_it_is_chosen(
    behind_nova: Cloud, method: str, body: bytes
) -> None:
    await behind_nova.alice.ask(method, "/openstack/latest/password", body)
    seen = behind_nova.nova.seen[-1]
    assert seen.body == body
    assert seen.header(b"transfer-encoding") is None
    assert seen.header(b"expect") is None
    if body or method in ("POST", "PUT"):
        assert seen.header(b"content-length") == str(len(body)).encode()


async def test_headers_arrive_as_they_were_sent_and_none_is_added(behind_nova: Cloud) -> None:
    headers = [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-encoding", b"gzip"),
        (b"accept", b"a"),
        (b"accept", b"b"),
        (b"user-agent", b"curl/8"),
        (b"authorization", b"Basic eDp5"),
        (b"cookie", b"a=b; c=d"),
        (b"if-none-match", b'"x"'),
        (b"accept-encoding", b"gzip, br"),
        (b"x-empty", b""),
        (b"x_underscore", b"1"),
    ]
    alice = behind_nova.alice
    await alice.ask("POST", "/openstack/latest/password", b"x", headers=headers)
    arrived = [(name.lower(), value) for name, value in behind_nova.nova.seen[-1].headers]
    ours = {b"content-length", b"connection"}
    assert [header for header in arrived if header[0] not in ours] == [
        (b"host", b"169.254.169.254"),
        *alice.headers,
        *headers,
    ]


async def test_a_get_without_headers_arrives_without_any_of_a_library(behind_nova: Cloud) -> None:
    await Guest(behind_nova.parts.instances, "").ask("GET", "/latest/")
    names = {name.lower() for name, _ in behind_nova.nova.seen[-1].headers}
    assert names <= {b"host", b"connection"}


async def test_a_header_that_is_not_ascii_arrives_as_it_was_sent(behind_nova: Cloud) -> None:
    await behind_nova.alice.ask("GET", "/latest/", headers=[(b"x-odd", b"\xe9\xff")])
    assert behind_nova.nova.seen[-1].header(b"x-odd") == b"\xe9\xff"


async def test_host_twice_is_the_requests_fault(behind_nova: Cloud) -> None:
    """RFC 9112, 3.2."""
    heard = await behind_nova.alice.ask("GET", "/latest/", headers=[(b"host", b"other")])
    assert heard.status == 400


async def test_headers_of_one_connection_do_not_arrive(behind_nova: Cloud) -> None:
    await behind_nova.alice.ask(
        "POST",
        "/openstack/latest/password",
        b"x",
        headers=[
            (b"connection", b"upgrade"),
            (b"upgrade", b"h2c"),
            (b"te", b"trailers"),
            (b"transfer-encoding", b"chunked"),
            (b"keep-alive", b"timeout=5"),
            (b"expect", b"100-continue"),
            (b"content-length", b"999"),
        ],
    )
    seen = behind_nova.nova.seen[-1]
    assert seen.body == b"x"
    for name in (b"upgrade", b"te", b"transfer-encoding", b"keep-alive", b"expect"):
        assert seen.header(name) is None


STATUSES = """
200 201 202 206 300 301 302 303 307 308 400 401 403 404 405 407 409 410 413 416 418 429 500 501 502 503 504 507
"""


@pytest.mark.parametrize("status", [int(status) for status in STATUSES.split()])
async def test_every_status_comes_back_with_its_body(behind_nova: Cloud, status: int) -> None:
    """Redirections are not followed, and novas' refusals are not ours."""
    behind_nova.nova.say(status, b"of nova", (b"Location", b"http://127.0.0.1:1/"), (b"Retry-After", b"7"))
    heard = await behind_nova.alice.get("user_data")
    assert (heard.status, heard.body, heard.content_type) == (status, b"of nova", b"text/plain")
    assert heard.headers == ((b"Location", b"http://127.0.0.1:1/"), (b"Retry-After", b"7"))
    assert len(behind_nova.nova.seen) == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_comes_back(behind_nova: Cloud, status: int) -> None:
    behind_nova.nova.say_bytes(b"HTTP/1.1 %d X\r\nETag: x\r\n\r\n" % status)
    heard = await behind_nova.alice.get("user_data")
    assert (heard.status, heard.body, heard.headers) == (status, b"", ((b"ETag", b"x"),))


@pytest.mark.parametrize("body", [b"", b"\0", bytes(range(256)) * 4, b"x" * 1_000_000, b"\xef\xbb\xbf", b"\r\n"])
async def test_any_body_comes_back_as_it_is(behind_nova: Cloud, body: bytes) -> None:
    behind_nova.nova.say(200, body, content_type=b"application/octet-stream")
    heard = await behind_nova.alice.get("user_data")
    assert (heard.body, heard.content_type) == (body, b"application/octet-stream")


async def test_what_nova_says_before_its_answer_is_not_the_answer(behind_nova: Cloud) -> None:
    behind_nova.nova.say_bytes(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer_bytes(200, b"abc")
    )
    heard = await behind_nova.alice.get("user_data")
    assert (heard.status, heard.body) == (200, b"abc")


@pytest.mark.parametrize("status", [101, 600, 999])
async def test_a_status_that_is_no_answer_is_a_502(behind_nova: Cloud, status: int) -> None:
    """`Answer.status` is 200 to 599; 101 would leave the connection to another protocol."""
    behind_nova.nova.say_bytes(b"HTTP/1.1 %d X\r\nContent-Length: 1\r\n\r\nx" % status)
    heard = await behind_nova.alice.get("user_data")
    assert (heard.status, heard.code) == (502, "upstream.failed")


async def test_a_chunked_answer_comes_back_in_one_piece(behind_nova: Cloud) -> None:
    behind_nova.nova.say_bytes(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nX: y\r\n\r\n"
    )
    heard = await behind_nova.alice.get("user_data")
    assert (heard.status, heard.body) == (200, b"abc")
    assert (b"Transfer-Encoding", b"chunked") not in heard.headers


async def test_an_answer_that_ends_with_its_connection_comes_back(behind_nova: Cloud) -> None:
    behind_nova.nova.say_bytes(b"HTTP/1.0 200 OK\r\n\r\nabc")
    heard = await behind_nova.alice.get("user_data")
    assert (heard.status, heard.body, heard.content_type) == (200, b"abc", b"")


async def test_a_packed_answer_is_not_unpacked(behind_nova: Cloud) -> None:
    packed = gzip.compress(b"hello", mtime=0)
    behind_nova.nova.say(200, packed, (b"Content-Encoding", b"gzip"))
    heard = await behind_nova.alice.get("user_data")
    assert (heard.body, heard.headers) == (packed, ((b"Content-Encoding", b"gzip"),))


async def test_headers_come_back_in_order_with_their_bytes_and_case(behind_nova: Cloud) -> None:
    headers = ((b"X-B", b"1"), (b"x-a", b"\xe9\xff"), (b"X-B", b"2"), (b"Server", b"nova"), (b"Set-Cookie", b"a=b"))
    behind_nova.nova.say(200, b"x", *headers, (b"Connection", b"close"), (b"Keep-Alive", b"5"), (b"Date", b"x"))
    heard = await behind_nova.alice.get("user_data")
    assert heard.headers == headers


async def test_a_content_type_comes_back_as_it_is(behind_nova: Cloud) -> None:
    for content_type in (b"", b"text/plain", b'a/b; charset="x"', b"\xe9"):
        behind_nova.nova.say(200, b"x", content_type=content_type)
        assert (await behind_nova.alice.get("user_data")).content_type == content_type


async def test_a_cookie_of_one_guest_is_not_kept_for_the_next(behind_nova: Cloud) -> None:
    behind_nova.nova.say_bytes(answer_bytes(200, b"x", (b"Set-Cookie", b"session=alice; Path=/")), then="go on")
    await behind_nova.alice.get("user_data")
    behind_nova.nova.be_well()
    assert (await behind_nova.bob.get("user_data")).status == 200
    assert behind_nova.nova.seen[-1].header(b"cookie") is None


async def test_head_is_head_for_nova(behind_nova: Cloud) -> None:
    heard = await behind_nova.alice.ask("HEAD", "/openstack/latest/user_data")
    assert (heard.status, heard.body, heard.content_type) == (200, b"", b"application/octet-stream")


async def test_nova_itself_says_who_may_see_what_is_its_own(behind_nova: Cloud) -> None:
    """What passes through is not ours to judge: its refusals come back as nova words them."""
    nobody = Guest(behind_nova.parts.instances, "")
    assert (await nobody.get("user_data")).body == b"<html>refused</html>"
    forged = behind_nova.alice
    forged.headers[-1] = (b"x-instance-id-signature", b"0" * 64)
    heard = await forged.get("user_data")
    assert (heard.status, heard.content_type) == (403, b"text/html; charset=UTF-8")


async def test_reading_metadata_is_novas_404(behind_nova: Cloud) -> None:
    for method in ("GET", "HEAD"):
        assert (await behind_nova.alice.ask(method, "/openstack/latest/metadata")).status == 404
        assert behind_nova.nova.seen[-1].method == method


async def test_a_409_of_nova_comes_back(behind_nova: Cloud) -> None:
    heard = await behind_nova.alice.ask("POST", "/openstack/latest/password", b"x")
    assert (heard.status, heard.body) == (409, b"")


async def test_a_body_over_the_limit_does_not_reach_nova(behind_nova: Cloud) -> None:
    heard = await behind_nova.alice.ask(
        "POST", "/openstack/latest/password", b"x", fault=BodyTooLarge("the body is over 65536 bytes", limit=65_536)
    )
    assert (heard.status, heard.code) == (400, "body.too_large")
    assert behind_nova.nova.seen == []


@pytest.mark.parametrize(
    "method",
    [
        "POST",
        "PATCH",
        *(
            pytest.param(
                method,
            )
            for method in ("PUT", "DELETE")
        ),
    ],
)
async def test_a_call_that_may_change_something_is_never_sent_twice(behind_nova: Cloud, method: str) -> None:
    """A connection that nova is just closing looks like one on which it has done the work."""
    await behind_nova.alice.get("user_data")
    behind_nova.nova.say_bytes(b"")
    behind_nova.nova.seen.clear()
    heard = await behind_nova.alice.ask(method, "/openstack/latest/password", b"x")
    assert heard.status == 502
    assert [seen.method for seen in behind_nova.nova.seen] == [method]


@pytest.mark.parametrize("body", [b"x", b""])
async def test_a_connection_that_nova_closed_meanwhile_is_not_used_again(behind_nova: Cloud, body: bytes) -> None:
    """Nova behind gunicorn keeps one for 2 s, behind Apache for 5."""
    for _ in range(5):
        behind_nova.nova.say_bytes(answer_bytes(200, body))  # and closes, without having said so
        assert (await behind_nova.alice.get("user_data")).status == 200


async def test_many_at_once_each_get_their_own_answer(behind_nova: Cloud) -> None:
    heard = await asyncio.gather(
        *(
            guest.get("meta_data.json", version=version)
            for guest in (behind_nova.alice, behind_nova.bob, behind_nova.zoe)
            for version in ("latest", "2018-08-27")
            for _ in range(10)
        )
    )
    uuids = [one.json["uuid"] for one in heard]
    expected = [guest.uuid for guest in (behind_nova.alice, behind_nova.bob, behind_nova.zoe) for _ in range(20)]
    assert uuids == expected
