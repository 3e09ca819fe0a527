# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The operator's command; its help shows the guest's beside it.

Exit codes: 0 done; 1 it failed, and the message says how; 2 the command or a setting is wrong; 130 Ctrl-C. Output that
cannot be written is a failure, as it is for the guest's commands; without a message where its reader has left.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import logging
import os
import re
import resource
import shlex
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from functools import partial
from typing import TextIO

import uvloop
from oslo_config import cfg, generator
from oslo_log import log

from peerdata import __version__, notify, workers
from peerdata.errors import PeerdataError, SettingsInvalid
from peerdata.guest import cli as guest_cli
from peerdata.guest import streams
from peerdata.guest.progress import printable
from peerdata.model import Cluster, Founders
from peerdata.service import verdict
from peerdata.settings import SECTIONS, Settings, differences, load
from peerdata.store import migrate, repairs
from peerdata.store.database import parse

LOG = logging.getLogger(__name__)

Command = Callable[[Settings, cfg.ConfigOpts, argparse.Namespace], int]

_PASSWORD = re.compile(r"(://[^:/@]*:).*@")

DEFAULT_CONFIG_FILE = "/etc/peerdata/peerdata.conf"
DEFAULT_CONFIG_DIR = "/etc/peerdata/peerdata.conf.d"

TELLING_KEYS = ("addr", "name")
"""How keys end that tell a person which machine a member is."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Whatever ends it, nobody gets a traceback but for a defect."""
    standard = sys.stdout, sys.stderr
    out, _ = streams.take_standard()
    try:
        try:
            return _main(arguments, standard)
        finally:
            out.flush()
    except KeyboardInterrupt:
        out.give_up()
        return 130
    except streams.OutputLost as lost:
        out.give_up()
        print(f"peerdata: the output is lost: {lost}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        out.give_up()
        return 1
    finally:
        sys.stdout, sys.stderr = standard


def _main(arguments: Sequence[str] | None, standard: tuple[TextIO, TextIO]) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        if parsed.run is None:  # the only command that needs no settings
            return sample()
        ignored: list[str] = []
        settings, conf = read_settings(parsed, ignored)
        run: Command = parsed.run
        if run is serve:
            # It outlives a disk that is full for a while, and so must not give its log up at the first error.
            sys.stdout, sys.stderr = standard
            return serve(settings, conf, parsed, ignored)
        code: int = run(settings, conf, parsed)
        return code
    except SettingsInvalid as error:
        print(f"peerdata: {error.message}", file=sys.stderr)
        return 2
    except PeerdataError as error:
        print(f"peerdata: {error.message}", file=sys.stderr)
        return 1


def read_settings(parsed: argparse.Namespace, ignored: list[str] | None = None) -> tuple[Settings, cfg.ConfigOpts]:
    """
    The settings of a command line, read and checked in this one way by every command, and again at SIGHUP.

    Raises:
        SettingsInvalid: they cannot be used.
    """
    settings, conf = load(_default_config(), arguments=parsed.oslo or (), ignored=ignored)
    parse(settings.database.connection)
    return settings, conf


def _default_config() -> list[str]:
    """The default files that are there. One that this user may not see is an error, and not the same as none."""
    found = []
    for path in (DEFAULT_CONFIG_FILE, DEFAULT_CONFIG_DIR):
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise SettingsInvalid(f"cannot read '{path}': {error.strerror}; run this as the service's user") from error
        found.append(path)
    return found


class _ForOslo(argparse.Action):
    """Keeps an argument as it was written, in the order of the command line: oslo.config reads it."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        value: object,
        option_string: str | None = None,
    ) -> None:
        written = f"{option_string}={value}" if self.nargs is None else str(option_string)
        # A list of its own: the default is shared between parsers.
        namespace.oslo = [*(namespace.oslo or []), written]


FOR_OSLO = {
    "--config-file": "FILE",
    "--config-dir": "DIRECTORY",
    "--debug": None,
    "--nodebug": None,
    "--log-config-append": "FILE",
    "--log-config": "FILE",
    "--log-date-format": "FORMAT",
    "--log-file": "FILE",
    "--logfile": "FILE",
    "--log-dir": "DIRECTORY",
    "--logdir": "DIRECTORY",
    "--use-syslog": None,
    "--nouse-syslog": None,
    "--syslog-log-facility": "FACILITY",
    "--use-journal": None,
    "--nouse-journal": None,
    "--use-json": None,
    "--nouse-json": None,
}
"""What every service of OpenStack takes on its command line, with the name of the value; the settings of the same names
explain them."""


def _common() -> argparse.ArgumentParser:
    """The arguments of every command that reads settings."""
    common = argparse.ArgumentParser(add_help=False)
    help_of = {
        "--config-file": f"settings; may be given more than once, a later file counts over an earlier. Without it and "
        f"without --config-dir: {DEFAULT_CONFIG_FILE}, and *.conf in {DEFAULT_CONFIG_DIR}",
        "--config-dir": "settings in all its files *.conf, in the order of their names",
    }
    logging_options = common.add_argument_group("logging, as other services of OpenStack have it")
    for name, value in FOR_OSLO.items():
        group = common if name in help_of else logging_options
        names = ["-d", name] if name == "--debug" else [name]
        takes = {"metavar": value} if value else {"nargs": 0}
        group.add_argument(*names, action=_ForOslo, dest="oslo", help=help_of.get(name), **takes)
    return common


def _parser() -> argparse.ArgumentParser:
    common = _common()
    parser = argparse.ArgumentParser(
        prog="peerdata",
        description="Instances of one project find each other through the metadata address. "
        f"In an instance: {', '.join(guest_cli.COMMANDS)}; the others are the operator's.",
        epilog="Every setting can also come from the environment: OS_<GROUP>__<OPTION>. "
        "Exit codes of the operator's: 0 done, 1 failed, 2 wrong command or setting, 130 Ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=f"peerdata {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    guest_cli.add_commands(commands)  # only for the help: `__main__` sends them to their own parser

    command = commands.add_parser("serve", parents=[common], help="run the service until SIGTERM")
    command.set_defaults(run=serve)
    command = commands.add_parser("settings", parents=[common], help="print the settings in force, secrets masked")
    command.set_defaults(run=show_settings)
    command = commands.add_parser("sample", help="print a commented sample of the settings file")
    command.set_defaults(run=None)

    database = commands.add_parser("db", help="the store's schema").add_subparsers(metavar="COMMAND", required=True)
    command = database.add_parser("upgrade", parents=[common], help="upgrade the schema to this version's")
    command.set_defaults(run=upgrade)
    command = database.add_parser("current", parents=[common], help="print the store's schema and this version's")
    command.set_defaults(run=show_revision)
    command = database.add_parser(
        "restored",
        parents=[common],
        help="say that a backup was put back, before the service starts: whoever follows reads everything once",
    )
    command.set_defaults(run=restart_revisions)

    instances = commands.add_parser("instance", help="what an instance has published")
    of_instance = instances.add_subparsers(metavar="COMMAND", required=True)
    command = of_instance.add_parser("list", parents=[common], help="print who has keys: project, uuid, number of keys")
    command.set_defaults(run=list_instances)
    command = of_instance.add_parser(
        "remove",
        parents=[common],
        help="take all its keys away, and it off all clusters, as when it left; peers see it gone, and it may publish "
        "anew. The service may run",
    )
    command.add_argument("uuid", help="the instance")
    command.set_defaults(run=remove_instance)

    clusters = commands.add_parser("cluster", help="who bootstraps, who joins")
    of_cluster = clusters.add_subparsers(metavar="COMMAND", required=True)
    command = of_cluster.add_parser(
        "list",
        parents=[common],
        help="print all clusters: project, name, state, term, and whom those wait for that form",
    )
    command.set_defaults(run=list_clusters)
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("project", help="id of the project")
    which.add_argument("name", help="of the cluster")
    sure = argparse.ArgumentParser(add_help=False)
    sure.add_argument(
        "--yes", action="store_true", help="also if it is formed: every member is stopped, and its data is not wanted"
    )
    command = of_cluster.add_parser(
        "show", parents=[common, which], help="print one: what it waits for, and its roll with addresses and names"
    )
    command.set_defaults(run=show_cluster)
    command = of_cluster.add_parser(
        "remove",
        parents=[common, which, sure],
        help="take one instance off the roll of one, as when it does not exist any more: make sure that it is off. Its "
        "keys and its other clusters stay. The service may run",
    )
    command.add_argument("uuid", help="the instance")
    command.set_defaults(run=remove_member)
    command = of_cluster.add_parser(
        "reset",
        parents=[common, which, sure],
        help="empty the roll of one, in a new term: whoever asks then forms it anew. The service may run",
    )
    command.set_defaults(run=reset_cluster)
    return parser


def serve(settings: Settings, conf: cfg.ConfigOpts, parsed: argparse.Namespace, ignored: Sequence[str] = ()) -> int:
    """Run the service."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it has something to read again
    notifier = notify.Notifier.take()
    faulthandler.enable(2)  # SIGABRT, with which a watchdog ends a process that hangs, tells where it does
    try:
        log.setup(conf, "peerdata", __version__)
    except (cfg.Error, OSError, log.LogConfigError) as error:
        raise SettingsInvalid(f"the settings of logging cannot be used: {error}") from error
    if ignored:
        LOG.warning("These settings are none of peerdata's, and have no effect: %s", ", ".join(ignored))
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    several = settings.instance_api.workers > 1
    with workers.share_metrics() if several else nullcontext():
        from peerdata import preflight, serving  # only now: it imports what counts
        from peerdata.store import opening

        if most_files != resource.RLIM_INFINITY:
            preflight.warn_of_few_files(settings, most_files)
        preflight.warn_of_old_settings(settings)
        store_ready = preflight.prepare(settings)
        listeners = [serving.OpenListener.open(listener) for listener in serving.listeners_of(settings)]
        reload_settings = partial(_reload_settings, settings, conf, parsed)
        make_service = partial(serving.Service, settings, listeners, reload_settings, store_ready=store_ready)
        if several:
            preflight.rehearse(settings)
            workers.supervise(settings, listeners, make_service, notifier)
        else:
            uvloop.run(serving.serve(make_service(notifier)))
        if opening.is_trying():
            # Python would take its modules away under the thread, which then may crash: it is left at once instead.
            logging.shutdown()
            os._exit(0)
    return 0


def _reload_settings(settings: Settings, conf: cfg.ConfigOpts, parsed: argparse.Namespace) -> None:
    """
    Read the settings again, and let those of logging have their effect. The others are checked all the same.

    Raises:
        SettingsInvalid: one of them cannot be used; then nothing is changed.
    """
    fresh, _ = read_settings(parsed)
    conf.mutate_config_files()
    if changed := differences(settings, fresh):
        LOG.warning("Changed in the settings, but in force only after a restart: %s", ", ".join(changed))


def show_settings(settings: Settings, _conf: cfg.ConfigOpts, _parsed: argparse.Namespace) -> int:
    """Print what is in force."""
    for name, section in SECTIONS.items():
        print(f"[{section.group}]")
        for entry in fields(section):
            value = getattr(getattr(settings, name), entry.name)
            if isinstance(value, tuple):
                value = ",".join(value)
            if value and entry.metadata["rules"].get("secret"):
                value = _PASSWORD.sub(r"\1***@", value) if "://" in value else "***"
            print(f"{entry.name} = {value}")
        print()
    return 0


def sample() -> int:
    """Print the commented sample."""
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(["--namespace", "peerdata", "--namespace", "oslo.log", "--wrap-width", "100"])
    text = io.StringIO()  # the generator takes an output that fails for a fault of an option
    generator.generate(conf, text)
    sys.stdout.write(text.getvalue())
    return 0


def upgrade(settings: Settings, _conf: cfg.ConfigOpts, _parsed: argparse.Namespace) -> int:
    """Upgrade the store's schema."""
    migrate.upgrade(settings.database.connection, busy_timeout_s=settings.database.busy_timeout)
    print(f"the store has schema {migrate.newest()}")
    return 0


def show_revision(settings: Settings, _conf: cfg.ConfigOpts, _parsed: argparse.Namespace) -> int:
    """Print the store's schema revision."""
    found = migrate.current(settings.database.connection, busy_timeout_s=settings.database.busy_timeout)
    print(f"the store has schema {found or 'none, it is empty'}; this version wants {migrate.newest()}")
    return 0


def restart_revisions(settings: Settings, _conf: cfg.ConfigOpts, _parsed: argparse.Namespace) -> int:
    """Let no revision of a restored store be taken for one of before."""
    number = repairs.restart_revisions(settings.database.connection, busy_timeout_s=settings.database.busy_timeout)
    print(f"moved the revisions of {number} projects on")
    return 0


def list_instances(settings: Settings, _conf: cfg.ConfigOpts, _parsed: argparse.Namespace) -> int:
    """Print who has published."""
    database = settings.database
    for project_id, uuid_, number, joined in repairs.list_instances(
        database.connection, busy_timeout_s=database.busy_timeout
    ):
        print(f"{project_id} {uuid_} {number} {'shared' if joined else 'unshared'}")
    return 0


def remove_instance(settings: Settings, _conf: cfg.ConfigOpts, parsed: argparse.Namespace) -> int:
    """Take an instance's keys away, in every project that knows it."""
    database = settings.database
    uuid_ = _read_uuid(parsed.uuid)
    gone = repairs.remove_instance(
        database.connection, uuid_, leave=verdict.leave, busy_timeout_s=database.busy_timeout
    )
    if not gone:
        return _fail(f"instance {uuid_} has published nothing")
    for project_id, (keys, rolls) in gone.items():
        of_clusters = f", and it from the rolls of {rolls} clusters" if rolls else ""
        print(f"removed {keys} keys of instance {uuid_} in project {project_id}{of_clusters}")
    return 0


def list_clusters(settings: Settings, _conf: cfg.ConfigOpts, _parsed: argparse.Namespace) -> int:
    """Print all clusters."""
    database = settings.database
    for project_id, name, cluster in repairs.list_clusters(database.connection, busy_timeout_s=database.busy_timeout):
        print(f"{project_id} {name} {_state(cluster)} members={len(cluster.members)}{_waits_for(cluster)}")
    return 0


def show_cluster(settings: Settings, _conf: cfg.ConfigOpts, parsed: argparse.Namespace) -> int:
    """Print one cluster, its roll, and what it waits for."""
    database = settings.database
    roll = repairs.read_cluster(database.connection, parsed.project, parsed.name, busy_timeout_s=database.busy_timeout)
    cluster = roll.cluster
    if cluster is None:
        return _fail(_unheard_of(parsed))
    closed = str(cluster.plan.closed).lower()
    print(f"{parsed.project} {parsed.name} {_state(cluster)} closed={closed} members={len(cluster.members)}")
    print(f"waiting: {verdict.explain_wait(cluster) or 'for nobody, the cluster is formed'}")
    for member in cluster.members:
        role = "founder" if member.founder else "member"
        meta = roll.metas.get(member.uuid, {})
        # What a guest published must neither steer the operator's terminal nor look like another word of the line.
        told = [shlex.quote(printable(f"{key}={value}")) for key, value in meta.items() if key.endswith(TELLING_KEYS)]
        print(" ".join([str(member.ordinal), member.uuid, role, *told]))
    return 0


def remove_member(settings: Settings, _conf: cfg.ConfigOpts, parsed: argparse.Namespace) -> int:
    """Take one instance off one roll."""
    uuid_ = _read_uuid(parsed.uuid)
    changed = _change_cluster(settings, parsed, lambda cluster: verdict.leave(cluster, uuid_))
    if changed is None:
        return _fail(_unheard_of(parsed))
    before, after = changed
    if before.member(uuid_) is None:
        return _fail(f"instance {uuid_} is not on the roll of cluster {parsed.name} of project {parsed.project}")
    if after == before:
        return _fail(
            f"instance {uuid_} is the last of its cluster, so this would begin it anew: {_not_sure(parsed, before)}"
        )
    now = f"; term {after.term}: {verdict.explain_wait(after)}" if not after.formed else ""
    print(f"removed instance {uuid_} from the roll of cluster {parsed.name} of project {parsed.project}{now}")
    return 0


def reset_cluster(settings: Settings, _conf: cfg.ConfigOpts, parsed: argparse.Namespace) -> int:
    """Let a cluster begin anew."""
    changed = _change_cluster(settings, parsed, verdict.reset)
    if changed is None:
        return _fail(_unheard_of(parsed))
    before, after = changed
    if after == before:
        return _fail(_not_sure(parsed, before))
    print(f"cluster {parsed.name} of project {parsed.project} begins anew, in term {after.term}")
    return 0


def _change_cluster(
    settings: Settings, parsed: argparse.Namespace, change: Callable[[Cluster], Cluster]
) -> tuple[Cluster, Cluster] | None:
    """As `repairs.change_cluster`; but one that is formed begins anew only with ``--yes``, and else stays as it is."""

    def decide(cluster: Cluster) -> Cluster:
        after = change(cluster)
        return cluster if cluster.formed and not after.formed and not parsed.yes else after

    database = settings.database
    return repairs.change_cluster(
        database.connection, parsed.project, parsed.name, decide, busy_timeout_s=database.busy_timeout
    )


def _state(cluster: Cluster) -> str:
    state = "formed" if cluster.formed else "forming"
    return f"{state} term={cluster.term} size={cluster.plan.size} founders={cluster.plan.founders.value}"


def _waits_for(cluster: Cluster) -> str:
    """Whom a cluster waits for, at the end of its line."""
    if cluster.formed:
        return ""
    if cluster.founders:
        return f" waits-for={','.join(member.uuid for member in cluster.founders)}"
    if not cluster.members:
        return " waits-for=whoever asks first"
    if cluster.plan.founders is Founders.ONE:
        return " waits-for=the next that asks"
    missing = cluster.plan.size - len(cluster.members)
    return f" waits-for={missing} more member{'s' if missing > 1 else ''}"


def _not_sure(parsed: argparse.Namespace, cluster: Cluster) -> str:
    number = len(cluster.members)
    return (
        f"cluster {parsed.name} of project {parsed.project} is formed, {number} member{'s' if number > 1 else ''}; if "
        "one of them still runs or has data, whoever asks next begins a second, empty or older one. Nothing was "
        "changed: repeat with --yes if every member is stopped and its data is not wanted"
    )


def _unheard_of(parsed: argparse.Namespace) -> str:
    return f"project {parsed.project} has no cluster '{parsed.name}'"


def _read_uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise SettingsInvalid(f"'{text}' is no UUID of an instance") from error


def _fail(message: str) -> int:
    print(f"peerdata: {message}", file=sys.stderr)
    return 1
