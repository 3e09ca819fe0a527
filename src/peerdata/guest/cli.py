# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The guest's command line: what may be said, and the help. What is done stands in `commands`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TextIO, cast

from peerdata import __version__
from peerdata.guest import commands, streams
from peerdata.guest.errors import GuestError, Misused
from peerdata.guest.formats import FORMATS
from peerdata.guest.progress import printable

EXIT_CODES = """\
exit codes:
  0  done
  1  the service was not reached, or something of this machine failed
  2  the command is wrong
  3  refused: the key or the cluster is taken, a quota is full, nova does not
     know this instance; join: the cluster has its members
  4  not yet: the time is over, what was waited for has not come
  5  the metadata service here is without peerdata
  6  peers: not reached, the last good list was given
"""

ADDRESS = """\
The service is asked at 169.254.169.254, else at fe80::a9fe:a9fe on each
interface, or at PEERDATA_URL alone. No proxy is used.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the guest; returns the exit code."""
    out, err = streams.take_standard()
    try:
        try:
            return _main(list(sys.argv[1:] if arguments is None else arguments), cast(TextIO, out), err)
        finally:
            out.flush()
    except streams.OutputLost as lost:
        out.give_up()
        err.write(f"peerdata: what was to be printed is lost: {lost}\n")
        return 1
    except BrokenPipeError:
        out.give_up()
        return 1


def _main(words: list[str], out: TextIO, err: TextIO) -> int:
    if words and words[0] in COMMANDS:
        parser = _Parser(prog=f"peerdata {words[0]}", **_texts(words[0]))
        COMMANDS[words[0]].build(parser)
        # A KEY=VALUE may stand before, between and behind options; argparse's usual way takes the first group alone.
        return run(_unmark(parser.parse_intermixed_args(_mark_operands(words[1:]))), out, err)
    whole = argparse.ArgumentParser(
        prog="peerdata",
        description="Instances of one project find each other through the metadata address.",
        epilog=f"{ADDRESS}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"peerdata {__version__}")
    add_commands(whole.add_subparsers(metavar="COMMAND", required=True))
    whole.parse_args(words)
    return Misused.exit_code


_OPERAND = "\0"
"""Stands, inside, before what is no option although it begins like one; no argument can hold it."""


def _mark_operands(words: list[str]) -> list[str]:
    """What stands behind ``--`` is no option: argparse's own ways of saying so differ, and fail, with its versions."""
    if "--" not in words:
        return words
    at = words.index("--")
    before = words[:at]
    if before and before[-1] == "--addresses":
        before[-1] += "="  # its PREFIX is optional, and is not what follows
    return before + [_OPERAND + word for word in words[at + 1 :]]


def _unmark(parsed: argparse.Namespace) -> argparse.Namespace:
    for name, value in vars(parsed).items():
        if isinstance(value, str):
            setattr(parsed, name, value.replace(_OPERAND, ""))
        elif isinstance(value, list):
            setattr(parsed, name, [word.replace(_OPERAND, "") for word in value])
    return parsed


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(message.replace(_OPERAND, ""))


def add_commands(parsers: Any) -> None:
    """Show the guest's commands among argparse's *parsers*; the operator's own may stand beside them."""
    for name, command in COMMANDS.items():
        command.build(parsers.add_parser(name, help=command.about, **_texts(name)))


def _texts(name: str) -> dict[str, Any]:
    about = COMMANDS[name].about
    return {
        "description": f"{about[0].upper()}{about[1:]}.",
        "epilog": COMMANDS[name].notes() + EXIT_CODES,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def run(parsed: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Do what *parsed* says; every error becomes a line and an exit code."""
    try:
        code: int = parsed.guest_command(parsed, out, err)
        out.flush()
        return code
    except GuestError as error:
        err.write(f"peerdata: {printable(error.message)}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _build_publish(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(guest_command=commands.publish)
    _add_pairs(parser)
    parser.add_argument("--private", action="store_true", help="for this instance alone, not for its project")
    _add_addresses(parser)
    _add_timeout(parser, 120)


def _build_peers(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(guest_command=commands.peers)
    _add_prefix(parser)
    parser.add_argument("--others", action="store_true", help="without this instance")
    _add_output(parser, "table")
    _add_timeout(parser, 120)


def _build_wait(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(guest_command=commands.wait)
    parser.add_argument("--count", type=_whole, required=True, metavar="N", help="so many, this instance included")
    _add_prefix(parser)
    _add_output(parser, "")
    _add_timeout(parser, 600)


def _build_watch(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(guest_command=commands.watch)
    _add_prefix(parser)
    parser.add_argument("--others", action="store_true", help="without this instance")
    parser.add_argument("--exec", metavar="CMD", help="run it for each list, with the list as JSON for its input")
    _add_output(parser, "")


def _build_join(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(guest_command=commands.join)
    parser.add_argument("cluster", metavar="CLUSTER", help="its name: 1 to 64 of a-z A-Z 0-9 - _ .")
    _add_pairs(parser)
    parser.add_argument("--size", type=_whole, required=True, metavar="N", help="how many it is planned for")
    parser.add_argument(
        "--founders", choices=("one", "all"), default="one", help="who starts it: one alone (default), or the first N"
    )
    parser.add_argument("--closed", action="store_true", help="nobody but the first N is let in")
    parser.add_argument("--until-ready", action="store_true", help="ask on while the verdict is wait")
    _add_addresses(parser)
    _add_output(parser, "")
    _add_timeout(parser, 600)


def _build_formed(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(guest_command=commands.formed)
    parser.add_argument("cluster", metavar="CLUSTER", help="its name")
    parser.add_argument("--term", type=_whole, metavar="T", help="of the verdict (default: of the last bootstrap here)")
    _add_timeout(parser, 120)


def _build_whoami(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(guest_command=commands.whoami)
    parser.add_argument("--format", choices=("uuid", "json", "env"), default="uuid", help="json, env: name, keys, ...")
    _add_timeout(parser, 120)


def _build_doctor(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(guest_command=commands.doctor)
    _add_timeout(parser, 20)


_JOINING = """\
The verdict is printed: bootstrap, join, full (exit code 3), or wait (4).
After bootstrap, once the cluster stands: peerdata formed CLUSTER.
With --format it is in what is printed, or with --out FILE both are done;
of wait and full, json alone is printed.
"""


def _nothing() -> str:
    return ""


def _about_formats() -> str:
    lines = [
        "formats, and what they read of each peer (port where none is published):",
        *(
            f"  {name:<14} {form.about}\n  {'':<14}   reads {form.reads}{f'; port {form.port}' if form.port else ''}"
            for name, form in FORMATS.items()
        ),
        "",
        "address: the key --address-key, else {prefix}addr, else addr; join: {CLUSTER}_addr.",
        "name: the key --name-key, else {prefix}name, else name, else the uuid.",
        "",
        "",
    ]
    return "\n".join(lines)


def _about_joining() -> str:
    return f"{_JOINING}\n{_about_formats()}"


def _add_pairs(command: argparse.ArgumentParser) -> None:
    command.add_argument("pairs", nargs="*", metavar="KEY=VALUE", help="what to publish")


def _add_addresses(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--addresses",
        nargs="?",
        const="",
        metavar="PREFIX",
        help="publish this instance's fixed addresses as PREFIXaddr, PREFIXaddr6 and PREFIXaddrs",
    )


def _add_prefix(command: argparse.ArgumentParser) -> None:
    command.add_argument("--prefix", default="", metavar="P", help="only keys that begin so, and who has such")


def _add_output(command: argparse.ArgumentParser, default: str) -> None:
    shown = f" (default {default})" if default else ""
    form = command.add_mutually_exclusive_group()
    form.add_argument("--format", choices=tuple(FORMATS), metavar="F", default=default, help=f"see below{shown}")
    form.add_argument("--template", metavar="FILE", help="a template of your own instead of a format")
    command.add_argument("--address-key", default="", metavar="KEY", help="whose value is the address")
    command.add_argument("--name-key", default="", metavar="KEY", help="whose value is the name")
    command.add_argument("--port", type=_port, metavar="N", help="where the address is published without")
    command.add_argument("--scheme", choices=("http", "https"), default="http", help="of etcd's URLs (default http)")
    command.add_argument("--domain", default="", metavar="D", help="format hosts: behind each name")
    command.add_argument("--out", metavar="FILE", help="write it there, at once as a whole, only when it changed")
    command.add_argument("--reload", metavar="CMD", help="run it when FILE changed; each time, until it succeeds")


def _add_timeout(command: argparse.ArgumentParser, default: float) -> None:
    command.add_argument(
        "--timeout",
        type=_seconds,
        default=default,
        metavar="S",
        help=f"give up after so long (default {default:.0f} s)",
    )


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number")
    return int(text)


def _port(text: str) -> int:
    number = _whole(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{number} is not a port")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds")
    return seconds


class _Command(NamedTuple):
    """One command of the guest."""

    build: Callable[[argparse.ArgumentParser], None]
    about: str
    notes: Callable[[], str] = _nothing


COMMANDS = {
    "publish": _Command(_build_publish, "set keys, once and for good"),
    "peers": _Command(_build_peers, "print who shares keys, in the order that all see", _about_formats),
    "wait": _Command(_build_wait, "wait until so many share keys", _about_formats),
    "watch": _Command(_build_watch, "go on telling the peers, each time they change", _about_formats),
    "join": _Command(_build_join, "learn what to do: bootstrap a cluster, or join it", _about_joining),
    "formed": _Command(_build_formed, "say that the cluster stands which this instance was to found"),
    "whoami": _Command(_build_whoami, "print this instance's uuid"),
    "doctor": _Command(_build_doctor, "look for what stands between this instance and the service"),
}
