# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Boots with cloud-init's own reader, against a real nova that is slow: through the service none may be without its data.

The same boots run straight to one nova and through the service to another one, at the same time. Both are slow because
their neutron is: nova asks it twice about each instance that is not in its cache.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.chain.peers import LOCKS, Peers

from bench.bed import SECRET
from bench.crowd import Crowd, Instance
from bench.goals import Verdict
from bench.markdown import table
from bench.part import Part, Setting
from bench.peers.nova import Nova
from bench.service import Service
from bench.stage import Stage, opened

NAMES = ("cloud_init",)

BOOTS = 100

NEUTRON_S = 0.45
"""For each of two answers about an instance: a hundred wait up to 11 s, one of nova's eight threads at a time."""

CACHE_S = 60
"""Of nova, so that an instance is slow once and not again and again: it would be a storm of its own for minutes."""

TIMEOUT_S = 50
"""
That cloud-init waits for one answer, as images for slow clouds are told to (its own default is 10).

It asks once whether there is a metadata service: an instance that is answered 504 then boots without its data.
"""

USER_DATA = "#!/bin/sh\necho booted\n"

LONGEST_S = 75
"""For one boot."""


@dataclass
class Boots:
    """What became of all that went one way."""

    who: str
    took_s: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Of each boot that is without some of its data, what that is."""


def measured(setting: Setting, _names: Collection[str]) -> Iterator[Part]:
    """Everything of this module."""
    print(f"{BOOTS} boots with cloud-init, twice", file=sys.stderr, flush=True)
    instances = Crowd().add("boots", size=BOOTS)[0].instances
    with ExitStack() as stack:
        stages = [stack.enter_context(opened(setting.stage.cores)) for _ in range(2)]
        novas = [stack.enter_context(_started(stage)) for stage in stages]
        with ThreadPoolExecutor() as pool:
            for created in [pool.submit(nova.create, instances, user_data=USER_DATA) for nova in novas]:
                created.result()
        for nova in novas:
            nova.slow_down(NEUTRON_S)
        service = Service.before_nova(stages[1], novas[1].url, SECRET, name="peerdata-cloud-init")
        service.start()
        straight, through = Boots("straight to nova"), Boots("through peerdata")
        _boot(setting.stage, instances, {novas[0].url: straight, service.url: through})
    yield Part("Boots with cloud-init", _text(straight, through), [_verdict(straight, through)])


@contextmanager
def _started(stage: Stage) -> Iterator[Nova]:
    nova = Nova(stage, SECRET, cache_s=CACHE_S)
    try:
        nova.start()
        yield nova
    finally:
        nova.close()


def _boot(stage: Stage, instances: Sequence[Instance], ways: dict[str, Boots]) -> None:
    """All of them at one moment, each once in each of the *ways*, which are by the URL of the metadata service."""
    peers = Peers.default()
    specs = [
        {"url": url, "uuid": one.uuid, "headers": dict(one.signed(SECRET)), "user_data": USER_DATA}
        for one in instances
        for url in ways
    ]
    place = str(stage.directory / "cloud-init")
    script = str(LOCKS / "scripts" / "cloud_init_boots.py")
    # There is no name server, and cloud-init asks whether name servers lie.
    environment = [*peers.python_environment(), "RES_OPTIONS=timeout:1 attempts:1"]
    done = subprocess.run(
        ["env", *environment, peers.debian_python(), script, place, str(TIMEOUT_S), str(LONGEST_S)],
        input=json.dumps(specs),
        capture_output=True,
        text=True,
        env=os.environ | peers.environment(),
    )
    for line in done.stdout.splitlines():
        said = json.loads(line)
        boots = ways[said["url"]]
        boots.took_s.append(said["took_s"])
        if said["missing"]:
            boots.missing.append(", ".join(said["missing"]))
    for boots in ways.values():
        boots.missing += ["it did not end"] * (BOOTS - len(boots.took_s))
    if done.stderr:
        print(done.stderr[-800:], file=sys.stderr)


def _verdict(straight: Boots, through: Boots) -> Verdict:
    lost = len(through.missing)
    return Verdict(
        f"{BOOTS} boots with cloud-init, a slow nova",
        "none without its data through the service",
        f"{lost} without, {len(straight.missing)} straight to nova",
        lost == 0,
        doubt="nova alone did not serve all either" if straight.missing else "",
    )


def _text(straight: Boots, through: Boots) -> str:
    return (
        f"{BOOTS} instances boot at one moment. Each is a process in which cloud-init's own OpenStack source reads "
        f"all that it wants; it waits {TIMEOUT_S} s for an answer and asks once whether there is a service. Its "
        "requests are signed as by neutron's agent, which is not there. Nova is real, under uWSGI with eight threads, "
        f"and slow: its neutron takes {NEUTRON_S:g} s for each of the two answers about an instance that nova has not "
        "cached. Both ways at the same time, each with a nova of its own.\n\n"
        + table(
            ("", "booted", "without some data", "p50 s", "the last, s", "what was missing"),
            [_line(boots) for boots in (straight, through)],
            "lrrrrl",
        )
    )


def _line(boots: Boots) -> list[str]:
    kinds = sorted(set(boots.missing))
    missing = "; ".join(f"{boots.missing.count(kind)} x {kind}" for kind in kinds)
    took = [f"{statistics.median(boots.took_s):.1f}", f"{max(boots.took_s):.1f}"] if boots.took_s else ["", ""]
    return [boots.who, str(BOOTS - len(boots.missing)), str(len(boots.missing)), *took, missing]
