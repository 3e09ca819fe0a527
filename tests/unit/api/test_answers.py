"""Values as JSON, errors as statuses."""

import json

import pytest

from peerdata import errors
from peerdata.api.answers import answer_document, answer_json, describe, refuse, status_of
from peerdata.errors import PeerdataError

THROUGH_NEUTRON = {200, 400, 403, 404, 409, 500, 502, 503, 504}
"""What arrives at an instance behind any agent of neutron (docs/protocol.md, "Statuses and errors")."""


@pytest.mark.parametrize(
    ("error", "direct", "through_neutron"),
    [
        (errors.PeerdataError, 500, 500),
        (errors.RequestInvalid, 400, 400),
        (errors.BodyEmpty, 400, 400),
        (errors.BodyTooLarge, 400, 400),
        (errors.HeadTooLarge, 400, 400),
        (errors.MethodUnsupported, 400, 400),
        (errors.PathUnknown, 404, 404),
        (errors.IdentityRefused, 400, 400),
        (errors.IdentityMissing, 400, 400),
        (errors.IdentityRepeated, 400, 400),
        (errors.SignatureWrong, 403, 403),
        (errors.InstanceUnknown, 404, 404),
        (errors.KeyTaken, 409, 409),
        (errors.QuotaReached, 413, 403),
        (errors.UpstreamFailed, 502, 502),
        (errors.UpstreamSilent, 504, 504),
        (errors.StoreUnavailable, 503, 503),
        (errors.ServerBusy, 503, 503),
    ],
)
def test_each_error_has_its_status(error: type[PeerdataError], direct: int, through_neutron: int) -> None:
    assert status_of(error, through_neutron=False) == direct
    assert status_of(error, through_neutron=True) == through_neutron


@pytest.mark.parametrize("error", list(errors.tree()))
def test_through_neutron_only_statuses_that_arrive_are_used(error: type[PeerdataError]) -> None:
    assert status_of(error, through_neutron=True) in THROUGH_NEUTRON


def test_an_error_is_told_with_code_message_and_facts() -> None:
    error = errors.KeyTaken("key 'ü' is set", key="ü")
    assert describe(error) == {"code": "peerdata.key.taken", "message": "key 'ü' is set", "key": "ü"}
    answer = refuse(error, through_neutron=True)
    assert answer.status == 409
    assert answer.content_type == b"application/json; charset=utf-8"
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {"error": describe(error)}


def test_json_is_compact_utf8_that_ends_its_line_and_a_document_is_in_novas_form() -> None:
    assert answer_json({"a": ["ü", 1]}).body == '{"a":["ü",1]}\n'.encode()
    assert answer_document({"a": ["ü", 1]}).body == b'{"a": ["\\u00fc", 1]}'
