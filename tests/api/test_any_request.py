"""Whatever arrives, somebody gets an answer that they can read, and never a defect of ours."""

import json
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Cloud
from .conversation import Guest, Heard

STATUSES = {200, 400, 403, 404, 409, 503}
"""All that arrive through any agent of neutron, but those that would be a defect, or a nova that failed."""

METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "PROPFIND"])
WORDS = """
openstack latest 2018-08-27 shared.json peer_data.json peer_data last_error.json metadata meta_data.json
. .. %2e %2F %zz %ff user_data x
"""
SEGMENT = st.sampled_from(WORDS.split()) | st.just("")
PATH = st.lists(SEGMENT, max_size=5).map("/".join)
OURS = st.sampled_from(["metadata", "shared.json", "peer_data.json", "peer_data/last_error.json", "meta_data.json", ""])
QUERY = st.lists(
    st.sampled_from(
        ["shared=project", "meta.k=v", "meta.k=w", "since=0", "since=-1", "prefix=k", "wait=1", "x", "=", "&"]
    )
    | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?"), max_size=12),
    max_size=3,
).map("&".join)
TARGET = st.builds(
    lambda path, query: f"/{path}?{query}" if query else f"/{path}",
    OURS.map(lambda path: f"openstack/latest/{path}") | PATH,
    QUERY,
)
BODY = st.sampled_from([b"", b"{", b'{"meta": {"k": "v"}}', b'{"meta": {"k": 1}}', b"0\r\n\r\n"]) | st.binary(
    max_size=30
)
FORGED = st.lists(
    st.sampled_from(
        [(b"x-instance-id", b"x"), (b"x-tenant-id", b"green"), (b"x-forwarded-for", b"10.0.0.9"), (b"accept", b"*/*")]
    ),
    max_size=2,
)

fixtures_may_be_shared = settings(
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""What one request leaves behind may well meet the next."""


def assert_readable(heard: Heard, method: str) -> None:
    assert heard.status in STATUSES | {413}
    if heard.content_type == b"application/json; charset=utf-8" and method != "HEAD":
        told = json.loads(heard.body.decode("utf-8"))
        if heard.status != 200:
            assert told["error"]["code"].startswith("peerdata.")
            assert told["error"]["message"].isprintable()


@fixtures_may_be_shared
@given(method=METHODS, target=TARGET, body=BODY, headers=FORGED)
async def test_any_request_of_an_instance_is_answered_stand_alone(
    alice: Guest, method: str, target: str, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    heard = await alice.ask(method, target, body, headers)
    assert_readable(heard, method)
    assert heard.status in {200, 400, 404, 409}


@fixtures_may_be_shared
@given(method=METHODS, target=TARGET, body=BODY, headers=FORGED)
async def test_any_request_of_an_instance_is_answered_behind_nova(
    behind_nova: Cloud, method: str, target: str, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    heard = await behind_nova.alice.ask(method, target, body, headers)
    assert_readable(heard, method)
    assert heard.status in STATUSES


@fixtures_may_be_shared
@given(target=st.binary(max_size=40).map(lambda tail: b"/openstack/latest/" + tail) | st.binary(max_size=40))
async def test_any_target_is_answered(alice: Guest, target: bytes) -> None:
    assert_readable(await alice.ask("GET", target), "GET")
