# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Asks nova-metadata-api, and hands on what it answers, byte for byte. All timeouts and bounds towards nova live here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore

from peerdata import metrics
from peerdata.errors import RequestMalformed, ServerBusy, SettingsInvalid, UpstreamFailed, UpstreamSilent
from peerdata.settings import NovaSettings, no_password

LOG = logging.getLogger(__name__)

Headers = Iterable[tuple[bytes, bytes]]

# RFC 9110, 7.6.1: these belong to one connection; Content-Length is set anew from the body.
_OF_ONE_CONNECTION = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length expect".split()
)

WAITING_FOR_EACH = 32
"""Questions that may wait for each connection to nova; a thousand instances that boot at once fit, a flood does not."""

_OUTSIDE_ASCII = re.compile(rb"[\x80-\xff]")


@dataclass(frozen=True, slots=True)
class NovaAnswer:
    """What nova said; its body is whole, as nova sent it (never unpacked)."""

    status: int
    content_type: bytes
    """Empty where nova sent none."""
    headers: tuple[tuple[bytes, bytes], ...]
    """All other end-to-end headers, in order."""
    body: bytes
    head_length: int | None = None
    """Of an answer to HEAD, the Content-Length that nova stated."""


class Nova:
    """The connections to one nova-metadata-api."""

    def __init__(self, settings: NovaSettings) -> None:
        parts = urlsplit(settings.metadata_url)
        self._origin = (parts.scheme.encode(), (parts.hostname or "").encode(), parts.port)
        self._host = parts.netloc.encode()
        self._shown = settings.metadata_url
        self._timeout_s = settings.timeout
        self._max_answer_bytes = settings.max_answer_bytes

        # Each question has a connection of its own. A server that closes an idle one just as it is used again looks
        # like one that failed in the middle, and a call that may change something must not be repeated; nova under
        # uWSGI closes after each answer without saying so. Connecting costs 0.1 ms, nova's answer several.
        # The pool looks through all who wait at each event, which costs the square of their number; so they wait here.
        self._turns = asyncio.Semaphore(settings.max_connections)
        self._asking = 0
        self._asking_most = settings.max_connections * (1 + WAITING_FOR_EACH)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(settings) if parts.scheme == "https" else None,
            max_connections=settings.max_connections,
            max_keepalive_connections=0,
        )

    async def ask(self, method: str, target: bytes, headers: Headers, body: bytes = b"") -> NovaAnswer:
        """
        Send one request to nova, and give what it answers, whatever the status.

        Args:
            method: Any token.
            target: Path and query as they came, sent on without a change, but that bytes outside ASCII are escaped.
            headers: All of the request's; those of the connection itself are left out.
            body: Sent on as it is.

        Raises:
            RequestMalformed: *target* is no path.
            UpstreamFailed: no connection, an answer that is not HTTP, cut, or over ``max_answer_bytes``.
            UpstreamSilent: not answered whole within ``timeout``, the wait for a free connection included.
            ServerBusy: too many wait for one.
        """
        if not target.startswith(b"/"):
            raise RequestMalformed("the request target must be a path, beginning with a slash")
        if self._asking >= self._asking_most:
            raise ServerBusy("too many calls wait for nova already; try again in a moment")
        began = time.perf_counter()
        outcome = "failed"
        self._asking += 1
        try:
            async with asyncio.timeout(self._timeout_s), self._turns:
                answer = await self._ask(method, target, list(headers), body)
            outcome = str(answer.status)
            return answer
        except (TimeoutError, httpcore.TimeoutException) as error:
            outcome = "silent"
            LOG.warning("Nova did not answer within %s s (%s)", self._timeout_s, self._shown)
            raise UpstreamSilent(
                f"nova did not answer within {self._timeout_s:g} s; try again", timeout_s=self._timeout_s
            ) from error
        except httpcore.LocalProtocolError as error:
            raise RequestMalformed(f"this request cannot be passed on to nova: {error}") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError) as error:
            LOG.warning("Nova failed (%s): %s: %s", self._shown, type(error).__name__, error)
            raise UpstreamFailed(
                "nova could not be reached, or its answer could not be understood; try again"
            ) from error
        finally:
            self._asking -= 1
            metrics.UPSTREAM_SECONDS.labels(outcome).observe(time.perf_counter() - began)

    async def _ask(self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> NovaAnswer:
        scheme, host, port = self._origin
        url = httpcore.URL(scheme=scheme, host=host, port=port, target=_OUTSIDE_ASCII.sub(_escape, target))
        # Nova closes the connection on a POST without a Content-Length; RFC 9110, 8.6: such calls state 0.
        has_length = method in ("POST", "PUT", "PATCH") or any(name == b"content-length" for name, _ in headers)
        sent = [(name, value) for name, value in headers if name not in _OF_ONE_CONNECTION]
        if not any(name == b"host" for name, _ in sent):
            sent.insert(0, (b"host", self._host))
        async with self._pool.stream(
            method, url, headers=sent, content=body if body or has_length else None
        ) as response:
            if not 200 <= response.status <= 599:
                raise UpstreamFailed(f"nova answered with the status {response.status}", status=response.status)
            chunks = []
            size = 0
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size > self._max_answer_bytes:
                    LOG.warning("Nova's answer is longer than [nova] max_answer_bytes = %d", self._max_answer_bytes)
                    raise UpstreamFailed(
                        f"nova's answer is longer than {self._max_answer_bytes} bytes", limit=self._max_answer_bytes
                    )
                chunks.append(chunk)
        return _understand(method, response.status, response.headers, b"".join(chunks))

    async def read_document(self, version: str, headers: Headers) -> tuple[NovaAnswer, dict[str, Any] | None]:
        """
        An instance's ``meta_data.json`` as nova has it: the answer, and, where it is a 200, the document in it.

        Raises:
            UpstreamFailed: a 200 that does not hold a metadata document; and as `ask`.
        """
        answer = await self.ask("GET", f"/openstack/{version}/meta_data.json".encode(), headers)
        if answer.status != 200:
            return answer, None
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise UpstreamFailed("nova's meta_data.json is not JSON") from error
        if not isinstance(document, dict) or not isinstance(document.get("uuid"), str):
            raise UpstreamFailed("nova's meta_data.json is not a metadata document")
        meta = document.get("meta", {})
        if not isinstance(meta, dict) or not all(isinstance(value, str) for value in meta.values()):
            raise UpstreamFailed("the member meta of nova's meta_data.json does not hold strings")
        return answer, document

    async def read_versions(self, headers: Headers) -> frozenset[str]:
        """
        The versions that nova lists, ``latest`` among them.

        Raises:
            UpstreamFailed: no list came back; and as `ask`.
        """
        answer = await self.ask("GET", b"/openstack", headers)
        versions = frozenset(answer.body.decode("utf-8", "replace").split())
        if answer.status != 200 or "latest" not in versions:
            raise UpstreamFailed(f"nova did not list its versions (status {answer.status})")
        return versions

    async def reachable(self) -> bool:
        """Whether anything that speaks HTTP answers there; asked without an identity."""
        try:
            answer = await asyncio.wait_for(self.ask("GET", b"/", ()), timeout=2)
        except (UpstreamFailed, ServerBusy, TimeoutError):
            return False
        return answer.status < 500

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


def _understand(method: str, status: int, headers: Headers, body: bytes) -> NovaAnswer:
    content_type = b""
    head_length = None
    further = []
    for name, value in headers:
        lower = name.lower()
        if lower == b"content-type":
            content_type = value
        elif lower == b"content-length" and method == "HEAD":
            head_length = int(value)
        elif lower not in _OF_ONE_CONNECTION and lower != b"date":
            further.append((name, value))
    return NovaAnswer(status, content_type, tuple(further), body, head_length)


def _escape(outside: re.Match[bytes]) -> bytes:
    return b"%%%02X" % outside[0][0]


def _tls(settings: NovaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.cafile or None)
        if settings.certfile:
            context.load_cert_chain(settings.certfile, settings.keyfile, password=no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise SettingsInvalid(f"[nova] cafile, certfile or keyfile cannot be used: {error}") from error
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
