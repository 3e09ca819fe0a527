# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Projects behind an HTTP server on a port of its own, and the faults that a test may want.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
import uuid as uuids
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote

from peerdata.testing.project import CLUSTER_NAME, KEY, MOST_SIZE, Project, Refusal

PAGE = b"<html><head><title>%d</title></head><body><h1>refused</h1></body></html>"
"""What old agents of neutron put in place of an error's body."""

LISTED = ("cluster/", "metadata", "peer_data.json", "peer_data/last_error.json", "shared.json")
"""Behind nova's own."""


class Instance:
    """One instance of a `Cloud`; whoever asks at its ``url`` is it."""

    def __init__(self, cloud: Cloud, name: str, project: str, network_data: Any) -> None:
        self.cloud = cloud
        self.name = name
        self.project = project
        self.uuid = str(uuids.uuid4())
        self.network_data = network_data
        self.last_error: dict[str, Any] | None = None

    @property
    def url(self) -> str:
        """For ``PEERDATA_URL``, or `Guest`."""
        return f"{self.cloud.url}/as/{self.uuid}"

    def remove(self) -> None:
        """It is deleted: its peers see it gone, and it is known no more."""
        self.cloud.remove(self)


class Cloud:
    """
    Serves until its ``with`` ends.

    Args:
        poll_after_s: What callers are told; small, so that tests do not wait.
        max_wait_s: The longest that ``peer_data.json?wait=`` is held, as by ``[limits] max_wait``; 0: it is not held.
        old_agent: Errors reach the instances as from neutron before 2025.2: with a page in place of their body.
        without_peerdata: Plain nova.
    """

    def __init__(
        self,
        *,
        poll_after_s: float = 0.05,
        max_wait_s: float = 0.0,
        old_agent: bool = False,
        without_peerdata: bool = False,
    ) -> None:
        self.poll_after_s = poll_after_s
        self.max_wait_s = max_wait_s
        self.old_agent = old_agent
        self.without_peerdata = without_peerdata
        self.requests: list[str] = []
        """Method and path with query of every request, in order."""
        self.bodies = 0
        """How many requests had a body."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._projects: dict[str, Project] = {}
        self._instances: dict[str, Instance] = {}
        self._faults: list[int | str] = []
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Cloud:
        cloud = self

        class Handler(_Handler):
            asked = cloud

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        with self._lock:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Of nobody: who asks here is not known."""
        assert self._server, "it serves inside of `with`"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def instance(self, name: str = "", *, project: str = "blue", network_data: Any = None) -> Instance:
        """One more instance; *network_data* is what its network_data.json holds, without it there is none."""
        with self._lock:
            made = Instance(self, name or f"instance-{len(self._instances) + 1}", project, network_data)
            self._instances[made.uuid] = made
            self._projects.setdefault(project, Project())
            return made

    def remove(self, instance: Instance) -> None:
        """See `Instance.remove`."""
        with self._lock:
            self._instances.pop(instance.uuid, None)
            self._projects[instance.project].leave(instance.uuid)
            self._changed.notify_all()

    def fail(self, *faults: int | str) -> None:
        """
        Let the next requests fail, each with one of *faults*.

        A status; ``"cut"``: half of the answer, though all was done; ``"silent"``: none, though all was done;
        ``"closed"``: none, and nothing was done.
        """
        with self._lock:
            self._faults += faults

    # What is asked

    def respond(self, method: str, target: str, body: bytes) -> tuple[int, bytes, str]:
        """Status, body and fault of the answer to one request."""
        with self._lock:
            self.requests.append(f"{method} {target}")
            self.bodies += bool(body)
            fault = self._faults.pop(0) if self._faults else ""
            if isinstance(fault, int):
                return fault, PAGE % fault, ""
            if fault == "closed":
                return 503, b"", "silent"
            try:
                path, _, query = target.partition("?")
                found = re.fullmatch(r"/as/([0-9a-f-]{36})(/.*)", path)
                instance = self._instances.get(found[1]) if found else None
                if found is None or instance is None:
                    raise Refusal(404, "identity.unknown", "there is no such instance")
                answer = self._answer(instance, method, unquote(found[2]), query, body)
                if method == "POST":
                    self._changed.notify_all()
            except Refusal as refusal:
                page = self.old_agent or self.without_peerdata
                status = 403 if refusal.status == 413 else refusal.status
                return status, PAGE % status if page else _json({"error": refusal.error}), str(fault)
            return 200, answer, str(fault)

    def _answer(self, instance: Instance, method: str, path: str, query: str, body: bytes) -> bytes:
        found = re.fullmatch(r"/openstack/(latest|\d{4}-\d\d-\d\d)/(.*)", path)
        call = found[2] if found else ""
        project = self._projects[instance.project]
        try:
            if found and call == "" and method == "GET":
                nova = ["meta_data.json", *(["network_data.json"] if instance.network_data is not None else [])]
                return "\n".join(nova if self.without_peerdata else [*nova, *LISTED]).encode()
            if call == "meta_data.json":
                return _json(_document(instance, project))
            if call == "network_data.json" and instance.network_data is not None:
                return _json(instance.network_data)
            if not self.without_peerdata:
                answer = self._answer_ours(instance, project, method, call, _parameters(query), body)
                if answer is not None:
                    return answer
            raise Refusal(404, "path.unknown", f"there is nothing at {path}")
        except Refusal as refusal:
            if call != "peer_data/last_error.json" and refusal.error["code"] != "peerdata.path.unknown":
                when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                instance.last_error = {**refusal.error, "time": when, "call": f"{method} {path}"}
            raise

    def _answer_ours(
        self,
        instance: Instance,
        project: Project,
        method: str,
        call: str,
        given: list[tuple[str, str]],
        body: bytes,
    ) -> bytes | None:
        cluster = re.fullmatch(r"cluster/([^/]*)(\.json|/formed)", call)
        if call == "metadata" and method == "POST":
            meta, shared = _understand_publish(given, body)
            project.publish(instance.uuid, meta, shared=shared)
            return _json(_document(instance, project))
        methods = dict.fromkeys(("shared.json", "peer_data.json", "peer_data/last_error.json"), "GET")
        methods["metadata"] = "POST"
        if cluster:
            methods[call] = "POST" if cluster[2] == "/formed" else "GET POST"
        if call not in methods:
            return None
        if method not in methods[call].split():
            raise Refusal(400, "method.unsupported", f"{method} is not for {call}", method=method)
        if cluster:
            return self._answer_cluster(instance, project, method, cluster[1], cluster[2], given)
        if call == "shared.json":
            _only(given)
            return _json([{"meta": sharer.meta, "uuid": uuid} for uuid, sharer in project.peers()])
        if call == "peer_data.json":
            return self._follow(instance, project, _only(given, "since", "prefix", "wait"))
        _only(given)
        return _json({"error": instance.last_error})

    def _follow(self, instance: Instance, project: Project, given: dict[str, str]) -> bytes:
        since, prefix, wait = given.get("since"), given.get("prefix", ""), given.get("wait", "0")
        if prefix and not KEY.fullmatch(prefix):
            raise Refusal(400, "parameter.invalid", "prefix is not the beginning of any key")
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", wait):
            raise Refusal(400, "parameter.invalid", "wait must be a number of seconds", parameter="wait")
        if since is not None and not (re.fullmatch(r"[0-9]{1,19}", since) and int(since) < 2**63):
            raise Refusal(400, "parameter.invalid", "since must be a revision", parameter="since")
        after = None if since is None else int(since)

        def tells() -> bool:
            news = project.news(after, prefix)
            return self._closed or bool(news["full"] or news["peers"] or news["removed"])

        self._changed.wait_for(tells, min(float(wait), self.max_wait_s))
        return _json({**project.news(after, prefix), "self": instance.uuid, "poll_after_s": self.poll_after_s})

    def _answer_cluster(
        self, instance: Instance, project: Project, method: str, name: str, what: str, given: list[tuple[str, str]]
    ) -> bytes:
        if not CLUSTER_NAME.fullmatch(name):
            raise Refusal(400, "cluster.name_invalid", f"'{name}' is not a cluster's name")
        if method == "GET":
            _only(given)
        elif what == "/formed":
            term = _only(given, "term").get("term", "")
            if not re.fullmatch(r"[0-9]{1,18}", term):
                raise Refusal(400, "parameter.invalid", "term must be that of the verdict", parameter="term")
            project.confirm(instance.uuid, name, int(term))
        else:
            plan, meta = _understand_join(given)
            project.enter(instance.uuid, name, plan, meta)
        return _json({**project.state(instance.uuid, name), "poll_after_s": self.poll_after_s})


def _parameters(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, errors="strict")


def _only(given: Iterable[tuple[str, str]], *known: str) -> dict[str, str]:
    """The parameters, each of *known* at most once."""
    told: dict[str, str] = {}
    for name, value in given:
        if name not in known:
            raise Refusal(400, "parameter.unknown", f"unknown parameter '{name}'", parameter=name)
        if name in told:
            raise Refusal(400, "parameter.repeated", f"'{name}' is there more than once", parameter=name)
        told[name] = value
    return told


def _keys(given: Iterable[tuple[str, str]]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, value in given:
        if name[:5] != "meta.":
            continue
        if name[5:] in keys:
            raise Refusal(400, "key.repeated", f"'{name[5:]}' stands more than once", key=name[5:])
        keys[name[5:]] = value
    return keys


def _understand_publish(given: list[tuple[str, str]], body: bytes) -> tuple[dict[str, str], bool]:
    """The keys, and whether they are shared."""
    sharing = [value for name, value in given if name == "shared"]
    if sharing not in ([], ["project"]):
        raise Refusal(400, "shared.invalid", "shared=project, or not at all")
    _only([pair for pair in given if pair[0] != "shared" and pair[0][:5] != "meta."])
    keys = _keys(given)
    if keys and body:
        raise Refusal(400, "body.and_parameters", "keys came both in the body and as parameters")
    return keys or _understand_body(body), bool(sharing)


def _understand_body(body: bytes) -> dict[str, str]:
    if not body:
        raise Refusal(400, "body.empty", "neither a body nor a meta. parameter arrived")
    try:
        content = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refusal(400, "body.not_utf8", "the body is not UTF-8") from None
    except ValueError:
        raise Refusal(400, "body.not_json", "the body is not JSON") from None
    if not isinstance(content, dict):
        raise Refusal(400, "body.not_object", "the body is not an object")
    if "meta" not in content:
        raise Refusal(400, "meta.missing", "the body has no 'meta'")
    for member in content:
        if member != "meta":
            raise Refusal(400, "body.member_unknown", f"unknown member '{member}'", member=member)
    meta = content["meta"]
    if not isinstance(meta, dict):
        raise Refusal(400, "meta.not_object", "'meta' is not an object")
    if not meta:
        raise Refusal(400, "meta.empty", "'meta' is empty")
    for key, value in sorted(meta.items()):
        if not isinstance(value, str):
            raise Refusal(400, "value.not_string", f"{key}: not a string", key=key)
    return meta


def _understand_join(given: list[tuple[str, str]]) -> tuple[dict[str, Any], dict[str, str]]:
    """What is planned, and the keys."""
    told = _only([pair for pair in given if pair[0][:5] != "meta."], "size", "founders", "closed")
    size, founders, closed = told.get("size", ""), told.get("founders", "one"), told.get("closed", "false")
    if not (re.fullmatch(r"[0-9]{1,4}", size) and 1 <= int(size) <= MOST_SIZE):
        raise Refusal(400, "parameter.invalid", f"size must be 1 to {MOST_SIZE}", parameter="size")
    if founders not in ("one", "all"):
        raise Refusal(400, "parameter.invalid", "founders must be one or all", parameter="founders")
    if closed not in ("true", "false"):
        raise Refusal(400, "parameter.invalid", "closed must be true or false", parameter="closed")
    return {"size": int(size), "founders": founders, "closed": closed == "true"}, _keys(given)


def _document(instance: Instance, project: Project) -> dict[str, Any]:
    """meta_data.json, with what nova's has at least."""
    document: dict[str, Any] = {
        "uuid": instance.uuid,
        "hostname": instance.name,
        "name": instance.name,
        "launch_index": 0,
        "availability_zone": "nova",
        "random_seed": base64.b64encode(os.urandom(512)).decode(),
        "project_id": instance.project,
        "devices": [],
        "dedicated_cpus": [],
    }
    own = project.own(instance.uuid)
    return {**document, "meta": own} if own else document


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    """HTTP, for the cloud that a subclass names."""

    asked: Cloud
    protocol_version = "HTTP/1.1"

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        status, answer, fault = self.asked.respond(self.command, self.path, body)
        self.close_connection = True
        if fault == "silent":
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer[: len(answer) // 2] if fault == "cut" else answer)

    do_GET = do_POST = do_PUT = do_DELETE = _respond  # noqa: N815 - so called by http.server

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `Cloud.requests` has it."""
