# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What is said: values as JSON, and every error as its status. The one place where a status is decided.
"""

from __future__ import annotations

import json

from peerdata import errors
from peerdata.errors import PeerdataError
from peerdata.httpd.messages import Answer
from peerdata.service.board import render

STATUS: dict[type[PeerdataError], int] = {
    PeerdataError: 500,
    errors.RequestInvalid: 400,
    errors.PathUnknown: 404,
    errors.IdentityRefused: 400,
    errors.SignatureWrong: 403,
    errors.InstanceUnknown: 404,
    errors.KeyTaken: 409,
    errors.ClusterTaken: 409,
    errors.NotFounder: 409,
    errors.QuotaReached: 413,
    errors.UpstreamFailed: 502,
    errors.UpstreamSilent: 504,
    errors.StoreUnavailable: 503,
    errors.ServerBusy: 503,
    errors.CannotListen: 500,
    errors.SettingsInvalid: 500,
}
"""Of each error, or of the nearest above it in the tree."""

# Only 200, 400, 403, 404, 409, 500, 502, 503 and 504 get through neutron's agents; 413 would arrive as 500 or 502.
_THROUGH_NEUTRON = {413: 403}


def status_of(error: type[PeerdataError], *, through_neutron: bool) -> int:
    """The HTTP status of an error, for a caller that comes through neutron or directly."""
    status = next(STATUS[parent] for parent in error.__mro__ if parent in STATUS)
    return _THROUGH_NEUTRON.get(status, status) if through_neutron else status


def describe(error: PeerdataError) -> dict[str, object]:
    """The ``error`` member of the answer: code, message, facts."""
    return {"code": error.code, "message": error.message, **error.facts}


def refuse(error: PeerdataError, *, through_neutron: bool) -> Answer:
    """The answer to a call that failed."""
    return answer_json({"error": describe(error)}, status=status_of(type(error), through_neutron=through_neutron))


def answer_json(value: object, *, status: int = 200) -> Answer:
    """*value* as a JSON answer. Like all JSON of ours it ends its line, for whoever reads it in a terminal."""
    return Answer(status, render(value) + b"\n")


def answer_document(document: object) -> Answer:
    """A metadata document, in the form in which nova writes it (spaces, ASCII, no line end)."""
    return Answer(200, json.dumps(document).encode())
