# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The URL table, whole: which call a request target means, by nova's own rules for paths.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus, unquote_to_bytes

from peerdata.errors import ParameterInvalid, ParameterRepeated, ParameterUnknown
from peerdata.service.rules import printable


class Call(Enum):
    """What is asked for. The values are the names that metrics and logs show."""

    PUBLISH = "metadata"
    META_DATA = "meta_data.json"
    SHARED = "shared.json"
    PEER_DATA = "peer_data.json"
    LAST_ERROR = "last_error.json"
    CLUSTER = "cluster"
    FORMED = "cluster_formed"
    LISTING = "listing"
    OTHER = "pass_through"

    __hash__ = object.__hash__  # Enum's own is made in Python, and each request asks for it several times


PATHS = {
    "metadata": Call.PUBLISH,
    "meta_data.json": Call.META_DATA,
    "shared.json": Call.SHARED,
    "peer_data.json": Call.PEER_DATA,
    "peer_data/last_error.json": Call.LAST_ERROR,
    "": Call.LISTING,
}
"""What stands behind ``/openstack/{version}/``."""

_OF_CLUSTER = re.compile(r"cluster/(?P<name>[^/]*)(\.json|/formed)")
"""What stands there for a cluster; whether it may be called so is not decided here."""

LISTED = tuple(
    sorted(["cluster/", *(path for path, call in PATHS.items() if call not in (Call.META_DATA, Call.LISTING))])
)
"""Our entries in the listing of a version, behind nova's."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request target, understood."""

    call: Call
    version: str
    """``latest``, a date, or whatever stands in its place; empty for `Call.OTHER`."""
    path: str
    """Normalised."""
    query: bytes
    """As it came, without the question mark."""
    waits: bool = False
    """Whether the query may have the parameter ``wait``."""
    cluster: str = ""
    """Name of the cluster, for `Call.CLUSTER` and `Call.FORMED`."""


def understand(target: bytes) -> Target:
    """
    What *target* (path and query, as it came) asks for.

    Source: nova, api/metadata/base.py, lookup: the decoded path through ``posixpath.normpath``. Slashes
    at the front, which that would keep when there are two, are one already (paste.urlmap, normalize_url).
    """
    # Readers ask the same short thing again and again; publishes are each another, on a few paths.
    again = len(target) <= 256 and b"meta." not in target
    return _understand_again(target) if again else _understand(target)


def _understand(target: bytes) -> Target:
    raw_path, _, query = target.partition(b"?")
    path = _understand_path_again(raw_path) if len(raw_path) <= 256 else _understand_path(raw_path)
    waits = path.call is Call.PEER_DATA and b"wait" in unquote_to_bytes(query)
    return Target(path.call, path.version, path.path, query, waits, path.cluster)


_understand_again = lru_cache(maxsize=1024)(_understand)


class _Path(NamedTuple):
    """What of a `Target` its path decides."""

    call: Call
    version: str
    path: str
    cluster: str = ""


def _understand_path(raw_path: bytes) -> _Path:
    path = unquote(raw_path.decode("latin-1"), errors="replace")
    path = posixpath.normpath("/" + path.lstrip("/"))
    tokens = path.split("/", 3)
    if len(tokens) < 3 or tokens[1] != "openstack":
        return _Path(Call.OTHER, "", path)
    rest = tokens[3] if len(tokens) == 4 else ""
    if found := _OF_CLUSTER.fullmatch(rest):
        call = Call.FORMED if rest.endswith("/formed") else Call.CLUSTER
        return _Path(call, tokens[2], path, found["name"])
    call = PATHS.get(rest, Call.OTHER)
    return _Path(call, tokens[2] if call is not Call.OTHER else "", path)


_understand_path_again = lru_cache(maxsize=1024)(_understand_path)


def parameters(query: bytes) -> list[tuple[str, str]]:
    """
    The parameters of a query string, in order, form-decoded; an escape that is none stays as it is.

    Raises:
        ParameterInvalid: not UTF-8 when decoded.
    """
    found = []
    for part in query.decode("latin-1").split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        try:
            # latin-1 above kept raw bytes apart; back to bytes first, so that raw and escaped UTF-8 mean the same.
            found.append((_decode(name), _decode(value)))
        except UnicodeDecodeError as error:
            raise ParameterInvalid("the query string is not UTF-8 once its percent-escapes are decoded") from error
    return found


def only(call: Call, query: bytes, *known: str) -> dict[str, str]:
    """
    The parameters of a query string, each of *known* at most once.

    Raises:
        ParameterInvalid, ParameterUnknown, ParameterRepeated.
    """
    return only_of(call, parameters(query), *known)


def only_of(call: Call, pairs: Sequence[tuple[str, str]], *known: str) -> dict[str, str]:
    """The same of parameters that are decoded already."""
    given: dict[str, str] = {}
    for name, value in pairs:
        shown = printable(name)
        if name not in known:
            knows = f"knows {' and '.join(known)}" if known else "has no parameters"
            raise ParameterUnknown(f"unknown parameter '{shown}': {call.value} {knows}", parameter=shown)
        if name in given:
            raise ParameterRepeated(f"'{shown}' is there more than once", parameter=shown)
        given[name] = value
    return given


def _decode(part: str) -> str:
    if "%" not in part and "+" not in part and part.isascii():
        return part  # as most are
    return unquote_plus(part, encoding="latin-1").encode("latin-1").decode("utf-8")
