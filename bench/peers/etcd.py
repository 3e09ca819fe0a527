# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
etcd: one member, as Debian has it, with fsync on and its data on the file system that ours is on.

What an instance publishes lies there twice, once for each of its protocols: in v2 a directory for the project and one
in it for each instance; in v3 keys PROJECT/UUID/KEY. Sources: etcd 3.4, Documentation/v2/api.md and
Documentation/dev-guide/api_grpc_gateway.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.chain.ports import answers, free_port
from tests.chain.run import until

from bench.crowd import Instance, Project
from bench.exchange import AnswerWrong, Check, Reply, ask, holds, request
from bench.load.guests import send
from bench.stage import Stage
from bench.tools import Tools

_JSON = [("Content-Type", "application/json")]
_FORM = [("Content-Type", "application/x-www-form-urlencoded")]

check_created = holds(b'"action":"create"', status=201)
check_put = holds(b'"revision"')


class Etcd:
    """The server, with the requests that are to be asked of it."""

    name = "etcd"

    def __init__(self, stage: Stage, tools: Tools) -> None:
        self.port = free_port()
        self._stage = stage
        self._tools = tools

    def start(self) -> None:
        """Return once it answers."""
        clients, members = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{free_port()}"
        command = [self._tools.etcd, "--enable-v2", "--data-dir", str(self._stage.directory / self.name)]
        command += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
        command += ["--listen-peer-urls", members, "--initial-advertise-peer-urls", members]
        command += ["--initial-cluster", f"default={members}", "--log-level", "error"]
        self._stage.start(self.name, command, environment=self._tools.environment)
        until("etcd answers", lambda: answers(self.port, "/health"))

    def fill(self, project: Project) -> None:
        """Let all instances of *project* have published, by both protocols."""
        keys = [(f"{one.project}/{one.uuid}", key, value) for one in project.instances for key, value in one.entries]
        send(self.port, [create_v2(f"{place}/{key}", value) for place, key, value in keys], check_created)
        send(self.port, [put_v3(f"{place}/{key}", value) for place, key, value in keys], check_put)

    def revision(self) -> int:
        """Of v3, now."""
        reply = ask(self.port, range_v3("nothing"))
        return int(json.loads(reply.body)["header"]["revision"])


def directory_v2(project: Project) -> bytes:
    """The request that reads all of *project* by v2."""
    return request("GET", f"/v2/keys/{project.name}?recursive=true")


def create_v2(path: str, value: str) -> bytes:
    """The request that sets *path*, which must not be there yet, by v2."""
    return request("PUT", f"/v2/keys/{path}?prevExist=false", _FORM, urlencode({"value": value}).encode())


def range_v3(prefix: str, *, since: int = 0) -> bytes:
    """The request that reads all keys under *prefix* by v3, or only those that changed after revision *since*."""
    asked = {"key": text64(prefix + "/"), "range_end": text64(prefix + "0")}  # "0" is what comes after "/" in ASCII
    return _v3("kv/range", asked | ({"min_mod_revision": str(since + 1)} if since else {}))


def put_v3(key: str, value: str) -> bytes:
    """The request that sets *key* by v3, whether or not it is there."""
    return _v3("kv/put", {"key": text64(key), "value": text64(value)})


def create_v3(entries: Mapping[str, str]) -> bytes:
    """The request that sets all of *entries* by v3 if none of them is there: what a publish promises."""
    return _v3(
        "kv/txn",
        {
            "compare": [{"target": "CREATE", "key": text64(key), "create_revision": "0"} for key in entries],
            "success": [{"requestPut": {"key": text64(key), "value": text64(entries[key])}} for key in entries],
        },
    )


def watch_v3(prefix: str, *, since: int) -> bytes:
    """The request that is answered, without an end, with every change under *prefix* after revision *since*."""
    watched = {"key": text64(prefix + "/"), "range_end": text64(prefix + "0"), "start_revision": str(since + 1)}
    return _v3("watch", {"create_request": watched})


def _v3(call: str, message: Mapping[str, Any]) -> bytes:
    return request("POST", f"/v3/{call}", _JSON, json.dumps(message, separators=(",", ":")).encode())


def text64(text: str) -> str:
    """*text* as the JSON of v3 has bytes."""
    return base64.b64encode(text.encode()).decode()


def lists_v2(project: Project) -> Check:
    """That an answer to `directory_v2` has every key of every instance, and no other."""

    def check(reply: Reply) -> None:
        holds(b"")(reply)
        places = json.loads(reply.body)["node"]["nodes"]
        _compare(project, {node["key"].lstrip("/"): node["value"] for place in places for node in place["nodes"]})

    return check


def lists_v3(project: Project) -> Check:
    """The same of an answer to `range_v3`."""

    def check(reply: Reply) -> None:
        holds(b"")(reply)
        pairs = json.loads(reply.body)["kvs"]
        _compare(project, {_text(pair["key"]): _text(pair["value"]) for pair in pairs})

    return check


def check_quiet(reply: Reply) -> None:
    """That an answer to `range_v3` with `since` has no news."""
    holds(b'"count":')(reply)
    if json.loads(reply.body).get("kvs"):
        raise AnswerWrong("the range has news")


def _compare(project: Project, found: Mapping[str, str]) -> None:
    wanted = {f"{one.project}/{one.uuid}/{key}": value for one in project.instances for key, value in one.entries}
    if found != wanted:
        raise AnswerWrong(f"not the {len(wanted)} keys that were set, but {len(found)}")


def _text(value: str) -> str:
    return base64.b64decode(value).decode()


def both(one: Instance) -> str:
    """What *one* publishes, as one value."""
    return json.dumps(one.keys, separators=(",", ":"))
