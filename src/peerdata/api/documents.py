# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
An instance's metadata document: as it was read, what its owner has set in it, and with the instance's own keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from peerdata.httpd.messages import Answer
from peerdata.identity.interface import Document
from peerdata.model import PREFIX, Entry, Instance
from peerdata.service.board import prefixed


class Reading(NamedTuple):
    """A caller's document, as it was read just now."""

    caller: Instance
    """Whom it proves."""
    document: Document
    answer: Answer | None
    """As it came; None: whoever wants one makes it of the document."""


SettleReading = Callable[[Reading | Answer | Exception], None]
"""Takes what came of the question for a caller's document: it, nova's answer where that is not a 200, or an error."""


class Proven(NamedTuple):
    """A caller, and its document where that was read to prove it."""

    caller: Instance
    reading: Reading | None = None


def merge(document: Document, own: Mapping[str, Entry]) -> Document:
    """*document* with the instance's own keys in ``meta``; set by itself first, they are not the owner's to change."""
    if not own:
        return document
    meta = {**document.get("meta", {}), **prefixed((key, entry.value) for key, entry in own.items())}
    return {**document, "meta": meta}


def owned(document: Document) -> dict[str, str]:
    """What the owner set through nova under names of ours, without the prefix."""
    meta = document.get("meta", {})
    return {key.removeprefix(PREFIX): value for key, value in meta.items() if key.startswith(PREFIX)}
