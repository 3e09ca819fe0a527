# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Asks nova-metadata-api, and hands on what it answers, byte for byte. All timeouts and bounds towards nova live here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp
import yarl

from peerdata import metrics
from peerdata.errors import UpstreamFailed, UpstreamSilent
from peerdata.settings import NovaSettings

LOG = logging.getLogger(__name__)

Headers = Iterable[tuple[bytes, bytes]]

# RFC 9110, 7.6.1: these belong to one connection; Content-Length is set anew from the body.
_OF_ONE_CONNECTION = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length expect".split()
)


@dataclass(frozen=True, slots=True)
class NovaAnswer:
    """What nova said; its body is whole, as nova sent it (never unpacked)."""

    status: int
    content_type: bytes
    """Empty where nova sent none."""
    headers: tuple[tuple[bytes, bytes], ...]
    """All other end-to-end headers, in order."""
    body: bytes


class Nova:
    """The connections to one nova-metadata-api."""

    def __init__(self, settings: NovaSettings) -> None:
        self._url = settings.metadata_url.rstrip("/")
        self._timeout_s = settings.timeout
        self._max_answer_bytes = settings.max_answer_bytes
        tls = _tls(settings) if self._url.startswith("https:") else True
        timeout = aiohttp.ClientTimeout(total=settings.timeout)

        def session(*, reuse: bool) -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(
                limit=settings.max_connections, force_close=not reuse, ssl=tls, ttl_dns_cache=60
            )
            return aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            )

        self._reads = session(reuse=True)
        # A call that may change something never goes out on a connection that nova is just closing: it could not be
        # told from one that nova carried out, and must not be repeated.
        self._others = session(reuse=False)

    async def ask(self, method: str, target: bytes, headers: Headers, body: bytes = b"") -> NovaAnswer:
        """
        Send one request to nova, and give what it answers, whatever the status.

        Args:
            method: Any token.
            target: Path and query as they came, sent on without a change.
            headers: All of the request's; those of the connection itself are left out.
            body: Sent on as it is.

        Raises:
            UpstreamFailed: no connection, an answer that is not HTTP, cut, or over ``max_answer_bytes``.
            UpstreamSilent: not answered whole within ``timeout``.
        """
        session = self._reads if method in ("GET", "HEAD") else self._others
        began = time.perf_counter()
        outcome = "failed"
        try:
            async with session.request(
                method,
                yarl.URL(self._url + target.decode("latin-1"), encoded=True),
                headers=[
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in headers
                    if name not in _OF_ONE_CONNECTION
                ],
                data=body or None,
                allow_redirects=False,
            ) as response:
                answer = await self._read(method, response)
                outcome = str(answer.status)
                return answer
        except TimeoutError as error:
            outcome = "silent"
            LOG.warning("Nova did not answer within %s s (%s)", self._timeout_s, self._url)
            raise UpstreamSilent(
                f"nova did not answer within {self._timeout_s:g} s; try again", timeout_s=self._timeout_s
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            LOG.warning("Nova failed (%s): %s: %s", self._url, type(error).__name__, error)
            raise UpstreamFailed(
                "nova could not be reached, or its answer could not be understood; try again"
            ) from error
        finally:
            metrics.UPSTREAM_SECONDS.labels(outcome).observe(time.perf_counter() - began)

    async def _read(self, method: str, response: aiohttp.ClientResponse) -> NovaAnswer:
        chunks = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._max_answer_bytes:
                LOG.warning("Nova's answer is longer than [nova] max_answer_bytes = %d", self._max_answer_bytes)
                raise UpstreamFailed(
                    f"nova's answer is longer than {self._max_answer_bytes} bytes", limit=self._max_answer_bytes
                )
            chunks.append(chunk)
        content_type = b""
        further = []
        for name, value in response.raw_headers:
            lower = name.lower()
            if lower == b"content-type":
                content_type = value
            elif lower not in _OF_ONE_CONNECTION and lower != b"date":
                further.append((name, value))
        return NovaAnswer(response.status, content_type, tuple(further), b"".join(chunks))

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
        except ValueError as error:
            raise UpstreamFailed("nova's meta_data.json is not JSON") from error
        meta = document.get("meta", {}) if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(document.get("uuid"), str) or not isinstance(meta, dict):
            raise UpstreamFailed("nova's meta_data.json is not a metadata document")
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
        except (UpstreamFailed, TimeoutError):
            return False
        return answer.status < 500

    async def close(self) -> None:
        """Close all connections."""
        await self._reads.close()
        await self._others.close()


def _tls(settings: NovaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.cafile or None)
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certfile:
        context.load_cert_chain(settings.certfile, settings.keyfile or None)
    return context
