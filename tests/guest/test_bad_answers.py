"""The command with invalid answers: the documented exit code, one message, and a follower that continues."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from .conftest import Run


class Service:
    """Answers each request with the next status and body of a list, and the last one without end."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append(self.path)
                status, body = service.answers.pop(0) if len(service.answers) > 1 else service.answers[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - so called by http.server

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer_with(self, *answers: Any) -> None:
        """Each a status with a page, bytes, or what becomes JSON."""
        self.answers[:] = [
            (answer, b"<html>") if isinstance(answer, int)
            else (200, answer if isinstance(answer, bytes) else json.dumps(answer).encode())
            for answer in answers
        ]  # fmt: skip


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    threading.Thread(target=service.server.serve_forever, args=(0.02,), daemon=True).start()
    yield service
    service.server.shutdown()
    service.server.server_close()


def peers(**members: Any) -> dict[str, Any]:
    peer = {"uuid": "0e", "joined": 1, "meta": {"from_server_addr": "10.0.0.1"}}
    whole = {"revision": 1, "full": True, "self": "0e", "poll_after_s": 0.01, "peers": [peer], "removed": []}
    return {**whole, **members}


def verdict(**members: Any) -> dict[str, Any]:
    member = {"uuid": "0e", "ordinal": 0, "founder": True, "meta": {"from_server_db_addr": "10.0.0.1"}}
    whole = {
        "cluster": "db", "verdict": "bootstrap", "size": 3, "founders": "one", "closed": False, "term": 1, "ordinal": 0,
        "formed": False, "members": [member], "why": "why", "self": "0e", "revision": 1, "poll_after_s": 0.01,
    }  # fmt: skip
    return {**whole, **members}


DEEP = b"[" * 200_000
UNFIT = [
    b"{}", b"null", b"[]", b"5", b'"x"', DEEP, b'{"error":' * 100_000,
    json.dumps(peers()).replace('"revision": 1', '"revision": 1e999').encode(),
    json.dumps(peers(poll_after_s=0)).replace('"joined": 1', '"joined": Infinity').encode(),
    json.dumps(peers(revision=0)).replace('"revision": 0', '"revision": ' + "9" * 5000).encode(),
    peers(self="\ud800"), peers(peers={}), peers(peers=[{"uuid": "0\ud800", "joined": 1, "meta": {}}]),
    peers(peers=[{"uuid": "0e", "joined": 1, "meta": {"from_server_k": "\ud800"}}]),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(UNFIT)))
def test_a_malformed_list_is_one_message_and_exit_code_1(service: Service, run: Run, number: int) -> None:
    service.answer_with(UNFIT[number])
    done = run(service.url, "peers", "--format", ("table", "env", "hosts", "etcd")[number % 4], "--timeout", "0")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done


@pytest.mark.parametrize("words", [["publish", "a=1"], ["whoami"], ["formed", "db", "--term", "1"], ["doctor"]])
@pytest.mark.parametrize("body", [b"{}", DEEP, b'{"uuid": "\\ud800"}'], ids=["nothing", "deep", "surrogate"])
def test_no_command_fails_with_a_traceback_at_a_malformed_answer(
    service: Service, run: Run, words: list[str], body: bytes
) -> None:
    service.answer_with(body)
    done = run(service.url, *words, "--timeout", "0")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done


@pytest.mark.parametrize("status", [404, 409, 503])
def test_an_endlessly_nested_refusal_is_one_without_a_reason(service: Service, run: Run, status: int) -> None:
    service.answers[:] = [(status, b'{"error":' * 100_000)]
    done = run(service.url, "peers", "--timeout", "0")
    assert (done.returncode, done.stderr.count("\n")) == (1 if status == 503 else 3, 1), done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"cluster": '"$(echo EVIL >&2)"'}, {"self": '0e"; echo EVIL >&2; "'}, {"founders": "one\nEVIL=1"},
        {"members": []}, {"term": "1\"; echo EVIL"},
    ],
)  # fmt: skip
def test_nothing_of_a_false_verdict_reaches_a_start_script(service: Service, run: Run, wrong: dict[str, Any]) -> None:
    service.answer_with(verdict(**wrong))
    for form in ("etcd", "env"):
        done = run(service.url, "join", "db", "--size", "3", "--format", form, "db_addr=10.0.0.1", "--timeout", "0")
        assert (done.returncode, done.stdout) == (1, "")


PASSING = [b"{}", b"null", b"<html>", 400, 401, 403, 404, 500, 302]


@pytest.mark.parametrize("odd", PASSING, ids=repr)
def test_a_watch_goes_on_after_one_odd_answer(service: Service, environment: dict[str, str], odd: Any) -> None:
    service.answer_with(
        peers(), odd, *([404] if odd == 404 else []), peers(revision=2, peers=[])
    )  # a 404 is followed by a look at what is listed
    with subprocess.Popen(
        [sys.executable, "-m", "peerdata", "watch", "--format", "addresses", "--exec", "echo $PEERDATA_REVISION"],
        env={**environment, "PEERDATA_URL": service.url}, stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        try:
            assert watching.stdout
            assert [watching.stdout.readline() for _ in range(2)] == ["1\n", "2\n"]
        finally:
            watching.terminate()


@pytest.mark.parametrize(("status", "code"), [(403, 3), (401, 3), (400, 3), (404, 3)])
def test_a_refusal_as_the_first_answer_ends_a_watch(service: Service, run: Run, status: int, code: int) -> None:
    service.answer_with(status)
    assert run(service.url, "watch").returncode == code
