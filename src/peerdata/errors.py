# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Every way in which peerdata says no, as one tree. Imports nothing of the project.

    PeerdataError
    ├── RequestInvalid            the request is wrong, and why
    │   ├── RequestMalformed  HeadTooLarge  BodyTooLarge  BodyTimedOut
    │   ├── BodyEmpty  BodyNotUtf8  BodyNotJson  BodyNotObject  BodyMemberUnknown  BodyAndParameters
    │   ├── MetaMissing  MetaNotObject  MetaEmpty
    │   ├── KeyInvalid  KeyRepeated  ValueNotString  ValueInvalid  ValueTooLong
    │   ├── SharedInvalid  ParameterUnknown  ParameterRepeated  ParameterInvalid
    │   ├── ClusterNameInvalid
    │   └── MethodUnsupported  PathUnknown
    ├── IdentityRefused           who asks is not proven
    │   └── IdentityMissing  IdentityRepeated  SignatureWrong  InstanceUnknown
    ├── KeyTaken                  write-once: the key is set
    ├── ClusterTaken              write-once: the cluster has another size, founders or closed
    ├── NotFounder                who confirms is no founder of the cluster's term
    ├── QuotaReached              an instance or a project is full
    ├── UpstreamFailed            nova did not answer, or not with an answer
    │   └── UpstreamSilent
    ├── StoreUnavailable          the store cannot be read or written now
    ├── ServerBusy                too much at once; nothing was begun
    ├── CannotListen              an address that the service is to listen on is not to be had
    └── SettingsInvalid           the service cannot start with these settings

A leaf has a ``code``, which programs may compare and which never changes once
published; a message that tells its reader what happened to which thing and
what would work; and named facts, which stand beside both in the answer. The
HTTP status of each is decided in `api.answers`, nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Union

Fact = Union[str, int, float, None, "list[str]"]


class PeerdataError(Exception):
    """A defect of the service, not of the request. The log has it under the request id."""

    code: ClassVar[str] = "peerdata.server.error"

    def __init__(self, message: str, **facts: Fact) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class RequestInvalid(PeerdataError):
    """The request is wrong; the message says why."""

    code = "peerdata.request.invalid"


class RequestMalformed(RequestInvalid):
    """The bytes on the connection are not an HTTP/1.1 request."""

    code = "peerdata.request.malformed"


class HeadTooLarge(RequestInvalid):
    """Request line and headers together are over the limit."""

    code = "peerdata.request.head_too_large"


class BodyTooLarge(RequestInvalid):
    """The body is over the limit; the rest of it was not read."""

    code = "peerdata.body.too_large"


class BodyTimedOut(RequestInvalid):
    """The body did not arrive whole in time."""

    code = "peerdata.body.timed_out"


class BodyEmpty(RequestInvalid):
    """There is no body and no ``meta.`` parameter; neutron's agents lose bodies on the way."""

    code = "peerdata.body.empty"


class BodyNotUtf8(RequestInvalid):
    """The body is not UTF-8."""

    code = "peerdata.body.not_utf8"


class BodyNotJson(RequestInvalid):
    """The body is not JSON, or was cut on the way."""

    code = "peerdata.body.not_json"


class BodyNotObject(RequestInvalid):
    """The body is JSON, but not an object."""

    code = "peerdata.body.not_object"


class BodyMemberUnknown(RequestInvalid):
    """The body's object has a member other than ``meta``."""

    code = "peerdata.body.member_unknown"


class BodyAndParameters(RequestInvalid):
    """Keys came both in the body and as ``meta.`` parameters."""

    code = "peerdata.body.and_parameters"


class MetaMissing(RequestInvalid):
    """The body's object has no member ``meta``."""

    code = "peerdata.meta.missing"


class MetaNotObject(RequestInvalid):
    """``meta`` is not an object."""

    code = "peerdata.meta.not_object"


class MetaEmpty(RequestInvalid):
    """``meta`` holds no key."""

    code = "peerdata.meta.empty"


class KeyInvalid(RequestInvalid):
    """A key is empty, too long, or has a character outside nova's alphabet."""

    code = "peerdata.key.invalid"


class KeyRepeated(RequestInvalid):
    """A key stands twice in one call."""

    code = "peerdata.key.repeated"


class ValueNotString(RequestInvalid):
    """A value is not a JSON string."""

    code = "peerdata.value.not_string"


class ValueInvalid(RequestInvalid):
    """A value holds a NUL or a lone surrogate, which no store and no reader can be trusted with."""

    code = "peerdata.value.invalid"


class ValueTooLong(RequestInvalid):
    """A value is longer than the limit."""

    code = "peerdata.value.too_long"


class SharedInvalid(RequestInvalid):
    """``shared`` is there, but is not exactly one ``project``."""

    code = "peerdata.shared.invalid"


class ParameterUnknown(RequestInvalid):
    """The query string has a parameter that this call does not know."""

    code = "peerdata.parameter.unknown"


class ParameterRepeated(RequestInvalid):
    """A parameter stands twice in the query string."""

    code = "peerdata.parameter.repeated"


class ParameterInvalid(RequestInvalid):
    """A parameter's value, or the query string itself, cannot be understood."""

    code = "peerdata.parameter.invalid"


class ClusterNameInvalid(RequestInvalid):
    """The name of a cluster is not 1 to 64 of ``a-z A-Z 0-9 - _ .``."""

    code = "peerdata.cluster.name_invalid"


class MethodUnsupported(RequestInvalid):
    """The path exists, the method does not; 400, because neutron's agents do not pass a 405 on."""

    code = "peerdata.method.unsupported"


class PathUnknown(RequestInvalid):
    """Stand-alone only: there is nothing at this path, or nova never had this version."""

    code = "peerdata.path.unknown"


class IdentityRefused(PeerdataError):
    """Who is asking could not be proven."""

    code = "peerdata.identity.refused"


class IdentityMissing(IdentityRefused):
    """A header that the metadata proxy adds is not there: the request did not come through it."""

    code = "peerdata.identity.missing"


class IdentityRepeated(IdentityRefused):
    """A header that the metadata proxy adds stands there twice."""

    code = "peerdata.identity.repeated"


class SignatureWrong(IdentityRefused):
    """The proxy's signature does not fit: its shared secret is not ours, or the request is forged."""

    code = "peerdata.identity.signature"


class InstanceUnknown(IdentityRefused):
    """Nova, or the inventory, does not know this instance in this project. Nothing was stored."""

    code = "peerdata.identity.unknown"


class KeyTaken(PeerdataError):
    """The key holds another value, or the same with another sharing. Nothing of the call was stored."""

    code = "peerdata.key.taken"


class ClusterTaken(PeerdataError):
    """The cluster was begun with another size, founders or closed; nothing of the call was stored."""

    code = "peerdata.cluster.taken"


class NotFounder(PeerdataError):
    """Who confirms a cluster is no founder of its present term: it was replaced, or never was one."""

    code = "peerdata.cluster.not_founder"


class QuotaReached(PeerdataError):
    """The instance or its project holds as many keys, or bytes of them, as it may. Nothing of the call was stored."""

    code = "peerdata.quota.reached"


class UpstreamFailed(PeerdataError):
    """Nova could not be reached, or what came back was not an answer. Nothing was stored."""

    code = "peerdata.upstream.failed"


class UpstreamSilent(UpstreamFailed):
    """Nova did not answer in time. Nothing was stored."""

    code = "peerdata.upstream.silent"


class StoreUnavailable(PeerdataError):
    """The store cannot be read or written now. Nothing was stored, unless the message says that it is not known."""

    code = "peerdata.store.unavailable"


class ServerBusy(PeerdataError):
    """Too many calls at once. This one was not begun; try again."""

    code = "peerdata.server.busy"


class CannotListen(PeerdataError):
    """An address is taken, not there yet, or not allowed. Never an answer: exit code 1, so that it is tried again."""

    code = "peerdata.server.cannot_listen"


class SettingsInvalid(PeerdataError):
    """The service cannot start with these settings. Never an answer: exit code 2."""

    code = "peerdata.settings.invalid"


def tree(root: type[PeerdataError] = PeerdataError) -> Iterator[type[PeerdataError]]:
    """*root* and every error below it, parents first, in the order in which they are defined."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)
