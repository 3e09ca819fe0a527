# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Which instance is asking: the seams. The rules stand in docs/protocol.md, "Who is asking".

Three ways implement `Identity`. Two of them take nova's answer, which is kept for a while (`proofs`); the third, the
inventory, needs nobody's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from peerdata.model import Instance
from peerdata.upstream.nova import Headers, NovaAnswer

Clock = Callable[[], float]
"""Seconds; only differences count, and it never goes back."""

Document = dict[str, Any]
"""An instance's meta_data.json."""


class Request(Protocol):
    """What of a request may tell who is asking; `httpd.messages.Request` is one."""

    headers: list[tuple[bytes, bytes]]
    """Names in lower case, in order."""
    client: str
    """Address at the other end of the connection."""


@dataclass(frozen=True, slots=True)
class Found:
    """A good answer of nova's to the question for a caller's document."""

    answer: NovaAnswer
    document: Document
    instance: Instance
    """The caller, whom it proves."""


Settle = Callable[[Found | NovaAnswer | Exception], None]
"""Takes what came of the question for a caller's document: what `Identity.read_document` returns, or raises."""


class Identity(Protocol):
    """One way of knowing who asks."""

    through_neutron: bool
    """Whether callers come through neutron, where only some statuses arrive."""

    def recall(self, request: Request) -> Instance | None:
        """
        The caller, if that is known without asking anybody; None: `prove` must ask.

        Raises:
            IdentityRefused: the request's headers are wrong, whoever sent it.
        """

    async def prove(self, request: Request, *, stale: bool = False) -> Instance:
        """
        The caller, asking nova where needed.

        Args:
            request: Its headers and source address count, nothing else.
            stale: While nova is away, an old proof will do. For reads of what was known while it was young.

        Raises:
            IdentityRefused; UpstreamFailed, ServerBusy.
        """

    async def read_document(self, request: Request, version: str) -> Found | NovaAnswer:
        """
        The caller's meta_data.json of *version*, one that nova lists, as nova gives it now; it proves the caller too.

        Costs one question, however many of the caller's ask at the same moment. Only a version in which nova does not
        name the project costs another, where the caller is not known.

        Returns:
            Nova's answer alone, as it is, where it is not a 200.

        Raises:
            IdentityRefused: the request's headers are wrong.
            UpstreamFailed: a 200 that is not the document of the caller; and as `Nova.ask`.
        """

    def begin_document(self, request: Request, version: str, settle: Settle) -> None:
        """
        The question of `read_document` for a caller whom `recall` knows, without a task.

        *settle* is called once, now or later.

        Raises:
            IdentityRefused: the request's headers are wrong; *settle* is then not called.
        """

    async def is_gone(self, instance: Instance) -> bool:
        """
        Whether an instance is known not to exist any more, in its project. False also where that cannot be told.

        Raises:
            UpstreamFailed, ServerBusy: it cannot be told now.
        """

    def name_of(self, instance: Instance) -> str:
        """What an instance is called, for the log, if that is known without asking anybody; else empty."""

    def headers_for_nova(self, request: Request) -> Headers:
        """The request's headers, as nova may see them when the request is passed on."""

    def asking_headers(self, request: Request) -> Headers:
        """Only those by which nova finds the caller, for questions of our own: what the caller accepts is not ours."""
