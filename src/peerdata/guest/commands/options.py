# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Options that several commands share, the types of their values, and the help on formats.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from peerdata.guest.errors import Misused
from peerdata.guest.formats import FORMATS
from peerdata.guest.library import Guest


def add_pairs(parser: ArgumentParser) -> None:
    """Add the operands KEY=VALUE."""
    parser.add_argument("pairs", nargs="*", metavar="KEY=VALUE", help="a key to publish")


def add_addresses(parser: ArgumentParser) -> None:
    """Add --addresses [PREFIX]."""
    parser.add_argument(
        "--addresses",
        nargs="?",
        const="",
        metavar="PREFIX",
        help="publish this instance's fixed addresses as PREFIXaddr, PREFIXaddr6 and PREFIXaddrs",
    )


def add_prefix(parser: ArgumentParser) -> None:
    """Add --prefix."""
    parser.add_argument(
        "--prefix", default="", metavar="P", help="only keys that begin with P, and only instances with such a key"
    )


def add_others(parser: ArgumentParser) -> None:
    """Add --others."""
    parser.add_argument("--others", action="store_true", help="leave this instance out")


def add_timeout(parser: ArgumentParser, default_s: float) -> None:
    """Add --timeout, in seconds."""
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=default_s,
        metavar="S",
        help=f"give up after S seconds (default {default_s:.0f})",
    )


def add_output(parser: ArgumentParser, default: str) -> None:
    """Add the options that `Output.from_arguments` reads; *default* is the format, empty: none."""
    group = parser.add_argument_group("output")
    form = group.add_mutually_exclusive_group()
    shown = f" (default {default})" if default else ""
    form.add_argument(
        "--format", choices=tuple(FORMATS), metavar="F", default=default, help=f"one of the formats below{shown}"
    )
    form.add_argument("--template", metavar="FILE", help="use a template of your own instead of a format")
    group.add_argument("--address-key", default="", metavar="KEY", help="the key whose value is the address")
    group.add_argument("--name-key", default="", metavar="KEY", help="the key whose value is the name")
    group.add_argument("--port", type=port, metavar="N", help="the port of addresses without one")
    group.add_argument(
        "--scheme", choices=("http", "https"), default="http", help="format etcd: the scheme of its URLs (default http)"
    )
    group.add_argument("--domain", default="", metavar="D", help="format hosts: append D to each name")
    group.add_argument("--out", metavar="FILE", help="write to FILE: replaced as a whole, and only if it changes")
    group.add_argument("--reload", metavar="CMD", help="run CMD when FILE has changed, each time until it succeeds")


def keys_from_arguments(arguments: Namespace, guest: Guest, prefix: str) -> dict[str, str]:
    """
    Collect the keys that KEY=VALUE and --addresses ask to publish.

    Args:
        prefix: For --addresses without one.

    Raises:
        Misused: an operand is not KEY=VALUE, a key is repeated, or there is no key.
        Unusable, NotReached, Refused, NoService: of the look-up of this instance's addresses.
    """
    pairs = list(arguments.pairs)
    addresses: str | None = arguments.addresses
    if addresses is not None and "=" in addresses:  # argparse took the first KEY=VALUE for the prefix
        pairs.append(addresses)
        addresses = ""
    keys: dict[str, str] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found:
            raise Misused(f"'{pair}' is not KEY=VALUE")
        if key in keys:
            raise Misused(f"'{key}' is repeated")
        keys[key] = value
    if addresses is not None:
        from peerdata.guest.addresses import keys_for

        keys = {**keys_for(guest.addresses(), addresses or prefix), **keys}
    if not keys:
        raise Misused("nothing to publish: give a KEY=VALUE, or --addresses")
    return keys


def about_formats() -> str:
    """The help on formats."""
    lines = ["formats, with what they read of each peer, and the port of addresses without one:"]
    for name, form in FORMATS.items():
        lines.append(f"  {name:<14} {form.about}")
        lines.append(f"  {'':<14}   reads {form.reads}{f'; port {form.port}' if form.port else ''}")
    lines += [
        "",
        "address: the key --address-key, else {prefix}addr, else addr; join: {CLUSTER}_addr.",
        "name: the key --name-key, else {prefix}name, else name, else the uuid.",
        "",
        "",
    ]
    return "\n".join(lines)


def whole_number(text: str) -> int:
    """Parse a whole number from 0 of at most nine digits."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ArgumentTypeError(f"'{text}' is not a whole number")
    return int(text)


def port(text: str) -> int:
    """Parse a port."""
    number = whole_number(text)
    if not 0 < number < 65536:
        raise ArgumentTypeError(f"{number} is not a port")
    return number


def seconds(text: str) -> float:
    """Parse a number of seconds, with or without a fraction."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise ArgumentTypeError(f"'{text}' is not a number of seconds")
    return number
