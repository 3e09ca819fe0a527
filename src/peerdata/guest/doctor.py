# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Checks the way from this instance to the service, in the order of a request; each finding has its advice.

It changes nothing, with one exception. To test whether bodies arrive it sends one that the service must refuse, and so
the last refusal that the service keeps (``last_error.json``) becomes its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from peerdata.guest import wire
from peerdata.guest.client import MIN_ANSWER_TIMEOUT_S, ROOT, error_of, seconds_of
from peerdata.guest.errors import Misused, NotReached

LATE_S = 0.1
"""The delay of the body after the headers, as of a program that writes them separately on a busy host."""
SKEW_S = 30.0
"""A larger difference between two clocks breaks TLS certificates, leases and the order of logs."""


class Finding(NamedTuple):
    """The result of a check."""

    level: str
    """``ok``, ``note`` (it works, but is worth knowing) or ``wrong``."""
    about: str
    message: str
    advice: str = ""


Ask = Callable[..., wire.Answer]


def examine(
    environment: Mapping[str, str],
    *,
    timeout_s: float = 20.0,
    ask: Ask = wire.exchange,
    now: Callable[[], float] = time.time,
) -> Iterator[Finding]:
    """Yield the findings, in the order of a request; end at the first that keeps all others from working."""
    try:
        servers = wire.servers(environment.get("PEERDATA_URL", ""), environment.get("PEERDATA_SOURCE", ""))
    except Misused as error:
        yield Finding("wrong", "address", error.message, "correct or unset PEERDATA_URL")
        return
    timeout_s = max(MIN_ANSWER_TIMEOUT_S, timeout_s)  # as for every other call
    yield check_proxy(environment, servers[0].host)
    by_hand = set_by_hand(environment)
    server, listing, finding = check_route(servers, ask, timeout_s, by_hand)
    yield finding
    if server is None or listing is None:
        return
    finding = check_service(listing, by_hand)
    yield finding
    if finding.level == "wrong":
        return

    def read(path: str) -> wire.Answer:
        return ask(server, "GET", f"{ROOT}{path}", timeout_s)

    try:
        finding = check_identity(read("meta_data.json"), read("peer_data.json?since=0"), _machine_uuid())
        yield finding
        if finding.level == "wrong":
            return
        sent_at = now()
        answer = ask(server, "POST", f"{ROOT}metadata", timeout_s, late_body=b"{}", late_s=LATE_S)
        last = read("peer_data/last_error.json")
        yield check_body(answer, last)
        yield check_reasons(answer)
        yield check_clock(answer, last, sent_at, now())
    except NotReached as error:
        yield Finding("wrong", "service", error.message, "it answered before: try again, and check the agent's log")


def check_proxy(environment: Mapping[str, str], host: str) -> Finding:
    """Check whether other programs would send requests for the metadata address to a proxy."""
    names = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    proxy = next((f"{name}={environment[name]}" for name in names if environment.get(name)), "")
    without = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    bare = host.partition("%")[0]
    if not proxy:
        return Finding("ok", "proxy", "not set")
    if "*" in without or bare in (name.strip() for name in without.split(",")):
        return Finding("ok", "proxy", f"{proxy}, and no_proxy excludes {bare}")
    return Finding(
        "note",
        "proxy",
        f"{proxy} is set: this command does not use it, but curl and others would send requests for {bare} there",
        f"set no_proxy={bare}{',' if without else ''}{without}",
    )


def set_by_hand(environment: Mapping[str, str]) -> str:
    """Give the advice for an address that the environment sets; empty: it sets none."""
    given = [f"{name}={environment[name]}" for name in ("PEERDATA_URL", "PEERDATA_SOURCE") if environment.get(name)]
    if not given:
        return ""
    is_or_are, it_or_them = ("is", "it") if len(given) == 1 else ("are", "them")
    return f"{' and '.join(given)} {is_or_are} set: correct {it_or_them}, or unset {it_or_them} inside a cloud"


def check_route(
    servers: list[wire.Server], ask: Ask, timeout_s: float, by_hand: str = ""
) -> tuple[wire.Server | None, wire.Answer | None, Finding]:
    """Find the first of *servers* that answers, and its listing of ``latest``."""
    failures = []
    for server in servers:
        try:
            answer = ask(server, "GET", ROOT, timeout_s)
            return server, answer, Finding("ok", "route", f"{server} answers; own address: {answer.local_address}")
        except wire.NotConnected as error:
            failures.append(error.message)
        except NotReached as error:
            advice = "neutron's metadata agent or its haproxy does not answer correctly: tell the operator"
            return server, None, Finding("wrong", "route", error.message, by_hand or advice)
    advice = by_hand or (
        "check `ip route get 169.254.169.254`: DHCP sets the route, so a static configuration needs it too; "
        "a network without router and DHCP has no metadata service; IPv6 needs a link-local address"
    )
    return None, None, Finding("wrong", "route", "; ".join(failures), advice)


def check_service(listing: wire.Answer, by_hand: str = "") -> Finding:
    """Check that the server is peerdata."""
    if _is_page(listing):
        return Finding(
            "wrong", "service", "an HTML page (a login page or another web server), not a metadata service",
            by_hand or "ask the operator which server answers at the metadata address here",
        )  # fmt: skip
    error = error_of(listing.body)
    if listing.status == 404 and error and error["code"] == "peerdata.path.unknown":
        return Finding(
            "wrong", "service", f"another listener, not the one for instances: {error['message']}",
            by_hand or "tell the operator",
        )  # fmt: skip
    entries = listing.body.decode("utf-8", "replace").split()
    why = f": {error['message']}" if error else ""
    if listing.status == 404:
        return Finding(
            "wrong", "service", f"it does not know this instance (404){why}",
            by_hand or "wait a moment if the instance or its port is new; otherwise ask the operator whether this "
            "port belongs to this instance",
        )  # fmt: skip
    if listing.status != 200:
        return Finding("wrong", "service", f"it answers {listing.status}{why}", "tell the operator; try again later")
    if "shared.json" not in entries:
        return Finding(
            "wrong", "service", "a metadata service without peerdata: /openstack/latest/ has no shared.json",
            "ask the operator for it",
        )  # fmt: skip
    return Finding("ok", "service", "peerdata")


def check_identity(document: wire.Answer, followed: wire.Answer, machine_uuid: str) -> Finding:
    """Check that nova, peerdata and the machine itself agree on the uuid of this instance."""
    for answer, name in ((document, "meta_data.json"), (followed, "peer_data.json")):
        if answer.status == 200:
            continue
        error = error_of(answer.body)
        why = f": {error['message']}" if error else ""
        advice = {
            403: "peerdata and neutron's agent differ in metadata_proxy_shared_secret: tell the operator",
            404: "nova does not know this instance in this project: was it deleted, or is this another's port?",
        }.get(answer.status, "try again; tell the operator if it persists")
        return Finding("wrong", "identity", f"{name} answers {answer.status}{why}", advice)
    uuid, own = (_member(document, "uuid"), _member(followed, "self"))
    if not uuid or uuid != own:
        return Finding(
            "wrong",
            "identity",
            f"nova reports {uuid or 'nothing'}, peerdata reports {own or 'nothing'}",
            "tell the operator",
        )
    if machine_uuid and machine_uuid != uuid:
        return Finding(
            "note", "identity", f"instance {uuid}; the machine itself reports {machine_uuid}",
            "normal outside of nova with libvirt; otherwise this port belongs to another instance",
        )  # fmt: skip
    return Finding("ok", "identity", f"instance {uuid}")


def check_body(answer: wire.Answer, last: wire.Answer) -> Finding:
    """Check that a body sent after its headers arrives: ``{}`` is refused for what it lacks, a lost body as empty."""
    error = error_of(answer.body) or (error_of(last.body) if last.status == 200 else None)
    code = error["code"] if error else ""
    if code == "peerdata.body.empty":
        return Finding(
            "note", "body", "a body that is sent after the headers gets lost here (neutron 2025.2 and later)",
            "publish without a body, as this command does: POST .../metadata?shared=project&meta.KEY=VALUE",
        )  # fmt: skip
    if code == "peerdata.meta.missing":
        return Finding("ok", "body", "a body that is sent after the headers arrives")
    return Finding("note", "body", f"unknown: the answer was {answer.status} {code}".rstrip(), "publish without a body")


def check_reasons(answer: wire.Answer) -> Finding:
    """Check that the agent passes on the reason of a refusal."""
    if error_of(answer.body):
        return Finding("ok", "reasons", "the reason of a refusal arrives")
    return Finding(
        "note", "reasons", "the agent replaces the reason of a refusal by a page of its own (neutron before 2025.2)",
        "read GET peer_data/last_error.json after a refusal, as this command does",
    )  # fmt: skip


def check_clock(answer: wire.Answer, last: wire.Answer, before: float, after: float) -> Finding:
    """Compare this machine's clock with the time at which the service refused the request."""
    error = error_of(last.body) if last.status == 200 else None
    refused_at = seconds_of((error or {}).get("time", ""))
    if not refused_at:
        return Finding("note", "clock", "unknown", "")
    # The service keeps whole seconds.
    skew_s = refused_at - after if refused_at > after else min(0.0, refused_at + 1 - before)
    if abs(skew_s) > SKEW_S:
        way = "behind" if skew_s > 0 else "ahead of"
        message = f"this machine's clock is {abs(skew_s):.0f} s {way} the service's"
        return Finding("wrong", "clock", message, "run chrony or another NTP client")
    return Finding("ok", "clock", "the same as the service's, within a few seconds")


def _is_page(answer: wire.Answer) -> bool:
    """Whether the answer is for a browser. With other statuses, such as 404, a page comes from the agent."""
    if answer.status not in (200, 301, 302, 303, 307, 308, 401, 511):
        return False
    start = answer.body[:512].lstrip().lower()
    return "html" in answer.headers.get("content-type", "").lower() or start.startswith((b"<!doctype html", b"<html"))


def _member(answer: wire.Answer, name: str) -> str:
    try:
        content: Any = json.loads(answer.body)
        return str(content[name])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _machine_uuid() -> str:
    """The uuid that libvirt gives the machine, which nova sets to the instance's; only root may read it."""
    try:
        with open("/sys/class/dmi/id/product_uuid", encoding="ascii") as file:
            return file.read().strip().lower()
    except (OSError, ValueError):
        return ""
