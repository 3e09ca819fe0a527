# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What stands between this instance and the service: each check finds something, and says what to do about it.

Nothing is stored by it. To see whether bodies arrive it sends one that the service must refuse, so the last refusal
that the service remembers (``last_error.json``) is then the doctor's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from peerdata.guest import wire
from peerdata.guest.client import LEAST_ANSWER_S, ROOT, error_of, seconds_of
from peerdata.guest.errors import Misused, NotReached

LATE_S = 0.1
"""So long after the headers the body is sent: what a program in two writes does on a busy host."""
SKEW_S = 30.0
"""Clocks that are further apart break TLS certificates, leases and the order of logs."""


class Finding(NamedTuple):
    """What a check found."""

    level: str
    """``ok``, ``note`` (it works, but know it) or ``wrong``."""
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
    """The findings, in the order in which a request would meet their causes; it ends where nothing further can work."""
    try:
        places = wire.places(environment.get("PEERDATA_URL", ""), environment.get("PEERDATA_SOURCE", ""))
    except Misused as error:
        yield Finding("wrong", "address", error.message, "mend or unset PEERDATA_URL")
        return
    timeout_s = max(LEAST_ANSWER_S, timeout_s)  # as for every other call
    yield check_proxy(environment, places[0].host)
    by_hand = set_by_hand(environment)
    place, listing, finding = check_route(places, ask, timeout_s, by_hand)
    yield finding
    if place is None or listing is None:
        return
    finding = check_service(listing, by_hand)
    yield finding
    if finding.level == "wrong":
        return

    def read(path: str) -> wire.Answer:
        return ask(place, "GET", f"{ROOT}{path}", timeout_s)

    try:
        finding = check_identity(read("meta_data.json"), read("peer_data.json?since=0"), _machine_uuid())
        yield finding
        if finding.level == "wrong":
            return
        sent_at = now()
        answer = ask(place, "POST", f"{ROOT}metadata", timeout_s, late_body=b"{}", late_s=LATE_S)
        last = read("peer_data/last_error.json")
        yield check_body(answer, last)
        yield check_reasons(answer)
        yield check_clock(answer, last, sent_at, now())
    except NotReached as error:
        yield Finding("wrong", "service", error.message, "it answered before: try again, and look at the agent's log")


def check_proxy(environment: Mapping[str, str], host: str) -> Finding:
    """Whether other programs would send what is meant for the metadata address to a proxy."""
    names = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    proxy = next((f"{name}={environment[name]}" for name in names if environment.get(name)), "")
    without = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    bare = host.partition("%")[0]
    if not proxy:
        return Finding("ok", "proxy", "none is set")
    if "*" in without or bare in (one.strip() for one in without.split(",")):
        return Finding("ok", "proxy", f"{proxy}, and no_proxy leaves {bare} out")
    return Finding(
        "note",
        "proxy",
        f"{proxy} is set: this command does not use it, but curl and others would send {bare} there",
        f"set no_proxy={bare}{',' if without else ''}{without}",
    )


def set_by_hand(environment: Mapping[str, str]) -> str:
    """What to do where the way is not the usual one but that of the environment; empty: it is the usual one."""
    told = [f"{name}={environment[name]}" for name in ("PEERDATA_URL", "PEERDATA_SOURCE") if environment.get(name)]
    if not told:
        return ""
    is_or_are, it_or_them = ("is", "it") if len(told) == 1 else ("are", "them")
    return f"{' and '.join(told)} {is_or_are} set: correct {it_or_them}, or unset {it_or_them} inside a cloud"


def check_route(
    places: list[wire.Place], ask: Ask, timeout_s: float, by_hand: str = ""
) -> tuple[wire.Place | None, wire.Answer | None, Finding]:
    """Whether any of *places* answers at all: the first that does, and its listing of ``latest``."""
    failures = []
    for place in places:
        try:
            answer = ask(place, "GET", ROOT, timeout_s)
            return place, answer, Finding("ok", "route", f"{place} answers, asked from {answer.local_address}")
        except wire.NotConnected as error:
            failures.append(error.message)
        except NotReached as error:
            advice = "the proxy of this network answers badly: tell the operator (neutron's metadata agent, haproxy)"
            return place, None, Finding("wrong", "route", error.message, by_hand or advice)
    advice = by_hand or (
        "look at `ip route get 169.254.169.254`: DHCP brings the route, so a static configuration must have it too; "
        "a network without router and DHCP has no metadata service; IPv6 needs a link-local address"
    )
    return None, None, Finding("wrong", "route", "; ".join(failures), advice)


def check_service(listing: wire.Answer, by_hand: str = "") -> Finding:
    """Whether it is peerdata that answers."""
    if _is_page(listing):
        return Finding(
            "wrong", "service", "an HTML page (a login page or another web server), not a metadata service",
            by_hand or "ask the operator who answers at the metadata address here",
        )  # fmt: skip
    error = error_of(listing.body)
    if listing.status == 404 and error and error["code"] == "peerdata.path.unknown":
        return Finding(
            "wrong", "service", f"another listener, not where instances ask: {error['message']}",
            by_hand or "tell the operator",
        )  # fmt: skip
    entries = listing.body.decode("utf-8", "replace").split()
    why = f": {error['message']}" if error else ""
    if listing.status == 404:
        return Finding(
            "wrong", "service", f"it does not know who asks (404){why}",
            by_hand or "wait a moment if the instance or its port is new; else ask the operator whether this port "
            "belongs to this instance",
        )  # fmt: skip
    if listing.status != 200:
        return Finding("wrong", "service", f"it answers {listing.status}{why}", "tell the operator; try again later")
    if "shared.json" not in entries:
        return Finding(
            "wrong", "service", "a metadata service without peerdata: /openstack/latest/ has no shared.json",
            "ask the operator for it",
        )  # fmt: skip
    return Finding("ok", "service", "peerdata is there")


def check_identity(document: wire.Answer, followed: wire.Answer, machine_uuid: str) -> Finding:
    """Whether nova, peerdata and the machine itself agree on who this is."""
    for answer, name in ((document, "meta_data.json"), (followed, "peer_data.json")):
        if answer.status == 200:
            continue
        error = error_of(answer.body)
        why = f": {error['message']}" if error else ""
        advice = {
            403: "the secret of neutron's agent is not peerdata's (metadata_proxy_shared_secret): tell the operator",
            404: "nova does not know this instance in this project: was it deleted, or is the port another's?",
        }.get(answer.status, "try again; if it stays so tell the operator")
        return Finding("wrong", "identity", f"{name} answers {answer.status}{why}", advice)
    uuid, own = (_member(document, "uuid"), _member(followed, "self"))
    if not uuid or uuid != own:
        return Finding(
            "wrong", "identity", f"nova says {uuid or 'nothing'}, peerdata says {own or 'nothing'}", "tell the operator"
        )
    if machine_uuid and machine_uuid != uuid:
        return Finding(
            "note", "identity", f"instance {uuid}; the machine itself says {machine_uuid}",
            "normal outside of nova with libvirt; else a port of another instance answers here",
        )  # fmt: skip
    return Finding("ok", "identity", f"instance {uuid}")


def check_body(answer: wire.Answer, last: wire.Answer) -> Finding:
    """Whether a body that came after its headers arrived: `{}` is refused for what it lacks, a lost one as empty."""
    error = error_of(answer.body) or (error_of(last.body) if last.status == 200 else None)
    code = error["code"] if error else ""
    if code == "peerdata.body.empty":
        return Finding(
            "note", "body", "a body that comes after the headers gets lost here (neutron 2025.2 and later)",
            "publish without a body, as this command does: POST .../metadata?shared=project&meta.KEY=VALUE",
        )  # fmt: skip
    if code == "peerdata.meta.missing":
        return Finding("ok", "body", "a body that comes after the headers arrives")
    return Finding(
        "note", "body", f"not to be told: the answer was {answer.status} {code}".rstrip(), "publish without a body"
    )


def check_reasons(answer: wire.Answer) -> Finding:
    """Whether the agent lets the reason of a refusal through."""
    if error_of(answer.body):
        return Finding("ok", "reasons", "the reason of a refusal arrives with it")
    return Finding(
        "note", "reasons", "the agent puts a page of its own in place of a refusal's reason (neutron before 2025.2)",
        "read GET peer_data/last_error.json after a refusal, as this command does",
    )  # fmt: skip


def check_clock(answer: wire.Answer, last: wire.Answer, before: float, after: float) -> Finding:
    """Whether this machine's clock is that of the service, which noted when it refused."""
    error = error_of(last.body) if last.status == 200 else None
    told = seconds_of((error or {}).get("time", ""))
    if not told:
        return Finding("note", "clock", "not to be told", "")
    skew_s = told - after if told > after else min(0.0, told + 1 - before)  # the service notes whole seconds
    if abs(skew_s) > SKEW_S:
        way = "behind" if skew_s > 0 else "ahead of"
        message = f"this machine's clock is {abs(skew_s):.0f} s {way} the service's"
        return Finding("wrong", "clock", message, "run chrony, or its like")
    return Finding("ok", "clock", "that of the service, within a few seconds")


def _is_page(answer: wire.Answer) -> bool:
    """Whether a browser is meant; with other statuses, 404 say, a page is the agent's own, and means something."""
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
    """What libvirt told the machine it is, which nova sets to the instance's uuid; only root may read it."""
    try:
        with open("/sys/class/dmi/id/product_uuid", encoding="ascii") as file:
            return file.read().strip().lower()
    except (OSError, ValueError):
        return ""
