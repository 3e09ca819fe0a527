"""One exchange over a real socket, with a server that sends exactly the bytes of the test."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from peerdata.guest import wire
from peerdata.guest.errors import Misused, NotReached

ServeOnce = Callable[[bytes], wire.Server]


@pytest.fixture
def serve_once() -> Iterator[ServeOnce]:
    """A server that answers one connection with these bytes, and closes it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def serve_once(answer: bytes) -> wire.Server:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while not received.endswith(b"\r\n\r\n"):
                    received.extend(connection.recv(4096))
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return wire.Server("127.0.0.1", listener.getsockname()[1])

    received = serve_once.received = bytearray()  # type: ignore[attr-defined]
    yield serve_once
    listener.close()


def test_a_post_has_a_content_length_of_zero(serve_once: ServeOnce) -> None:
    answer = wire.exchange(serve_once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "POST", "/x", 5)
    assert (answer.status, answer.body, answer.local_address) == (200, b"{}", "127.0.0.1")
    received = bytes(serve_once.received)  # type: ignore[attr-defined]
    assert received.startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nContent-Length: 0\r\n" in received


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length:3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    ],
)
def test_an_answer_is_read_whole_however_its_length_is_given(serve_once: ServeOnce, answer: bytes, body: bytes) -> None:
    assert wire.exchange(serve_once(answer), "GET", "/x", 5).body == body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nConte",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nab\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
    ],
)
def test_a_cut_or_malformed_answer_is_an_error(serve_once: ServeOnce, answer: bytes) -> None:
    with pytest.raises(NotReached):
        wire.exchange(serve_once(answer), "GET", "/x", 5)


def test_a_body_of_many_small_chunks_is_read_in_linear_time(serve_once: ServeOnce) -> None:
    """Once each chunk cost a look at all before it, and a copy of all that was held."""
    many = 300_000
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * many + b"0\r\n\r\n"
    before = time.process_time()
    assert wire.exchange(serve_once(answer), "GET", "/x", 60).body == b"x" * many
    assert time.process_time() - before < 5


@pytest.mark.parametrize("part", [b"HTTP/1.1 100 Continue\r\n\r\n", b"1\r\nx\r\n"])
def test_an_endless_answer_times_out(part: bytes) -> None:
    head = b"" if part.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(head)
                while True:
                    connection.sendall(part * 20_000)

        threading.Thread(target=serve, daemon=True).start()
        before = time.monotonic()
        with pytest.raises(NotReached, match="did not answer"):
            wire.exchange(wire.Server("127.0.0.1", listener.getsockname()[1]), "GET", "/x", 0.5)
        assert time.monotonic() - before < 5


def test_a_server_that_does_not_answer_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(NotReached, match="did not answer"):
        wire.exchange(wire.Server("127.0.0.1", listener.getsockname()[1]), "GET", "/x", 0.2)


def test_a_refused_connection_differs_from_a_lost_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(wire.NotConnected, match="refused"):
        wire.exchange(wire.Server("127.0.0.1", port), "GET", "/x", 5)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://127.0.0.1:8775", wire.Server("127.0.0.1", 8775)),
        ("http://md.example/", wire.Server("md.example", 80)),
        ("http://[fe80::a9fe:a9fe%25eth0]", wire.Server("fe80::a9fe:a9fe%eth0", 80)),
        ("http://[fe80::a9fe:a9fe%eth0]:8080/", wire.Server("fe80::a9fe:a9fe%eth0", 8080)),
    ],
)
def test_a_url_is_parsed(url: str, server: wire.Server) -> None:
    assert wire.parse_url(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "https://x",
        "127.0.0.1",
        "http://",
        "http://x:0",
        "http://[::1",
        "http://x:y",
        "http://a b",
        "http://x:8\u00b2",
        "http://x:\u0661",
        "http://\u00fc",
        "http://x/\u00fc",
        "http://x:" + "1" * 5000,
        "http://x\x7f",
    ],
)
def test_an_invalid_url_is_misuse(url: str) -> None:
    with pytest.raises(Misused):
        wire.parse_url(url)


@pytest.mark.parametrize(
    "url",
    ["http://x/openstack/latest", "http://x/openstack/latest/shared.json", "http://x/y/", "http://x/as/y"],
)
def test_a_url_with_a_path_is_misuse_and_the_message_has_the_right_form(url: str) -> None:
    with pytest.raises(Misused, match="use http://x, not"):
        wire.parse_url(url)


def test_the_host_header_has_no_zone() -> None:
    assert wire.Server("fe80::a9fe:a9fe%eth0", 80).authority == "[fe80::a9fe:a9fe]"
    assert str(wire.Server("fe80::1", 8080)) == "http://[fe80::1]:8080"
