"""
A nova-metadata-api small enough to be told anything: to be slow, silent, gone, cut, garbled, huge, or just odd.

It reads and writes plain bytes, so that what it saw and said can be compared byte for byte.
"""

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

SECRET = "between nova, neutron and us"

VERSIONS = ["2012-08-10", "2013-04-04", "2015-10-15", "2018-08-27", "2025-04-04", "latest"]
"""Not all that nova has, so that it shows whose list counts."""


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    """Names as they were written."""
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its name in lower case."""
        return next((value for known, value in self.headers if known.lower() == name), None)


@dataclass
class Server:
    """An instance that nova knows."""

    uuid: str
    project_id: str
    address: str
    meta: dict[str, str] = field(default_factory=dict)

    def document(self, version: str) -> dict[str, Any]:
        """Its meta_data.json; ``project_id`` came with 2015-10-15."""
        document: dict[str, Any] = {"uuid": self.uuid, "name": "ü", "random_seed": "c2VlZA=="}
        if self.meta:
            document["meta"] = self.meta
        if version >= "2015-10-15":
            document["project_id"] = self.project_id
        return document


Mood = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


def answer_bytes(
    status: int, body: bytes, *headers: tuple[bytes, bytes], content_type: bytes = b"application/json"
) -> bytes:
    """A whole HTTP answer."""
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
    if content_type:
        lines.append(b"Content-Type: " + content_type)
    lines += [b"%s: %s" % header for header in headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


class FakeNova:
    """Listens on loopback; answers as nova does, unless `mood` says otherwise."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.servers: dict[str, Server] = {}
        self.versions = list(VERSIONS)
        self.seen: list[Seen] = []
        self.port = 0
        self.mood: Mood = self._answer
        self.asked = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """For ``[nova] metadata_url``."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def open(self) -> None:
        """Begin to listen, at the same port as before."""
        self._listener = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and drop those that are open."""
        if self._listener:
            self._listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._listener = None

    # Moods

    def be_well(self) -> None:
        """Answer as nova does."""
        self.mood = self._answer

    def be_silent(self) -> None:
        """Take requests, and never answer."""

        async def mood(_seen: Seen, _writer: asyncio.StreamWriter) -> None:
            await asyncio.Event().wait()

        self.mood = mood

    def say_bytes(self, said: bytes, *, then: Literal["close", "hang", "go on"] = "close") -> None:
        """Write *said* to whatever is asked; it need not be HTTP, nor whole."""

        async def mood(_seen: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            await writer.drain()
            if then == "close":
                writer.close()
            elif then == "hang":
                await asyncio.Event().wait()

        self.mood = mood

    def say(self, status: int, body: bytes, *headers: tuple[bytes, bytes], content_type: bytes = b"text/plain") -> None:
        """Give the same answer to whatever is asked."""
        self.say_bytes(answer_bytes(status, body, *headers, content_type=content_type))

    def say_to(self, part_of_target: bytes, said: bytes) -> None:
        """Write *said* to requests whose target has that part in it, and answer all others as nova does."""

        async def mood(seen: Seen, writer: asyncio.StreamWriter) -> None:
            if part_of_target in seen.target:
                writer.write(said)
                await writer.drain()
                writer.close()
            else:
                await self._answer(seen, writer)

        self.mood = mood

    # Serving

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while not writer.is_closing():
                seen = await self._read(reader)
                self.seen.append(seen)
                self.asked.set()
                await self.mood(seen, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen:
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head[:-4].split(b"\r\n")
        method, rest = request_line.split(b" ", 1)
        headers = [(name, value.strip()) for name, value in (line.split(b":", 1) for line in lines)]
        length = next((int(value) for name, value in headers if name.lower() == b"content-length"), 0)
        return Seen(method.decode(), rest.rsplit(b" ", 1)[0], headers, await reader.readexactly(length))

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        status, body, content_type = self._decide(seen)
        answer = answer_bytes(status, body, content_type=content_type)
        writer.write(answer[: -len(body)] if seen.method == "HEAD" and body else answer)
        await writer.drain()

    def _decide(self, seen: Seen) -> tuple[int, bytes, bytes]:
        """As nova's handler: who asks first, then what."""
        html = b"text/html; charset=UTF-8"
        path = seen.target.partition(b"?")[0].decode("latin-1").rstrip("/")
        if path in ("", "/openstack"):
            return 200, "\n".join(self.versions).encode(), b"text/plain; charset=UTF-8"
        server = self._find(seen)
        if isinstance(server, int):
            return server, b"<html>refused</html>", html
        if match := re.fullmatch(r"/openstack/([^/]+)/meta_data\.json", path):
            if match[1] in self.versions:
                return 200, json.dumps(server.document(match[1])).encode(), b"application/json"
        elif match := re.fullmatch(r"/openstack/([^/]+)", path):
            if match[1] in self.versions:
                return 200, b"meta_data.json\nnetwork_data.json\nuser_data", b"text/plain; charset=UTF-8"
        elif path == "/openstack/latest/user_data":
            return 200, bytes(range(256)), b"application/octet-stream"
        elif path == "/openstack/latest/password":
            return (409, b"", html) if seen.method == "POST" else (200, b"", b"text/plain; charset=UTF-8")
        return 404, b"<html>404 Not Found</html>", html

    def _find(self, seen: Seen) -> Server | int:
        """Who asks; or the status with which nova refuses."""
        uuid, tenant = seen.header(b"x-instance-id"), seen.header(b"x-tenant-id")
        if uuid is None:
            address = (seen.header(b"x-forwarded-for") or b"").decode()
            found = next((server for server in self.servers.values() if server.address == address), None)
            return found or 404
        if tenant is None:
            return 400
        if seen.header(b"x-instance-id-signature") != sign(uuid.decode("latin-1")):
            return 403
        server = self.servers.get(uuid.decode("latin-1"))
        return server if server and server.project_id.encode() == tenant else 404


def sign(uuid: str, secret: str = SECRET) -> bytes:
    """As neutron's agent does."""
    return hmac.new(secret.encode(), uuid.encode("latin-1"), "sha256").hexdigest().encode()


def through_neutron(server: Server) -> list[tuple[bytes, bytes]]:
    """The headers that neutron's agent adds to a request of *server*."""
    return [
        (b"x-forwarded-for", server.address.encode()),
        (b"x-instance-id", server.uuid.encode()),
        (b"x-tenant-id", server.project_id.encode()),
        (b"x-instance-id-signature", sign(server.uuid)),
    ]
