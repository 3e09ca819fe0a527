# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The plan: every part of the benchmark by its name, in the order in which it is measured and printed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from bench import cloud_init, databases, flood, front, growth, memory, prefix, rack
from bench.bed import Bed, made
from bench.part import Group, Part, Setting, of_row
from bench.rounds import Row, measure
from bench.rows import behind_nova, publishes, reads
from bench.rows.loads import Loads
from bench.storm.storm import brew

ROUNDS_BEHIND_NOVA = 3
"""Nova is slow to ask, and nothing was promised of these."""

SIDE_BY_SIDE: Mapping[str, Callable[[Loads], Row]] = {
    "shared_10": lambda loads: reads.shared(loads, 10),
    "shared_100": reads.shared_100,
    "shared_1000": reads.shared_1000,
    "poll": reads.poll,
    "publish": lambda loads: publishes.publish(loads.bed),
}

WITHOUT_NOVA = frozenset({"publish", "storm"})
"""Those on the bed that ask the stand-alone service."""

BEHIND_NOVA: Mapping[str, Callable[[Loads], Row]] = {
    "nova_publish": behind_nova.publish,
    "nova_merged": behind_nova.merged,
    "nova_untouched": behind_nova.untouched,
    "nova_pass_through": behind_nova.pass_through,
}


def _on_bed(setting: Setting, names: Collection[str]) -> Iterator[Part]:
    before_nova = not WITHOUT_NOVA.issuperset(names)
    with made(setting.stage, setting.tools, rounds=setting.rounds, before_nova=before_nova) as bed:
        yield from _rows_on_bed(bed, setting, names)


def _rows_on_bed(bed: Bed, setting: Setting, names: Collection[str]) -> Iterator[Part]:
    loads = Loads(bed, seconds=setting.seconds)
    for name, make in SIDE_BY_SIDE.items():
        if name in names:
            yield of_row("Side by side", measure(make(loads), setting.stage, rounds=setting.rounds))
    if "storm" in names:
        yield brew(bed)
    for name, make in BEHIND_NOVA.items():
        if name in names:
            rounds = min(setting.rounds, ROUNDS_BEHIND_NOVA)
            yield of_row(behind_nova.HEADING, measure(make(loads), setting.stage, rounds=rounds))


def _alone(name: str, measured: Callable[[Setting], Part]) -> Group:
    def measure_it(setting: Setting, _names: Collection[str]) -> Iterator[Part]:
        yield measured(setting)

    return Group((name,), measure_it)


GROUPS = (
    Group((*SIDE_BY_SIDE, "storm", *BEHIND_NOVA), _on_bed),
    Group(front.NAMES, front.measured),
    Group(rack.NAMES, rack.measured),
    Group(cloud_init.NAMES, cloud_init.measured),
    Group(flood.NAMES, flood.measured),
    Group(prefix.NAMES, prefix.measured),
    _alone("growth", growth.measured),
    _alone("memory", memory.measured),
    _alone("databases", databases.measured),
)
"""All of them."""
