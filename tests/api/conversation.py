"""
What conversations are told with: an instance that asks, and what it hears.

    await alice.publish("etcd_addr=10.0.0.11", shared=True)
    heard = await bob.get("shared.json")
    assert heard.status == 200
"""

import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from peerdata.errors import PeerdataError
from peerdata.httpd.messages import Answer, Request

Pairs = Sequence[tuple[bytes, bytes]]


class Service(Protocol):
    """What answers: `InstanceApi` or `OperatorApi`."""

    def respond(self, request: Request) -> Answer | Awaitable[Answer]:
        """The answer to a request, at once or later."""


class Heard:
    """An answer, as its reader takes it."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.body = b"".join(answer.body) if isinstance(answer.body, tuple) else answer.body
        self.content_type = answer.content_type
        self.headers = answer.headers

    @property
    def json(self) -> Any:
        """The body's JSON, which must be all of it and UTF-8."""
        return json.loads(self.body.decode("utf-8"))

    @property
    def error(self) -> dict[str, Any]:
        """The ``error`` member of a refusal."""
        assert self.content_type == b"application/json; charset=utf-8"
        error: dict[str, Any] = self.json["error"]
        return error

    @property
    def code(self) -> str:
        """The refusal's code, without ``peerdata.``."""
        code: str = self.error["code"]
        return code.removeprefix("peerdata.")

    @property
    def meta(self) -> dict[str, str]:
        """``meta`` of a metadata document."""
        assert self.status == 200, self.body
        meta: dict[str, str] = self.json.get("meta", {})
        return meta

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:300]!r}>"


@dataclass
class Guest:
    """One instance, with what the way to the service adds to its requests."""

    service: Service
    uuid: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    client: str = "192.0.2.1"

    async def ask(
        self,
        method: str,
        target: str | bytes,
        body: bytes = b"",
        headers: Pairs = (),
        fault: PeerdataError | None = None,
    ) -> Heard:
        """Send any request; *target* is the path and query as they stand in the request line."""
        raw = target if isinstance(target, bytes) else target.encode()
        request = Request(
            method, raw, [(b"host", b"169.254.169.254"), *self.headers, *headers], body, fault, self.client
        )
        answer = self.service.respond(request)
        return Heard(answer if isinstance(answer, Answer) else await answer)

    async def get(self, path: str, query: str = "", *, version: str = "latest") -> Heard:
        """GET a path behind ``/openstack/{version}/``."""
        return await self.ask("GET", _target(version, path, query))

    async def publish(self, *pairs: str, shared: bool = False, version: str = "latest") -> Heard:
        """Publish ``key=value`` pairs in the form without a body."""
        query = ["shared=project"] if shared else []
        for pair in pairs:
            key, _, value = pair.partition("=")
            query.append(f"meta.{quote(key, safe='')}={quote(value, safe='')}")
        return await self.ask("POST", _target(version, "metadata", "&".join(query)))

    async def post(self, content: object, query: str = "", *, version: str = "latest") -> Heard:
        """Publish with a body: bytes as they are, anything else as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return await self.ask("POST", _target(version, "metadata", query), body)

    async def last_error(self) -> Any:
        """What last_error.json tells."""
        heard = await self.get("peer_data/last_error.json")
        assert heard.status == 200
        return heard.json["error"]

    async def shared_keys(self) -> dict[str, dict[str, str]]:
        """What shared.json tells: uuid to keys, in its order."""
        heard = await self.get("shared.json")
        assert heard.status == 200, heard
        return {peer["uuid"]: peer["meta"] for peer in heard.json}


def _target(version: str, path: str, query: str) -> str:
    return f"/openstack/{version}/{path}{'?' if query else ''}{query}"
