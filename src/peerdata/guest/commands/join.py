# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`peerdata join`: become a member of a cluster, and print what to do.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TextIO

from peerdata.guest import errors
from peerdata.guest.commands import Command, options
from peerdata.guest.errors import Misused, NotYet, Refused
from peerdata.guest.formats.nodes import Options, check_offered, check_published
from peerdata.guest.library import Guest
from peerdata.guest.model import FOUNDERS
from peerdata.guest.output import Output
from peerdata.guest.progress import Progress, printable

EXIT_CODES = {
    "bootstrap": errors.DONE,
    "join": errors.DONE,
    "wait": NotYet.exit_code,
    "full": Refused.exit_code,
}
"""By verdict."""
UNKNOWN_VERDICT = 1
"""The exit code for a verdict of a later version: no reason to start a cluster."""

_NOTES = """\
It prints the verdict: bootstrap, join, full (exit code 3) or wait (4).
After bootstrap, once the cluster runs: peerdata formed CLUSTER.
With --format it prints that instead; with --out FILE it does both.
For wait and full it prints only --format json.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("cluster", metavar="CLUSTER", help="its name: 1 to 64 characters a-z A-Z 0-9 - _ .")
    options.add_pairs(parser)
    parser.add_argument(
        "--size", type=options.whole_number, required=True, metavar="N", help="how many members are planned"
    )
    parser.add_argument(
        "--founders",
        choices=FOUNDERS,
        default=FOUNDERS[0],
        help="start it by one member alone (default), or by the first N together",
    )
    parser.add_argument("--closed", action="store_true", help="accept only the first N members")
    parser.add_argument("--until-ready", action="store_true", help="keep asking while the verdict is wait")
    options.add_addresses(parser)
    options.add_output(parser, "")
    options.add_timeout(parser, 600)


def run(arguments: Namespace, out: TextIO, err: TextIO) -> int:
    """Print the verdict, or what the software of the cluster reads."""
    output = Output.from_arguments(arguments, prefix=f"{arguments.cluster}_")
    output.check(has_members=True)
    with Progress(err) as progress:
        guest = Guest(timeout_s=None, progress=progress)
        guest.end_within(arguments.timeout)  # includes the look-ups before the call itself
        verdict = guest.join(
            arguments.cluster,
            arguments.size,
            founders=arguments.founders,
            closed=arguments.closed,
            meta=_offered(arguments, guest, output),
            until_ready=arguments.until_ready,
            timeout_s=arguments.timeout,
        )
    code = EXIT_CODES.get(verdict.verdict, UNKNOWN_VERDICT)
    if output.prints_whole_verdict or (code == errors.DONE and output.is_wanted):
        text = output.render(verdict.members, verdict.own_uuid, err, verdict)
        code = output.write(text, out, err) or code
    if output.path or not output.is_wanted:
        out.write(f"{printable(verdict.verdict)}\n")
    return code


def _offered(arguments: Namespace, guest: Guest, output: Output) -> dict[str, str] | None:
    """
    Collect the keys to publish, and check that the other members will be able to write this instance's address.

    Raises:
        Misused: an address or a name is invalid, or an address is needed and this instance has none.
        Unusable: this instance has published an invalid address before.
        NotReached, Refused, NoService: of the look-up of what it has published.
    """
    meta = None
    if arguments.pairs or arguments.addresses is not None:
        meta = options.keys_from_arguments(arguments, guest, output.options.prefix)
    has_address = check_offered(meta or {}, output.options, is_written=output.needs_addresses)
    if output.needs_addresses and not has_address:
        find_published(guest, output.options)
    return meta


def find_published(guest: Guest, wanted: Options) -> None:
    """
    Find the address that this instance has published before.

    Raises:
        Misused: it has published none.
        Unusable: it is invalid.
        NotReached, Refused, NoService.
    """
    for key in wanted.address_keys:
        found = guest.peers(key)
        own = next((peer.meta for peer in found.peers if peer.uuid == found.own_uuid and key in peer.meta), None)
        if own is not None:
            check_published(key, own[key])
            return
    needed = f"{wanted.address_keys[0]}=ADDRESS{'' if wanted.address_key else ', or --addresses'}"
    raise Misused(f"the output of each member contains this instance's address: add {needed}; nothing was published")


def _notes() -> str:
    return f"{_NOTES}\n{options.about_formats()}"


COMMAND = Command("become a member of a cluster, and print whether to bootstrap or join it", add_arguments, run, _notes)
