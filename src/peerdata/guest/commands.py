# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What each command does with the library: arguments in, text and an exit code out.

Some imports stand where they are needed: a command that prints no list starts sooner without what lists need.
"""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from contextlib import suppress
from typing import TextIO

from peerdata.guest import errors, files, formats
from peerdata.guest.errors import Misused, NotReached, NotYet, Unusable
from peerdata.guest.library import Guest
from peerdata.guest.progress import Log, Progress, printable
from peerdata.guest.words import Peer, Verdict

COMMAND_ENDS_S = 5.0
"""So long a command has that is to end with us, before it is killed."""


def publish(parsed: Namespace, _out: TextIO, err: TextIO) -> int:
    """Set the keys; nothing is printed."""
    progress = Progress(err)
    guest = Guest(timeout_s=parsed.timeout, progress=progress)
    guest.end_within(parsed.timeout)
    try:
        guest.publish(_keys(parsed, guest, ""), private=parsed.private)
    finally:
        progress.end()
    return errors.DONE


def peers(parsed: Namespace, out: TextIO, err: TextIO) -> int:
    """Print the list; where there is no answer the last good one, and say so."""
    progress = Progress(err)
    guest = Guest(timeout_s=parsed.timeout, progress=progress)
    _check_output(parsed)
    code = errors.DONE
    try:
        found = guest.peers(parsed.prefix)
    except NotReached as error:
        old = guest.last_good(parsed.prefix)
        if old is None:
            raise
        progress.end()
        age_s = max(0.0, time.time() - old.read_at)
        _warn(err, f"{error.message}; this list is {_how_long(age_s)} old")
        found, code = old, errors.OLD_LIST
    progress.end()
    listed = found.others if parsed.others else found.peers
    if code == errors.OLD_LIST and parsed.out and os.path.exists(parsed.out):
        return code  # what stands there may be younger than what is remembered
    return _put(_render(parsed, listed, found.own_uuid, err), parsed, out) or code


def wait(parsed: Namespace, out: TextIO, err: TextIO) -> int:
    """Wait, and print the list where a form is asked for."""
    progress = Progress(err)
    guest = Guest(progress=progress)
    _check_output(parsed)
    try:
        found = guest.wait(parsed.count, parsed.prefix, timeout_s=parsed.timeout)
    finally:
        progress.end()
    if not _wants_text(parsed):
        return errors.DONE
    return _put(_render(parsed, found.peers, found.own_uuid, err), parsed, out)


def watch(parsed: Namespace, out: TextIO, err: TextIO) -> int:
    """Tell each list, for ever: to the file, to the command, or to the output."""
    from peerdata.guest.formats.nodes import View

    guest = Guest(progress=Log(err))
    _check_output(parsed)
    if not _wants_text(parsed):
        parsed.format = "json"
    for found in guest.follow(parsed.prefix):
        listed = found.others if parsed.others else found.peers
        if parsed.out or not parsed.exec:
            try:
                text = _render(parsed, listed, found.own_uuid, err)
                _put(text, parsed, out)
                out.flush()
            except Unusable as error:  # this list does not do; the next one may
                _warn(err, error.message)
        if parsed.exec:
            _run(
                parsed.exec,
                err,
                formats.render("json", View(listed, found.own_uuid)),
                {"PEERDATA_REVISION": str(found.revision), "PEERDATA_COUNT": str(len(listed))},
            )
    return errors.DONE


def join(parsed: Namespace, out: TextIO, err: TextIO) -> int:
    """Print the verdict, or what the cluster's software is to read."""
    progress = Progress(err)
    guest = Guest(timeout_s=None, progress=progress)
    guest.end_within(parsed.timeout)  # what is looked at before included
    _check_output(parsed, of_cluster=True)
    prefix = f"{parsed.cluster}_"
    try:
        meta = _keys(parsed, guest, prefix) if parsed.pairs or parsed.addresses is not None else None
        _check_own(parsed, guest, prefix, meta or {})
        verdict = guest.join(
            parsed.cluster,
            parsed.size,
            founders=parsed.founders,
            closed=parsed.closed,
            meta=meta,
            until_ready=parsed.until_ready,
            timeout_s=parsed.timeout,
        )
    finally:
        progress.end()
    codes = {"bootstrap": errors.DONE, "join": errors.DONE, "wait": NotYet.exit_code, "full": errors.Refused.exit_code}
    code = codes.get(verdict.verdict, 1)  # what a later version may say is nothing to start a cluster on
    is_whole = parsed.format == "json" and not parsed.out  # the verdict itself, so of `wait` and `full` too
    if is_whole or (code == errors.DONE and _wants_text(parsed)):
        parsed.prefix = prefix
        code = _put(_render(parsed, verdict.members, verdict.own_uuid, err, verdict), parsed, out) or code
    if parsed.out or not _wants_text(parsed):
        out.write(f"{printable(verdict.verdict)}\n")
    return code


def formed(parsed: Namespace, _out: TextIO, err: TextIO) -> int:
    """Confirm; nothing is printed."""
    progress = Progress(err)
    try:
        Guest(timeout_s=parsed.timeout, progress=progress).formed(parsed.cluster, parsed.term)
    finally:
        progress.end()
    return errors.DONE


def whoami(parsed: Namespace, out: TextIO, err: TextIO) -> int:
    """Print the uuid, or all that is known of this instance."""
    progress = Progress(err)
    try:
        me = Guest(timeout_s=parsed.timeout, progress=progress).whoami()
    finally:
        progress.end()
    if parsed.format == "json":
        out.write(json.dumps(me._asdict(), indent=1) + "\n")
    elif parsed.format == "env":
        from peerdata.guest.formats.nodes import single_quoted

        for name in ("uuid", "name", "hostname", "project_id"):
            out.write(f"PEERDATA_{name.upper()}={single_quoted(getattr(me, name))}\n")
    else:
        out.write(f"{printable(me.uuid)}\n")
    return errors.DONE


def doctor(parsed: Namespace, out: TextIO, _err: TextIO) -> int:
    """Print what was found, and what to do about it; 1 where something is wrong."""
    from peerdata.guest.doctor import examine

    wrong = False
    for finding in examine(os.environ, timeout_s=parsed.timeout):
        out.write(f"{finding.level:<5} {finding.about}: {printable(finding.message)}\n")
        if finding.advice:
            out.write(f"      do: {printable(finding.advice)}\n")
        out.flush()
        wrong = wrong or finding.level == "wrong"
    return 1 if wrong else errors.DONE


def _keys(parsed: Namespace, guest: Guest, prefix: str) -> dict[str, str]:
    """What KEY=VALUE and --addresses say; *prefix* where the latter names none."""
    pairs = list(parsed.pairs)
    addresses: str | None = parsed.addresses
    if addresses is not None and "=" in addresses:  # argparse took the first KEY=VALUE for the prefix
        pairs.append(addresses)
        addresses = ""
    keys: dict[str, str] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found:
            raise Misused(f"'{pair}' is not KEY=VALUE")
        if key in keys:
            raise Misused(f"'{key}' is there twice")
        keys[key] = value
    if addresses is not None:
        from peerdata.guest.addresses import keys_for

        keys = {**keys_for(guest.addresses(), addresses or prefix), **keys}
    if not keys:
        raise Misused("nothing to publish: name a KEY=VALUE, or --addresses")
    return keys


def _check_own(parsed: Namespace, guest: Guest, prefix: str, offered: dict[str, str]) -> None:
    """
    Whether the others will be able to write of this instance; what is published is so for good.

    Raises:
        Misused: its address or name is none, or the form needs its address and it has published none.
        Unusable: it has published one before that is none.
        NotReached, Refused, NoService: of the look at what it has published, where it offers no address.
    """
    from peerdata.guest.endpoints import parse
    from peerdata.guest.formats.nodes import Options, is_name

    options = Options(prefix, parsed.address_key, parsed.name_key)
    is_written = _wants_text(parsed) and formats.is_of_addresses(parsed.format)
    address_key = next((key for key in options.address_keys if key in offered), None)
    name_key = next((key for key in options.name_keys if key in offered), None)
    for key in dict.fromkeys([f"{prefix}addr", address_key if is_written else None]):
        if key in offered and parse(offered[key]) is None:
            raise Misused(f"{key} is no address: {offered[key][:60]!a}; nothing was published")
    if not is_written:
        return
    if name_key is not None and not is_name(offered[name_key]):
        raise Misused(f"{name_key} is no name: {offered[name_key][:60]!a}; nothing was published")
    if address_key is not None:
        return
    for key in options.address_keys:
        found = guest.peers(key)
        value = next((peer.meta[key] for peer in found.peers if peer.uuid == found.own_uuid and key in peer.meta), None)
        if value is not None and parse(value) is None:
            raise Unusable(
                f"this instance has published {key} for good, and it is no address: {value[:60]!a}; take another name "
                "for the cluster, or name another key with --address-key"
            )
        if value is not None:
            return
    needed = f"{options.address_keys[0]}=ADDRESS{'' if parsed.address_key else ', or --addresses'}"
    raise Misused(
        f"what is to be written needs this instance's address, for the others too: add {needed}; nothing was published"
    )


def _wants_text(parsed: Namespace) -> bool:
    return bool(parsed.format or parsed.template)


def _check_output(parsed: Namespace, *, of_cluster: bool = False) -> None:
    if parsed.format == "zookeeper" and not of_cluster:  # known before a wait
        raise Misused("the format zookeeper is for `join` alone: its numbers are those of the roll")
    if parsed.reload and not parsed.out:
        raise Misused("--reload runs when a file has changed: name it with --out")
    if parsed.out and not _wants_text(parsed):
        raise Misused("--out needs a --format, or a --template")


def _render(
    parsed: Namespace, listed: tuple[Peer, ...], own_uuid: str, err: TextIO, verdict: Verdict | None = None
) -> str:
    from peerdata.guest.formats.nodes import Options, View

    options = Options(parsed.prefix, parsed.address_key, parsed.name_key, parsed.port, parsed.scheme, parsed.domain)
    view = View(listed, own_uuid, options, verdict, warn=lambda text: _warn(err, text))
    if not parsed.template:
        return formats.render(parsed.format, view)
    from peerdata.guest.formats import template

    try:
        with open(parsed.template, encoding="utf-8") as file:
            return template.render(file.read(), view)
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"the template {parsed.template} cannot be read: {error}") from error


def _put(text: str, parsed: Namespace, out: TextIO) -> int:
    """Print *text*, or write it, and reload where that changed the file or a reload is still due; the exit code."""
    if not parsed.out:
        out.write(text)
        return errors.DONE
    if not parsed.reload:
        files.write_if_changed(parsed.out, text)
        return errors.DONE
    mark = files.mark_of(parsed.out)
    if not files.write_if_changed(parsed.out, text, mark=mark) and not os.path.lexists(mark):
        return errors.DONE
    code = _run(parsed.reload, None, "", {"PEERDATA_FILE": os.path.abspath(parsed.out)})
    files.set_mark(mark, due=code != errors.DONE)
    return code


def _run(command: str, err: TextIO | None, text: str, environment: dict[str, str]) -> int:
    """
    Run the user's own *command* in a shell; 1, and a line, where it fails. Nothing of a peer is in it.

    If we are ended meanwhile it is ended with us, and all that it started. For that it has a session of its own, but
    at a terminal, which tells it by itself, and which it may want to ask something.
    """
    import signal
    import subprocess

    alone = not os.isatty(0)
    told: list[int] = []
    runs = False

    def end(number: int, _frame: object = None) -> None:
        told.append(number)
        if runs:  # while it is made, nobody would know yet whom to end
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for number, handler in before.items():
            if handler in (signal.SIG_DFL, signal.default_int_handler):  # and not ignored, as under nohup
                signal.signal(number, end)
        with subprocess.Popen(  # noqa: S603 - it is the caller's own
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=alone,
        ) as process:
            try:
                runs = True
                for already in told:
                    end(already)
                process.communicate(text.encode())
            except BaseException:
                for number, patience_s in ((signal.SIGTERM, COMMAND_ENDS_S), (signal.SIGKILL, None)):
                    with suppress(ProcessLookupError):
                        (os.killpg if alone else os.kill)(process.pid, number)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(patience_s)
                        break
                raise
    except OSError as error:
        runs = True
        for already in told:
            end(already)
        _warn(err or sys.stderr, f"the command cannot be run: {os.strerror(error.errno or 0).lower()}: {command}")
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if process.returncode != 0:
        _warn(err or sys.stderr, f"the command failed with {process.returncode}: {command}")
        return 1
    return 0


def _warn(err: TextIO, text: str) -> None:
    err.write(f"peerdata: {printable(text)}\n")


def _how_long(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
