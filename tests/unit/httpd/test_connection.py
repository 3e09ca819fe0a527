# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What `httpd.messages` writes and `httpd.connection` understands, without a socket and with a clock set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from peerdata import metrics
from peerdata.errors import PeerdataError, ServerBusy
from peerdata.httpd.connection import FIRST_REQUEST_S, LINGER_BYTES, SLICE_BYTES, Common, Connection
from peerdata.httpd.messages import (
    CLOSES,
    GOES_ON,
    GOES_ON_SAID,
    JOIN_BYTES,
    Answer,
    HttpLimits,
    Request,
    client_of,
    origin_form,
    wire_form,
)

DATE = b"date: Sun, 22 Nov 2026 10:00:00 GMT\r\n"


def pieces_of(answer: Answer, method: str = "GET", ending: bytes = GOES_ON) -> list[bytes]:
    written = wire_form(answer, method, DATE, ending)
    return [written] if isinstance(written, bytes) else written


def head_lines(answer: Answer, method: str = "GET") -> list[bytes]:
    """The head of *answer*, line by line."""
    return b"".join(pieces_of(answer, method)).partition(b"\r\n\r\n")[0].split(b"\r\n")


# Answers


def test_an_answer_states_its_type_its_date_and_its_length() -> None:
    assert head_lines(Answer(200, b"[]")) == [
        b"HTTP/1.1 200 OK",
        b"content-type: application/json; charset=utf-8",
        DATE.strip(),
        b"content-length: 2",
    ]


def test_a_body_in_several_pieces_is_as_long_as_all_of_them() -> None:
    assert b"content-length: 7" in head_lines(Answer(200, (b"[1,", b"", b"2,3]")))


def test_a_body_of_no_pieces_has_length_0() -> None:
    assert b"content-length: 0" in head_lines(Answer(200, ()))


def test_an_answer_without_a_type_states_none() -> None:
    assert head_lines(Answer(200, b"x", content_type=b"")) == [b"HTTP/1.1 200 OK", DATE.strip(), b"content-length: 1"]


def test_further_headers_are_written_in_their_order() -> None:
    lines = head_lines(Answer(503, b"", headers=((b"retry-after", b"3"), (b"etag", b'"7"'))))
    assert lines.index(b"retry-after: 3") + 1 == lines.index(b'etag: "7"')


@pytest.mark.parametrize("body", [b"", b"x", (b"x", b"y"), b"x" * (JOIN_BYTES + 1)])
@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_have_none_and_state_no_length(status: int, body: bytes | tuple[bytes, ...]) -> None:
    (head,) = pieces_of(Answer(status, body))
    assert head.endswith(b"\r\n\r\n")
    assert b"content-length" not in head


@pytest.mark.parametrize("body", [b"x", (b"x", b"y"), b"x" * (JOIN_BYTES + 1)])
def test_head_gets_no_body_in_whatever_form_it_is(body: bytes | tuple[bytes, ...]) -> None:
    (head,) = pieces_of(Answer(200, body), "HEAD")
    assert head.endswith(b"\r\n\r\n")


def test_a_short_body_is_joined_to_its_head() -> None:
    (written,) = pieces_of(Answer(200, b"x" * JOIN_BYTES))
    assert written.endswith(b"\r\n\r\n" + b"x" * JOIN_BYTES)


def test_long_and_shared_bodies_are_not_copied() -> None:
    long = b"x" * (JOIN_BYTES + 1)
    assert pieces_of(Answer(200, long))[1] is long
    assert pieces_of(Answer(200, (long, long)))[1:] == [long, long]


def test_head_states_the_length_that_get_would_have() -> None:
    assert b"content-length: 5" in head_lines(Answer(200, b"hello"), "HEAD")


def test_head_states_the_length_that_somebody_else_said_it_would_have() -> None:
    assert b"content-length: 130000" in head_lines(Answer(200, b"", head_length=130_000), "HEAD")
    assert b"content-length: 0" in head_lines(Answer(200, b"", head_length=0), "HEAD")
    assert b"content-length: 2" in head_lines(Answer(200, b"[]", head_length=130_000), "GET")
    assert not [line for line in head_lines(Answer(204, b"", head_length=0), "HEAD") if b"content-length" in line]


def test_head_states_no_length_when_the_handler_had_no_body() -> None:
    """An answer passed through from elsewhere has none, and 0 would be wrong."""
    assert not [line for line in head_lines(Answer(200, b""), "HEAD") if line.startswith(b"content-length")]


def test_a_status_that_has_no_name_is_written_without_one() -> None:
    assert head_lines(Answer(599, b""))[0] == b"HTTP/1.1 599 "


@pytest.mark.parametrize("ending", [GOES_ON, GOES_ON_SAID, CLOSES])
def test_the_ending_says_how_the_connection_goes_on(ending: bytes) -> None:
    assert pieces_of(Answer(200, b""), ending=ending)[0].endswith(ending)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"", content_type=b"text/plain\r\nset-cookie: a=b"),
        Answer(200, b"", headers=((b"x", b"a\nb"),)),
        Answer(200, b"", headers=((b"x", b"a\rb"),)),
        Answer(200, b"", headers=((b"x: y\r\nz", b""),)),
    ],
)
def test_a_line_break_cannot_get_into_a_head(answer: Answer) -> None:
    with pytest.raises(ValueError, match="line break"):
        pieces_of(answer)


# Parts of a request


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a/b?x=1", b"/a/b?x=1"),
        (b"/a?u=http://b/c", b"/a?u=http://b/c"),
        (b"//a/b", b"//a/b"),
        (b"http://169.254.169.254/a?x=1", b"/a?x=1"),
        (b"HTTP://h:80/", b"/"),
        (b"http://h", b"/"),
        (b"http://h?x=1", b"/?x=1"),
        (b"http://h?x=/1", b"/?x=/1"),
        (b"*", b"*"),
        (b"h:443", b"h:443"),
    ],
)
def test_a_target_is_reduced_to_path_and_query(target: bytes, path: bytes) -> None:
    assert origin_form(target) == path


@pytest.mark.parametrize(
    ("peername", "client"),
    [
        (("10.0.0.11", 4711), "10.0.0.11"),
        (("fd00::b", 4711, 0, 0), "fd00::b"),
        (("fe80::1%eth0", 4711, 0, 2), "fe80::1"),
        (("::ffff:10.0.0.11", 4711, 0, 0), "10.0.0.11"),
        (("::ffff:0:0:1", 4711, 0, 0), "::ffff:0:0:1"),
        ("/run/peerdata.sock", ""),
        ("", ""),
        (b"", ""),
        (None, ""),
    ],
)
def test_the_client_is_a_bare_address(peername: object, client: str) -> None:
    assert client_of(peername) == client


def test_header_gives_the_first_of_its_name_or_none() -> None:
    request = Request("GET", b"/", [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")], b"", None, "")
    assert request.header(b"b") == b"2"
    assert request.header(b"c") is None


# Connections, with a transport that only takes notes


class Clock:
    """Stands for the event loop: its time, and what is to be called when the others have had their turn."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.soon: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)


class Notes(asyncio.Transport):
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.11", 4711)})
        self.written = b""
        self.unwritten = 0
        self.calls: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.written += b"".join(list_of_data)

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


class Talk:
    """One connection, its transport, its clock, and the requests that reached the handler."""

    def __init__(
        self, limits: HttpLimits | None = None, common: Common | None = None, rejection: PeerdataError | None = None
    ) -> None:
        self.clock = Clock()
        self.asked: list[Request] = []
        self.common = common or Common(self.answer, self.refuse, limits or HttpLimits(), date=DATE)
        self.notes = Notes()
        self.common.admission.enter("10.0.0.11", rejected=rejection is not None)
        self.connection = Connection(self.common, cast(asyncio.AbstractEventLoop, self.clock), "10.0.0.11", rejection)
        self.connection.connection_made(self.notes)

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        if request.fault is not None:
            raise request.fault
        return Answer(200, request.target)

    @staticmethod
    def refuse(error: PeerdataError) -> Answer:
        return Answer(400, error.code.encode())

    def say(self, data: bytes, step: int = 1 << 20) -> bytes:
        """Send *data* in pieces of *step* bytes; what was written since."""
        before = len(self.notes.written)
        for at in range(0, len(data), step):
            self.connection.data_received(data[at : at + step])
            self.let_others()
        return self.notes.written[before:]

    def let_others(self) -> None:
        """Let the others have their turn as often as it takes."""
        while self.clock.soon:
            self.clock.soon.pop(0)()

    def pass_time(self, seconds: float) -> None:
        """Let *seconds* go by, and the server look once."""
        self.clock.now += seconds
        if self.connection.deadline <= self.clock.now:
            self.connection.expire(self.clock.now)


GET = b"GET / HTTP/1.1\r\nhost: a\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize("step", [1 << 20, 1])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS on a plain port"),
        pytest.param(b"get / HTTP/1.1\r\n\r\n", id="lower-case method"),
        pytest.param(b"BREW / HTTP/1.1\r\n\r\n", id="unknown method"),
        pytest.param(b"GET foo HTTP/1.1\r\n\r\n", id="target without a slash"),
        pytest.param(b"GET *x HTTP/1.1\r\n\r\n", id="target that begins with an asterisk"),
        pytest.param(b"POST *@example.org HTTP/1.1\r\n\r\n", id="target with a user and a host"),
        pytest.param(b"GET /\x00 HTTP/1.1\r\n\r\n", id="NUL in the target"),
        pytest.param(b"GET /\xc3\xa4 HTTP/1.1\r\n\r\n", id="bytes over 127 in the target"),
        pytest.param(b"GET /a b HTTP/1.1\r\n\r\n", id="blank in the target"),
        pytest.param(b"GET /\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"GET / HTTP/1.2\r\n\r\n", id="HTTP/1.2"),
        pytest.param(b"GET / HTTP/2.0\r\n\r\n", id="HTTP/2.0"),
        pytest.param(b"GET / HTTP/2.0\r\nconnection: keep-alive\r\n\r\n", id="HTTP/2.0 that wants to stay"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(b"GET / HTTP/1.1\nhost: a\n\n", id="bare LF"),
        pytest.param(GET + b"a: b\nc: d\r\n\r\n", id="bare LF between headers"),
        pytest.param(GET + b"a: b\rc: d\r\n\r\n", id="bare CR in a value"),
        pytest.param(GET + b"a: b\r\n c\r\n\r\n", id="folded header"),
        pytest.param(b"POST / HTTP/1.1\r\ncontent-length:\r\n 5\r\n\r\nhello", id="folded Content-Length"),
        pytest.param(GET + b"a : b\r\n\r\n", id="blank before the colon"),
        pytest.param(GET + b"a\t: b\r\n\r\n", id="tab before the colon"),
        pytest.param(GET + b"ab\r\n\r\n", id="no colon"),
        pytest.param(GET + b": b\r\n\r\n", id="empty name"),
        pytest.param(GET + b"a(: b\r\n\r\n", id="bracket in a name"),
        pytest.param(GET + b"a\x00: b\r\n\r\n", id="NUL in a name"),
        pytest.param(GET + b"a: b\x00c\r\n\r\n", id="NUL in a value"),
        pytest.param(GET + b"a: b\x01c\r\n\r\n", id="control character in a value"),
        pytest.param(POST + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello", id="Content-Length twice"),
        pytest.param(POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", id="two Content-Lengths"),
        pytest.param(POST + b"content-length: 5, 5\r\n\r\nhello", id="Content-Length as a list"),
        pytest.param(POST + b"content-length: +5\r\n\r\nhello", id="Content-Length with plus"),
        pytest.param(POST + b"content-length: -5\r\n\r\nhello", id="Content-Length with minus"),
        pytest.param(POST + b"content-length: 0x5\r\n\r\nhello", id="Content-Length in hexadecimal"),
        pytest.param(POST + b"content-length: 5 5\r\n\r\nhello", id="Content-Length with a blank"),
        pytest.param(POST + b"content-length:\r\n\r\nhello", id="empty Content-Length"),
        pytest.param(POST + b"content-length: 18446744073709551621\r\n\r\nhello", id="Content-Length over 64 bits"),
        pytest.param(
            POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, id="both lengths"
        ),
        pytest.param(
            POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + NEXT, id="both lengths, turned"
        ),
        pytest.param(POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT, id="unknown coding"),
        pytest.param(POST + b"transfer-encoding: identity\r\n\r\n" + NEXT, id="identity coding"),
        pytest.param(
            POST + b"transfer-encoding:\r\ncontent-length: 3\r\n\r\nabc" + NEXT,
            id="empty coding",
            marks=pytest.mark.skipif(httptools.__version__ < "0.9", reason="this httptools takes it for none"),
        ),
        pytest.param(POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + NEXT, id="gzip in chunks"),
        pytest.param(POST + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + NEXT, id="chunks in gzip"),
        pytest.param(
            POST + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, id="two codings"
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
            id="chunked in HTTP/1.0",
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            id="chunked in HTTP/1.0, with a body",
        ),
        pytest.param(CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", id="chunk size with 0x"),
        pytest.param(CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", id="chunk size with plus"),
        pytest.param(CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", id="blank behind a chunk size"),
        pytest.param(CHUNKED + b"5\nhello\r\n0\r\n\r\n", id="bare LF behind a chunk size"),
        pytest.param(CHUNKED + b"5;a\nhello\r\n0\r\n\r\n", id="bare LF behind a chunk extension"),
        pytest.param(CHUNKED + b"5\r\nhello\n0\r\n\r\n", id="bare LF behind a chunk"),
        pytest.param(CHUNKED + b"5\r\nhelloXX0\r\n\r\n", id="chunk longer than it says"),
        pytest.param(CHUNKED + b"fffffffffffffffff\r\n", id="chunk size over 64 bits"),
    ],
)
def test_what_is_not_a_request_is_refused_once_and_nothing_behind_it_is_heard(data: bytes, step: int) -> None:
    talk = Talk()
    said = talk.say(data + NEXT, step)
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close\r\n" in said
    assert said.endswith(b"peerdata.request.malformed")
    assert talk.asked == []


@pytest.mark.parametrize("step", [1 << 20, 1])
@pytest.mark.parametrize(
    ("data", "headers"),
    [
        pytest.param(GET + b"A: b \t \r\n\r\n", [(b"a", b"b")], id="white space around a value"),
        pytest.param(GET + b"A:b\r\n\r\n", [(b"a", b"b")], id="no white space"),
        pytest.param(GET + b"A:\r\nB: c\r\n\r\n", [(b"a", b""), (b"b", b"c")], id="empty value"),
        pytest.param(GET + b"A: b\r\na: c\r\n\r\n", [(b"a", b"b"), (b"a", b"c")], id="repeated"),
        pytest.param(GET + b"X_A: b\r\n\r\n", [(b"x_a", b"b")], id="underscore is not a hyphen"),
        pytest.param(GET + b"A: b\xffc\r\n\r\n", [(b"a", b"b\xffc")], id="bytes over 127 in a value"),
    ],
)
def test_headers_arrive_in_order_in_lower_case_and_without_white_space(
    data: bytes, headers: list[tuple[bytes, bytes]], step: int
) -> None:
    talk = Talk()
    talk.say(data, step)
    assert talk.asked[0].headers == [(b"host", b"a"), *headers]


@pytest.mark.parametrize("step", [1 << 20, 1])
@pytest.mark.parametrize(
    ("data", "body"),
    [
        (POST + b"content-length: 5\r\n\r\nhello", b"hello"),
        (POST + b"content-length: 05 \r\n\r\nhello", b"hello"),
        (POST + b"content-length: 0\r\n\r\n", b""),
        (POST + b"\r\n", b""),
        (GET + b"content-length: 5\r\n\r\nhello", b"hello"),
        (CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n", b"hello world"),
        (CHUNKED + b"0\r\n\r\n", b""),
        (POST + b"Transfer-Encoding: CHUNKED \r\n\r\n1\r\nx\r\n0\r\n\r\n", b"x"),
    ],
)
def test_a_body_ends_where_its_framing_says_and_the_next_request_begins_there(
    data: bytes, body: bytes, step: int
) -> None:
    talk = Talk()
    said = talk.say(data + GET + b"\r\n", step)
    assert [request.body for request in talk.asked] == [body, b""]
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 2


@pytest.mark.parametrize("step", [1 << 20, 1])
def test_trailers_do_not_pass_for_headers(step: int) -> None:
    """Else a body could name the instance that it comes from."""
    talk = Talk()
    talk.say(CHUNKED + b"1\r\nx\r\n0\r\nx-instance-id: other\r\n\r\n" + GET + b"\r\n", step)
    assert [request.header(b"x-instance-id") for request in talk.asked] == [None, None]


@pytest.mark.parametrize("step", [1 << 20, 1])
def test_an_upgrade_is_declined_and_the_body_read_all_the_same(step: int) -> None:
    """As Java's HttpClient sends every POST. The connection closes, because what follows may be the other protocol."""
    talk = Talk()
    wish = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
    said = talk.say(POST + wish + b"content-length: 5\r\n\r\nhello" + NEXT, step)
    assert [(request.method, request.target, request.body) for request in talk.asked] == [("POST", b"/", b"hello")]
    assert b"connection: close\r\n" in said


def test_an_upgrade_without_a_body_is_an_ordinary_request() -> None:
    talk = Talk()
    said = talk.say(GET + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x05hello")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert len(talk.asked) == 1


def test_an_upgrade_does_not_hide_a_faulty_framing() -> None:
    talk = Talk()
    wish = b"connection: upgrade\r\nupgrade: h2c\r\n"
    said = talk.say(b"POST / HTTP/1.0\r\n" + wish + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT)
    assert said.endswith(b"peerdata.request.malformed")
    assert talk.asked == []


def test_a_later_request_in_http_1_0_may_not_be_chunked_either() -> None:
    talk = Talk()
    said = talk.say(GET + b"\r\n" + CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n" + NEXT)
    assert said.endswith(b"peerdata.request.malformed")
    assert len(talk.asked) == 1


def test_connect_is_an_ordinary_request_and_the_last() -> None:
    talk = Talk()
    said = talk.say(b"CONNECT h:1 HTTP/1.1\r\ncontent-length: 40\r\n\r\n" + NEXT)
    assert [(request.method, request.target, request.body) for request in talk.asked] == [("CONNECT", b"h:1", b"")]
    assert b"connection: close\r\n" in said


def test_http_1_0_closes_unless_it_asks_to_stay_and_is_told_so() -> None:
    assert b"connection: close\r\n" in Talk().say(b"GET / HTTP/1.0\r\n\r\n")
    talk = Talk()
    for _ in range(2):
        assert b"connection: keep-alive\r\n" in talk.say(b"GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n")


CONVERSATION = (
    GET
    + b"\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 5\r\nX-Tenant-ID: \t 0123 \r\n\r\nhello"
    + CHUNKED.replace(b"POST /", b"PUT /c?d=e")
    + b"5\r\nhello\r\n1\r\n!\r\n0\r\nx: y\r\n\r\nHEAD http://h/f HTTP/1.1\r\n\r\n"
    + b"OPTIONS * HTTP/1.1\r\nconnection: close\r\n\r\n"
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, len(CONVERSATION) - 1), max_size=12))
def test_how_the_network_cuts_a_conversation_makes_no_difference(cuts: list[int]) -> None:
    whole = Talk()
    whole.say(CONVERSATION)
    cut = Talk()
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(CONVERSATION)], strict=True):
        cut.say(CONVERSATION[begin:end])
    assert cut.asked == whole.asked
    assert cut.notes.written == whole.notes.written
    assert [request.target for request in whole.asked] == [b"/", b"/b", b"/c?d=e", b"/f", b"*"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_bytes_make_a_connection_fail(data: st.DataObject) -> None:
    """Whatever comes, it is answered, refused or waited for, and the last answer says that it is the last."""
    noise = bytearray(CONVERSATION)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(noise) - 1))
        piece = data.draw(st.one_of(st.binary(max_size=3), st.sampled_from(PIECES)))
        noise[at : at + data.draw(st.integers(0, 3))] = piece
    talk = Talk(HttpLimits(head_bytes=300, body_bytes=8))
    said = talk.say(bytes(noise), data.draw(st.integers(1, len(noise))))
    assert said.count(b"connection: close\r\n") <= 1
    if talk.notes.calls:
        assert b"connection: close\r\n" in said


PIECES = [
    b"\r\n\r\n",
    b"\n",
    b"0\r\n\r\n",
    b"content-length: 3\r\n",
    b"expect: 100-continue\r\n",
    b"upgrade: x\r\n",
    b"1.0",
]


# Sizes


def head_of_size(size: int) -> bytes:
    head = b"GET /a HTTP/1.1\r\nx: \r\n\r\n"
    return head.replace(b"x: ", b"x: " + b"v" * (size - len(head)))


@pytest.mark.parametrize("step", [1 << 20, 1000, 1])
def test_a_head_may_be_as_large_as_the_limit_and_no_byte_larger(step: int) -> None:
    limits = HttpLimits(head_bytes=6000)
    assert Talk(limits).say(head_of_size(6000) * 2, step).count(b"HTTP/1.1 200 ") == 2
    said = Talk(limits).say(head_of_size(6000) + head_of_size(6001) + NEXT, step)
    assert said.count(b"HTTP/1.1 ") == 2
    assert said.endswith(b"peerdata.request.head_too_large")


@pytest.mark.parametrize("step", [1 << 20, 100, 1])
@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nx: "])
def test_a_head_that_never_ends_is_refused_soon_after_the_limit(begin: bytes, step: int) -> None:
    talk = Talk(HttpLimits(head_bytes=500))
    for sent in range(0, 500 + SLICE_BYTES, 100):
        said = talk.say((begin if sent == 0 else b"") + b"v" * 100, step)
        if said:
            break
    assert said.endswith(b"peerdata.request.head_too_large")


@pytest.mark.parametrize("step", [1 << 20, 1000, 1])
@pytest.mark.parametrize("extra", [0, 1, 40])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_be_as_large_as_the_limit_and_no_byte_larger(extra: int, chunked: bool, step: int) -> None:
    talk = Talk(HttpLimits(body_bytes=50))
    body = b"b" * (50 + extra)
    if chunked:
        said = talk.say(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) + NEXT, step)
    else:
        said = talk.say(POST + b"content-length: %d\r\n\r\n" % len(body) + body + NEXT, step)
    if extra == 0:
        assert [(request.body, request.fault) for request in talk.asked] == [(body, None), (b"", None)]
        return
    (asked,) = talk.asked
    assert asked.fault is not None
    assert asked.fault.code == "peerdata.body.too_large"
    assert asked.fault.facts == {"limit": 50}
    assert len(asked.body) <= 50
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"connection: close\r\n" in said


def test_a_content_length_over_the_limit_is_refused_before_the_body_comes() -> None:
    said = Talk().say(POST + b"content-length: 65537\r\n\r\n")
    assert said.endswith(b"peerdata.body.too_large")


def test_a_content_length_of_many_zeros_is_a_small_number() -> None:
    """Python refuses to turn more than 4300 digits into a number."""
    talk = Talk()
    talk.say(POST + b"content-length: " + b"0" * 5000 + b"5\r\n\r\n")
    talk.say(b"hello")
    assert talk.asked[0].body == b"hello"


@pytest.mark.parametrize("step", [1 << 20, 1])
@pytest.mark.parametrize("begin", [GET, CHUNKED + b"0\r\n"], ids=["headers", "trailers"])
def test_very_many_short_lines_are_refused_though_they_are_few_bytes(begin: bytes, step: int) -> None:
    talk = Talk()
    said = talk.say(begin + b"a:\r\n" * 1100, step)
    assert said.endswith(b"too_large")
    assert talk.say(b"a:\r\n\r\n") == b""


@pytest.mark.parametrize("noise", [b"1;" + b"e" * 3000 + b"\r\nx\r\n", b"0\r\n" + b"t: " + b"v" * 3000])
def test_what_stands_around_a_chunked_body_is_bounded_too(noise: bytes) -> None:
    talk = Talk(HttpLimits(head_bytes=2000))
    talk.say(CHUNKED)
    said = talk.say(noise + noise)
    assert said.endswith(b"peerdata.body.too_large")


# Expect


EXPECTING = POST + b"expect: 100-Continue\r\n"


def test_who_waits_for_100_continue_is_told_to_go_on() -> None:
    talk = Talk()
    assert talk.say(EXPECTING + b"content-length: 5\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert talk.say(b"hello").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (EXPECTING + b"content-length: 65537\r\n\r\n", b"400"),
        (EXPECTING + b"content-length: 5\r\n\r\nhello", b"200"),
        (EXPECTING + b"content-length: 0\r\n\r\n", b"200"),
        (EXPECTING + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b"400"),
    ],
    ids=["too large", "body already there", "no body", "unknown coding"],
)
def test_no_100_continue_where_nothing_more_is_to_come(data: bytes, status: bytes) -> None:
    assert Talk().say(data).startswith(b"HTTP/1.1 " + status)


def test_no_100_continue_for_who_did_not_wait_for_it() -> None:
    talk = Talk()
    assert talk.say(EXPECTING + b"content-length: 5\r\n\r\nhel") == b""
    assert talk.say(b"lo").startswith(b"HTTP/1.1 200 ")


def test_http_1_0_is_not_told_100_continue() -> None:
    assert Talk().say(EXPECTING.replace(b"1.1", b"1.0") + b"content-length: 5\r\n\r\n") == b""


# Deadlines


def test_a_connection_without_a_request_is_closed_after_the_idle_timeout() -> None:
    talk = Talk()
    talk.pass_time(74)
    assert not talk.notes.is_closing()
    talk.pass_time(2)
    assert talk.notes.calls == ["close"]
    assert talk.notes.written == b""


def test_an_answer_begins_the_idle_time_anew_and_blank_lines_do_not() -> None:
    talk = Talk()
    talk.pass_time(60)
    talk.say(GET + b"\r\n")
    talk.pass_time(60)
    assert not talk.notes.is_closing()
    talk.say(b"\r\n")
    talk.pass_time(16)
    assert talk.notes.calls == ["close"]


def test_a_head_that_dribbles_in_is_closed_without_a_word() -> None:
    talk = Talk()
    for byte in GET[:9]:
        talk.say(bytes([byte]))
        talk.pass_time(1)
    assert not talk.notes.is_closing()
    talk.say(b"P")
    talk.pass_time(2)
    assert talk.notes.calls == ["close"]
    assert talk.notes.written == b""


def test_a_body_that_does_not_come_reaches_the_handler_as_a_fault_with_what_came() -> None:
    talk = Talk()
    talk.say(POST + b"content-length: 90\r\n\r\nhe")
    for _ in range(31):
        talk.pass_time(1)
        talk.say(b"l")
        if talk.asked:
            break
    (asked,) = talk.asked
    assert asked.fault is not None
    assert asked.fault.code == "peerdata.body.timed_out"
    assert talk.notes.written.endswith(b"peerdata.body.timed_out")
    assert b"connection: close" in talk.notes.written


def test_a_refused_client_that_stops_sending_is_closed_though_it_has_not_read_all() -> None:
    talk = Talk()
    talk.say(b"nonsense\r\n\r\n")
    talk.connection.pause_writing()
    assert talk.connection.eof_received() is False


def test_a_client_that_reads_nothing_of_its_answer_is_dropped() -> None:
    talk = Talk()
    talk.say(GET + b"\r\n")
    talk.notes.unwritten = 9000
    talk.connection.pause_writing()
    talk.pass_time(76)
    talk.notes.unwritten = 8000
    talk.pass_time(76)
    assert not talk.notes.is_closing()
    talk.pass_time(76)
    assert talk.notes.calls == ["abort"]


def test_a_refused_client_is_read_on_a_little_so_that_it_sees_the_answer() -> None:
    talk = Talk()
    talk.say(b"nonsense\r\n\r\n")
    assert talk.notes.calls == ["write_eof"]
    talk.say(b"x" * LINGER_BYTES)
    assert talk.notes.calls == ["write_eof"]
    talk.say(b"x")
    assert talk.notes.calls == ["write_eof", "close"]


@pytest.mark.parametrize(
    "last",
    [
        GET + b"connection: close\r\n\r\n",
        GET + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"CONNECT h:1 HTTP/1.1\r\n\r\n",
    ],
    ids=["close", "upgrade", "connect"],
)
def test_who_sends_on_behind_its_last_request_sees_its_answer_too(last: bytes) -> None:
    talk = Talk()
    assert talk.say(last + NEXT).count(b"HTTP/1.1 200 ") == 1
    assert talk.notes.calls == ["write_eof"]


def test_who_sends_on_while_its_last_request_waits_is_not_read_until_it_is_answered() -> None:
    talk = Talk()

    def answer(request: Request) -> Answer:
        if not talk.asked:
            talk.connection.pause_writing()
        return talk.answer(request)

    talk.common.handler = answer
    talk.say(GET + b"\r\n" + GET + b"connection: close\r\n\r\n")
    talk.say(NEXT)
    assert talk.notes.calls == ["pause_reading"]
    talk.connection.resume_writing()
    assert len(talk.asked) == 2
    assert talk.notes.calls == ["pause_reading", "write_eof", "resume_reading"]


def test_a_refused_client_that_stays_is_closed_and_then_aborted() -> None:
    talk = Talk()
    talk.say(b"nonsense\r\n\r\n")
    talk.pass_time(3)
    assert talk.notes.calls == ["write_eof", "close"]
    talk.pass_time(76)
    assert talk.notes.calls == ["write_eof", "close", "abort"]


# Pace


def test_nothing_is_begun_while_the_client_does_not_read_and_all_of_it_afterwards() -> None:
    talk = Talk()
    talk.connection.pause_writing()
    assert talk.say((GET + b"\r\n") * 1000) == b""
    assert talk.notes.calls == ["pause_reading"]
    talk.connection.resume_writing()
    talk.let_others()
    assert len(talk.asked) == 1000
    assert talk.notes.calls == ["pause_reading", "resume_reading"]


def test_no_more_is_parsed_ahead_than_one_slice() -> None:
    """What a client may make the server hold is what it sent, not ten times that in Python objects."""
    talk = Talk()
    shortest = b"GET / HTTP/1.1\r\n\r\n"

    def answer(request: Request) -> Answer:
        talk.connection.pause_writing()
        return Answer(200, b"")

    talk.common.handler = answer
    talk.say(shortest * 10_000)
    assert len(talk.connection._turns) <= SLICE_BYTES // len(shortest) + 1


def test_a_client_that_still_reads_its_last_answer_does_not_keep_a_closing_server() -> None:
    talk = Talk()
    talk.say(GET + b"\r\n")
    talk.connection.pause_writing()
    talk.connection.shut()
    assert talk.notes.calls == ["close"]  # which a transport does once all is written


@pytest.mark.parametrize("begun", [b"GET", POST + b"content-length: 5\r\n\r\n"])
def test_a_closing_server_lets_come_what_has_begun_to(begun: bytes) -> None:
    talk = Talk()
    talk.say(begun)
    talk.connection.shut()
    assert talk.notes.calls == []


def test_a_closing_server_gives_who_has_sent_nothing_time_for_a_first_request() -> None:
    talk = Talk()
    talk.connection.shut()
    assert talk.notes.calls == []
    talk.pass_time(FIRST_REQUEST_S / 2)
    talk.common.closing = True
    assert b"connection: close" in talk.say(GET + b"\r\n")
    assert talk.notes.calls == ["close"]
    silent = Talk()
    silent.connection.shut()
    silent.pass_time(FIRST_REQUEST_S)
    assert silent.notes.calls == ["close"]


def test_who_is_accepted_last_has_no_longer_for_its_first_request() -> None:
    common = Common(lambda _: Answer(200, b""), Talk.refuse, HttpLimits(), date=DATE, closed=True)
    talk = Talk(common=common)
    talk.pass_time(FIRST_REQUEST_S)
    assert talk.notes.calls == ["close"]


def test_a_rejected_client_is_told_so_and_not_heard() -> None:
    talk = Talk(rejection=ServerBusy("full", limit=1))
    assert talk.notes.written.endswith(b"peerdata.server.busy")
    assert talk.say(GET + b"\r\n") == b""
    assert talk.asked == []


# Memory


@pytest.mark.parametrize(
    ("data", "held"),
    [
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 2000, 2019),
        (POST + b"content-length: 5000\r\n\r\n" + b"y" * 2000, 2000),
        (CHUNKED + b"800\r\n" + b"y" * 2000, 2000),
    ],
    ids=["a head", "a body", "a body in chunks"],
)
@pytest.mark.parametrize("step", [1 << 20, 100])
def test_parts_of_a_request_are_counted_until_it_is_whole_or_its_client_gone(data: bytes, held: int, step: int) -> None:
    talk = Talk()
    talk.say(data, step)
    assert held <= talk.common.incoming.total <= held + SLICE_BYTES
    talk.connection.connection_lost(None)
    assert talk.common.incoming.total == 0


def test_a_client_that_is_gone_is_not_counted_again_when_its_handler_ends() -> None:
    """It had sent one request and a part of the next."""

    async def conversation() -> None:
        gate = asyncio.Event()

        async def answer(_: Request) -> Answer:
            await gate.wait()
            return Answer(200, b"")

        talk = Talk()
        talk.common.handler = answer
        talk.connection._loop = asyncio.get_running_loop()
        talk.say(GET + b"\r\n" + POST + b"content-length: 5000\r\n\r\n" + b"y" * 2000)
        assert talk.common.incoming.total > 0
        talk.connection.connection_lost(None)
        gate.set()
        for _ in range(8):
            await asyncio.sleep(0)
        assert talk.common.tasks == set()
        assert talk.common.incoming.total == 0

    asyncio.run(conversation())


def test_a_request_that_is_whole_is_not_counted() -> None:
    talk = Talk()
    talk.say(POST + b"content-length: 5\r\n\r\nhel")
    assert talk.common.incoming.total > 0
    talk.say(b"lo")
    assert talk.common.incoming.total == 0
    talk.say(GET + b"\r\n")
    assert talk.common.incoming.total == 0


def test_what_waits_behind_a_request_at_work_is_counted_until_it_is_answered() -> None:
    async def conversation() -> None:
        gate = asyncio.Event()

        async def answer(_: Request) -> Answer:
            await gate.wait()
            return Answer(200, b"")

        talk = Talk()
        talk.common.handler = answer
        talk.connection._loop = asyncio.get_running_loop()
        talk.say(GET + b"\r\n")
        assert talk.common.incoming.total == 0
        talk.connection.data_received((GET + b"\r\n") * 100)
        assert talk.common.incoming.total >= 100 * len(GET)
        gate.set()
        for _ in range(101 * 4):  # each is a task, which begins, waits, ends, and is taken
            await asyncio.sleep(0)
        assert talk.notes.written.count(b"200 OK") == 101
        assert talk.common.incoming.total == 0

    asyncio.run(conversation())


def test_over_the_limit_of_all_who_sends_slowly_is_dropped_and_counted() -> None:
    before = turned_away("instances", "incoming_bytes")
    common = Common(lambda _: Answer(200, b""), Talk.refuse, HttpLimits(incoming_bytes=13_500), date=DATE)
    slow, quick = Talk(common=common), Talk(common=common)
    slow.say(b"GET / HTTP/1.1\r\nx: " + b"y" * 4000)
    quick.clock.now += 5
    quick.say(POST + b"content-length: 60000\r\n\r\n" + b"y" * 4000)
    quick.say(b"y" * 2000)
    assert slow.notes.calls == ["abort"]
    assert quick.notes.calls == []
    assert turned_away("instances", "incoming_bytes") == before + 1


def test_a_slow_reader_is_counted_for_its_account_from_the_answer_that_stuck() -> None:
    talk = Talk(HttpLimits(unwritten_bytes_of_account=1000))

    def answer(_: Request) -> Answer:
        talk.notes.unwritten = 1500
        talk.connection.pause_writing()  # as a transport does in the middle of a write
        return Answer(200, b"", account="blue")

    talk.common.handler = answer
    talk.say(GET + b"\r\n")
    assert talk.common.unwritten.total == 0  # it was over the limit by itself
    assert talk.notes.calls == ["abort"]


def test_what_a_reader_has_not_read_for_a_second_is_counted_too_and_no_more_once_it_has_caught_up() -> None:
    """Transports take 64 KiB before they say so, and four thousand of these are 256 MiB."""
    talk = Talk()
    talk.common.handler = lambda _: Answer(200, b"", account="blue")
    talk.say(GET + b"\r\n")
    talk.notes.unwritten = 1500
    talk.connection.look(talk.clock.now)
    assert talk.common.unwritten.total == 1500
    assert list(talk.common.unwritten._accounts) == ["blue"]
    talk.notes.unwritten = 0
    talk.connection.look(talk.clock.now)
    assert talk.common.unwritten.total == 0


def test_other_connections_have_their_turn_after_each_slice_of_requests() -> None:
    """Else one client could keep the server to itself for 100 ms by sending 256 kB of requests at once."""
    talk = Talk()
    requests = (GET + b"\r\n") * 1000
    talk.connection.data_received(requests)
    turns = 0
    while talk.clock.soon:
        begun = len(talk.asked)
        talk.clock.soon.pop(0)()
        assert len(talk.asked) - begun <= 2 * SLICE_BYTES // len(GET)  # the last may come with the one before it
        turns += 1
    assert len(talk.asked) == 1000
    assert turns == len(requests) // SLICE_BYTES


def turned_away(listener: str, reason: str) -> float:
    """What the metrics have counted."""
    labels = {"listener": listener, "reason": reason}
    return REGISTRY.get_sample_value("peerdata_turned_away_total", labels) or 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", "not_http"),
        (b"GET / HTTP/3.0\r\n\r\n", "not_http"),
        (GET + b"x: " + b"y" * 100_000, "head_too_large"),
        (GET + b"x: y", "head_timeout"),
    ],
    ids=["TLS on a plain port", "another version", "a long head", "a slow head"],
)
def test_what_is_not_read_to_its_end_is_counted_with_the_reason(data: bytes, reason: str) -> None:
    before = turned_away("operators", reason)
    talk = Talk(common=Common(lambda _: Answer(200, b""), Talk.refuse, HttpLimits(), "operators", date=DATE))
    talk.say(data)
    talk.pass_time(1000)
    assert turned_away("operators", reason) == before + 1


def test_a_connection_that_was_answered_or_said_nothing_is_not_counted_as_turned_away() -> None:
    before = [sample.value for metric in metrics.TURNED_AWAY.collect() for sample in metric.samples]
    talk = Talk()
    talk.say(GET + b"\r\n")
    talk.pass_time(1000)
    Talk().pass_time(1000)
    assert [sample.value for metric in metrics.TURNED_AWAY.collect() for sample in metric.samples] == before
