# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
In front of nova: what the calls cost for which nova is asked, beside nova without us.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.bed import SECRET, callers
from bench.crowd import META_DATA, VENDOR_DATA, Instance
from bench.exchange import ask, equals, holds
from bench.load.guests import Guests, in_rounds
from bench.rounds import Beside, Row
from bench.rows.loads import BEFORE_NOVA, Loads, signed
from bench.rows.publishes import check_published

HEADING = "In front of nova"
"""Of the section."""


def publish(loads: Loads) -> Row:
    """Two new keys; nova is asked for the document of each answer."""
    known, service = loads.bed.known, loads.bed.service

    def batch(number: int) -> Sequence[bytes]:
        return [one.publishes(one.signed(SECRET), suffix=f"_{number}_{turn}") for turn in (1, 2) for one in known]

    ours = Guests(
        who=BEFORE_NOVA, server=service.name, port=service.port, rounds=in_rounds(batch), check=check_published
    )
    return Row(
        "POST of two new keys, in front of nova, which is asked for the document of each answer",
        ours,
        [Beside(loads.nova(META_DATA, known))],
    )


def merged(loads: Loads) -> Row:
    """`meta_data.json` of an instance that has published."""
    return _meta_data(loads, callers(loads.bed.sized[100]), "with keys of the instance merged in")


def untouched(loads: Loads) -> Row:
    """`meta_data.json` of an instance that has not."""
    return _meta_data(loads, loads.bed.silent, "of an instance without keys, untouched")


def pass_through(loads: Loads) -> Row:
    """What is not ours."""
    instances = loads.bed.silent
    asked = signed(VENDOR_DATA, instances)
    expected = equals(ask(loads.bed.nova.port, asked[0]).body)
    return Row(
        "vendor_data.json, handed to nova and back",
        loads.service(asked, expected, who=BEFORE_NOVA),
        [Beside(loads.nova(VENDOR_DATA, instances, who="nova's own vendor_data.json", check=expected))],
    )


def _meta_data(loads: Loads, instances: Sequence[Instance], which: str) -> Row:
    ours = loads.service(signed(META_DATA, instances), holds(b'"uuid": "'), who=BEFORE_NOVA)
    return Row(f"meta_data.json {which}", ours, [Beside(loads.nova(META_DATA, instances))])
