"""A request to nova as bytes: whole, unchanged, and nothing in it that its sender did not say."""

import pytest

from peerdata.errors import RequestMalformed
from peerdata.upstream.messages import write_request

Pairs = list[tuple[bytes, bytes]]


def lines(method: str = "GET", target: bytes = b"/a", headers: Pairs | None = None, body: bytes = b"") -> list[bytes]:
    return write_request(method, target, headers or [], body, b"nova:8775").wire.split(b"\r\n")


def test_target_and_headers_are_written_as_they_came() -> None:
    headers = [(b"x-b", b"1"), (b"host", b"a"), (b"x-a", b"\xe9"), (b"x-b", b"2"), (b"x-e", b"")]
    assert lines(target=b"/a//b/../c?%zz&&=#x", headers=headers) == [
        b"GET /a//b/../c?%zz&&=#x HTTP/1.1",
        b"x-b: 1",
        b"host: a",
        b"x-a: \xe9",
        b"x-b: 2",
        b"x-e: ",
        b"",
        b"",
    ]


def test_without_a_host_there_is_nova_s() -> None:
    assert lines() == [b"GET /a HTTP/1.1", b"host: nova:8775", b"", b""]


def test_bytes_outside_ascii_are_escaped() -> None:
    assert lines(target=b"/\xc3\xa9?\xff")[0] == b"GET /%C3%A9?%FF HTTP/1.1"


@pytest.mark.parametrize("name", [b"connection", b"keep-alive", b"te", b"transfer-encoding", b"upgrade", b"expect"])
def test_what_belongs_to_a_connection_is_left_out(name: bytes) -> None:
    assert lines(headers=[(name, b"x"), (b"host", b"a")]) == [b"GET /a HTTP/1.1", b"host: a", b"", b""]


@pytest.mark.parametrize(
    ("method", "headers", "body", "stated"),
    [
        ("GET", [], b"", None),
        ("GET", [(b"content-length", b"0")], b"", b"0"),
        ("GET", [], b"abc", b"3"),
        ("POST", [], b"", b"0"),
        ("POST", [(b"content-length", b"99")], b"abc", b"3"),
        ("DELETE", [], b"", None),
    ],
)
def test_the_length_is_that_of_the_body(method: str, headers: Pairs, body: bytes, stated: bytes | None) -> None:
    told = lines(method, headers=headers, body=body)
    assert [line for line in told if line.startswith(b"content-length")] == (
        [b"content-length: " + stated] if stated else []
    )
    assert told[-1] == body


@pytest.mark.parametrize(("method", "closes"), [("GET", False), ("HEAD", False), ("POST", True), ("DELETE", True)])
def test_what_is_not_repeated_asks_nova_to_close(method: str, closes: bool) -> None:
    assert (b"connection: close" in lines(method)) is closes


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"*", []),
        (b"", []),
        (b"http://elsewhere/", []),
        (b"/a HTTP/1.1\r\nx: y", []),
        (b"/a b", []),
        (b"/a\nb", []),
        (b"/", [(b"x", b"y\r\nx-instance-id: other")]),
        (b"/", [(b"x\r", b"y")]),
        (b"/", [(b"x", b"y\n")]),
        (b"/", [(b"host", b"a"), (b"host", b"a")]),
    ],
)
def test_nobody_writes_lines_of_his_own(target: bytes, headers: Pairs) -> None:
    with pytest.raises(RequestMalformed):
        lines(target=target, headers=headers)


def test_who_asks_is_the_instance_and_the_project_or_the_address() -> None:
    headers = [(b"x-forwarded-for", b"10.0.0.1"), (b"x-instance-id", b"i"), (b"x-tenant-id", b"t")]
    for given, expected in ((headers, (b"i", b"t")), (headers[:1], (b"10.0.0.1", b"10.0.0.1")), ([], (b"", b""))):
        written = write_request("GET", b"/", given, b"", b"nova")
        assert (written.caller, written.project) == expected
