# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The fake itself: projects and their instances, each behind a port of its own, and the faults that a test may want.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
import uuid as uuids
from types import TracebackType
from typing import Any
from urllib.parse import unquote

from peerdata.testing.parameters import Pairs, only, parse_follow, parse_formed, parse_join, parse_publish, parse_query
from peerdata.testing.project import CLUSTER_NAME, Project, Refusal
from peerdata.testing.server import Server

PAGE = b"<html><head><title>%d</title></head><body><h1>refused</h1></body></html>"
"""What neutron's agents before 2025.2 send in place of an error's body."""

LISTED = ("cluster/", "metadata", "peer_data.json", "peer_data/last_error.json", "shared.json")
"""Entries of ``/openstack/latest/`` that peerdata adds to nova's own."""


class Instance:
    """One instance of a `Cloud`: every request to its ``url`` is a request of this instance."""

    def __init__(self, cloud: Cloud, name: str, project: str, network_data: Any) -> None:
        self.cloud = cloud
        self.name = name
        self.project = project
        self.uuid = str(uuids.uuid4())
        self.network_data = network_data
        self.last_error: dict[str, Any] | None = None
        self.requests: list[str] = []
        """Method and path with query of every request of this instance, in order."""

    @property
    def url(self) -> str:
        """The value for ``PEERDATA_URL``, or the argument of `Guest`."""
        return self.cloud.url_of(self)

    def remove(self) -> None:
        """Delete the instance: its peers see it removed, and its own requests are answered with 404."""
        self.cloud.remove(self)


class Cloud:
    """
    A metadata service with projects and instances; it serves until its ``with`` block ends.

    Args:
        poll_after_s: What callers are asked to wait between two polls; `Guest` waits ``min_poll_s`` at least.
        max_wait_s: The longest that ``peer_data.json?wait=`` is held, like ``[limits] max_wait``; 0: never held.
        old_agent: Errors reach the instances as through neutron before 2025.2: with a page in place of their body.
        without_peerdata: Only plain nova answers.
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
        """Those of all instances, and of none, in order."""
        self.bodies = 0
        """How many requests had a body."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._projects: dict[str, Project] = {}
        self._instances: dict[str, Instance] = {}
        self._faults: list[int | str] = []
        self._servers: dict[str, Server] = {}
        """By the instance's uuid; empty: of no instance."""

    def __enter__(self) -> Cloud:
        self._listen(None)
        for instance in self._instances.values():
            self._listen(instance)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            self._changed.notify_all()
        for server in self._servers.values():
            server.close()

    @property
    def url(self) -> str:
        """A URL that belongs to no instance: every request to it is answered with 404."""
        return self._servers[""].url

    def url_of(self, instance: Instance) -> str:
        """See `Instance.url`."""
        assert self._servers, "a cloud serves inside its `with` block"
        return self._servers[instance.uuid].url

    def instance(self, name: str = "", *, project: str = "blue", network_data: Any = None) -> Instance:
        """Add an instance; *network_data* is the content of its network_data.json, which is absent without it."""
        with self._lock:
            added = Instance(self, name or f"instance-{len(self._instances) + 1}", project, network_data)
            self._instances[added.uuid] = added
            self._projects.setdefault(project, Project())
        if self._servers:
            self._listen(added)
        return added

    def remove(self, instance: Instance) -> None:
        """See `Instance.remove`."""
        with self._lock:
            self._instances.pop(instance.uuid, None)
            self._projects[instance.project].leave(instance.uuid)
            self._changed.notify_all()

    def fail(self, *faults: int | str) -> None:
        """
        Make the next requests fail, each with one of *faults*.

        A status; ``"cut"``: the request is carried out, half of the answer is sent; ``"silent"``: it is carried out,
        nothing is sent; ``"closed"``: it is not carried out, and nothing is sent.
        """
        with self._lock:
            self._faults += faults

    # Requests

    def respond(self, instance: Instance | None, method: str, target: str, body: bytes) -> tuple[int, bytes, str]:
        """Status, body and fault of the answer to one request of *instance*; None: of an unknown caller."""
        with self._lock:
            self.requests.append(f"{method} {target}")
            if instance is not None:
                instance.requests.append(f"{method} {target}")
            self.bodies += bool(body)
            fault = self._faults.pop(0) if self._faults else ""
            if isinstance(fault, int):
                return fault, PAGE % fault, ""
            if fault == "closed":
                return 503, b"", "silent"
            try:
                path, _, query = target.partition("?")
                if instance is None or instance.uuid not in self._instances:
                    raise Refusal(404, "identity.unknown", "there is no such instance")
                answer = self._answer(instance, method, unquote(path), query, body)
                if method == "POST":
                    self._changed.notify_all()
            except Refusal as refusal:
                page = self.old_agent or self.without_peerdata
                status = 403 if refusal.status == 413 else refusal.status
                return status, PAGE % status if page else _json({"error": refusal.error}), str(fault)
            return 200, answer, str(fault)

    def _listen(self, instance: Instance | None) -> None:
        def respond(method: str, target: str, body: bytes) -> tuple[int, bytes, str]:
            return self.respond(instance, method, target, body)

        self._servers[instance.uuid if instance else ""] = Server(respond)

    def _answer(self, instance: Instance, method: str, path: str, query: str, body: bytes) -> bytes:
        found = re.fullmatch(r"/openstack/(latest|\d{4}-\d\d-\d\d)/(.*)", path)
        call = found[2] if found else ""
        project = self._projects[instance.project]
        try:
            if found and call == "" and method == "GET":
                nova = ["meta_data.json", *(["network_data.json"] if instance.network_data is not None else [])]
                return "\n".join(nova if self.without_peerdata else [*nova, *LISTED]).encode()
            if call == "meta_data.json":
                return _nova_json(_document(instance, project))
            if call == "network_data.json" and instance.network_data is not None:
                return _nova_json(instance.network_data)
            if not self.without_peerdata:
                answer = self._answer_ours(instance, project, method, call, parse_query(query), body)
                if answer is not None:
                    return answer
            raise Refusal(404, "path.unknown", f"there is nothing at {path}")
        except Refusal as refusal:
            if call != "peer_data/last_error.json" and refusal.error["code"] != "peerdata.path.unknown":
                when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                instance.last_error = {**refusal.error, "time": when, "call": f"{method} {path}"}
            raise

    def _answer_ours(
        self, instance: Instance, project: Project, method: str, call: str, given: Pairs, body: bytes
    ) -> bytes | None:
        cluster = re.fullmatch(r"cluster/([^/]*)(\.json|/formed)", call)
        if call == "metadata" and method == "POST":
            meta, shared = parse_publish(given, body)
            project.publish(instance.uuid, meta, shared=shared)
            return _nova_json(_document(instance, project))
        methods = dict.fromkeys(("shared.json", "peer_data.json", "peer_data/last_error.json"), "GET")
        methods["metadata"] = "POST"
        if cluster:
            methods[call] = "POST" if cluster[2] == "/formed" else "GET POST"
        if call not in methods:
            return None
        if method not in methods[call].split():
            raise Refusal(400, "method.unsupported", f"{call} does not support {method}", method=method)
        if cluster:
            return self._answer_cluster(instance, project, method, cluster[1], cluster[2], given)
        if call == "shared.json":
            only(given)
            return _json([{"meta": sharer.meta, "uuid": uuid} for uuid, sharer in project.peers()])
        if call == "peer_data.json":
            return self._answer_peer_data(instance, project, given)
        only(given)
        return _json({"error": instance.last_error})

    def _answer_peer_data(self, instance: Instance, project: Project, given: Pairs) -> bytes:
        since, prefix, wait_s = parse_follow(given)

        def has_news() -> bool:
            news = project.news(since, prefix)
            return self._closed or bool(news["full"] or news["peers"] or news["removed"])

        self._changed.wait_for(has_news, min(wait_s, self.max_wait_s))
        return _json({**project.news(since, prefix), "self": instance.uuid, "poll_after_s": self.poll_after_s})

    def _answer_cluster(
        self, instance: Instance, project: Project, method: str, name: str, suffix: str, given: Pairs
    ) -> bytes:
        if not CLUSTER_NAME.fullmatch(name):
            raise Refusal(400, "cluster.name_invalid", f"'{name}' is not a valid cluster name")
        if method == "GET":
            only(given)
        elif suffix == "/formed":
            project.confirm(instance.uuid, name, parse_formed(given))
        else:
            plan, meta = parse_join(given)
            project.enter(instance.uuid, name, plan, meta)
        return _json({**project.state(instance.uuid, name), "poll_after_s": self.poll_after_s})


def _document(instance: Instance, project: Project) -> dict[str, Any]:
    """meta_data.json, with the members that nova's always has."""
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
    """As peerdata writes it: each answer of its own ends its line, a document of nova's does not."""
    return _nova_json(value) + b"\n"


def _nova_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
