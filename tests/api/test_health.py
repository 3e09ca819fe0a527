"""What balancers are answered on the instances' port."""

import pytest

from peerdata.httpd.messages import Answer, Request

from .conftest import Build, Cloud
from .conversation import Guest

CHECKED = {"instance_api": {"healthcheck_path": "/healthcheck"}}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_check_is_answered_without_knowing_who_asks_and_though_nova_is_away(
    behind_nova: Cloud, method: str
) -> None:
    parts = await behind_nova.rebuild(**CHECKED)
    await behind_nova.nova.close()
    balancer = Guest(parts.instances, "")
    heard = await balancer.ask(method, "/healthcheck")
    assert (heard.status, heard.json) == (200, {"alive": True})
    assert (await balancer.ask(method, "/healthcheck?from=haproxy")).status == 200
    parts.health.stopping = True
    assert (await balancer.ask(method, "/healthcheck")).status == 503


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/healthcheck"), ("GET", "/healthcheck/"), ("GET", "//healthcheck"), ("GET", "/healthchecks")],
)
async def test_nothing_but_a_check_of_that_path_is_answered_so(behind_nova: Cloud, method: str, target: str) -> None:
    parts = await behind_nova.rebuild(**CHECKED)
    heard = await Guest(parts.instances, "").ask(method, target)
    assert b"alive" not in heard.body


async def test_without_the_setting_the_path_is_novas(behind_nova: Cloud) -> None:
    assert b"alive" not in (await Guest(behind_nova.parts.instances, "").ask("GET", "/healthcheck")).body


async def test_once_it_is_to_stop_the_operators_checks_fail_and_say_why(build: Build) -> None:
    parts = await build()
    parts.health.stopping = True
    operator = Guest(parts.operators, "")
    heard = await operator.ask("GET", "/healthz")
    assert (heard.status, heard.json) == (503, {"alive": True, "stopping": True})
    heard = await operator.ask("GET", "/readyz")
    assert (heard.status, heard.json) == (503, {"ready": False, "store": True, "stopping": True})


async def test_answers_from_a_project_count_for_it_while_they_are_unread(build: Build) -> None:
    """Of its lists, which are what is long."""
    parts = await build()
    guest = Guest(parts.instances, "", client="10.0.0.1")
    assert (await guest.publish("a=1", shared=True)).status == 200
    for path in ("shared.json", "peer_data.json", "cluster/db.json"):
        request = Request("GET", f"/openstack/latest/{path}".encode(), [], b"", None, "10.0.0.1")
        answer = parts.instances.respond(request)
        assert (answer if isinstance(answer, Answer) else await answer).account == "blue"
