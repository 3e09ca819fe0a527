# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The operator's command; its help shows the guest's beside it.

Exit codes: 0 done, 1 it failed (the message says how), 2 the command or a setting is wrong.
"""

from __future__ import annotations

import argparse
import re
import resource
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from functools import partial
from pathlib import Path

import uvloop
from oslo_config import cfg, generator
from oslo_log import log

from peerdata import __version__, workers
from peerdata.errors import PeerdataError, SettingsInvalid
from peerdata.guest import cli as guest_cli
from peerdata.service import verdict
from peerdata.settings import SECTIONS, Settings, load
from peerdata.store import migrate, repairs

Command = Callable[[Settings, cfg.ConfigOpts, argparse.Namespace], int]

_PASSWORD = re.compile(r"(://[^:/@]*:).*@")

DEFAULT_CONFIG_FILE = "/etc/peerdata/peerdata.conf"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        if parsed.run is None:  # the only command that needs no settings
            return sample()
        settings, conf = load(parsed.config_file or _default_config_files())
        run: Command = parsed.run
        code: int = run(settings, conf, parsed)
        return code
    except SettingsInvalid as error:
        print(f"peerdata: {error.message}", file=sys.stderr)
        return 2
    except PeerdataError as error:
        print(f"peerdata: {error.message}", file=sys.stderr)
        return 1


def _default_config_files() -> list[str]:
    return [DEFAULT_CONFIG_FILE] if Path(DEFAULT_CONFIG_FILE).exists() else []


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config-file",
        action="append",
        metavar="FILE",
        help=f"settings; may be given more than once, a later file counts over an earlier ({DEFAULT_CONFIG_FILE})",
    )
    parser = argparse.ArgumentParser(
        prog="peerdata",
        description="Instances of one project find each other through the metadata address. "
        f"In an instance: {', '.join(guest_cli.COMMANDS)}; the others are the operator's.",
        epilog="Every setting can also come from the environment: OS_<GROUP>__<OPTION>. "
        "Exit codes of the operator's: 0 done, 1 failed, 2 wrong command or setting.",
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
        help="take all its keys away, as when it left; peers see it gone, and it may publish anew. The service may run",
    )
    command.add_argument("uuid", help="the instance")
    command.set_defaults(run=remove_instance)

    clusters = commands.add_parser("cluster", help="who bootstraps, who joins")
    of_cluster = clusters.add_subparsers(metavar="COMMAND", required=True)
    command = of_cluster.add_parser("list", parents=[common], help="print all clusters: project, name, state, term")
    command.set_defaults(run=list_clusters)
    command = of_cluster.add_parser(
        "reset",
        parents=[common],
        help="empty the roll of one, in a new term: whoever asks then forms it anew. The service may run",
    )
    command.add_argument("project", help="id of the project")
    command.add_argument("name", help="of the cluster")
    command.set_defaults(run=reset_cluster)
    return parser


def serve(settings: Settings, conf: cfg.ConfigOpts, _parsed: argparse.Namespace) -> int:
    """Run the service."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it has something to read again
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "alembic=WARNING", "httpcore=WARNING"])
    try:
        log.setup(conf, "peerdata", __version__)
    except (cfg.Error, OSError, log.LogConfigError) as error:
        raise SettingsInvalid(f"the settings of logging cannot be used: {error}") from error
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    several = settings.instance_api.workers > 1
    with workers.share_metrics() if several else nullcontext():
        from peerdata import app  # only now: it imports what counts

        app.prepare(settings)
        listeners = app.Listeners.open(settings)
        make_service = partial(app.Service, settings, listeners, conf.mutate_config_files)
        if several:
            app.rehearse(settings)
            workers.supervise(settings, listeners, make_service)
        else:
            uvloop.run(app.serve(make_service()))
    return 0


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
    generator.generate(conf, sys.stdout)
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
    try:
        parsed.uuid = str(uuid.UUID(parsed.uuid))
    except ValueError as error:
        raise SettingsInvalid(f"'{parsed.uuid}' is no UUID of an instance") from error
    gone = repairs.remove_instance(
        database.connection, parsed.uuid, leave=verdict.leave, busy_timeout_s=database.busy_timeout
    )
    if not gone:
        print(f"peerdata: instance {parsed.uuid} has published nothing", file=sys.stderr)
        return 1
    for project_id, (keys, rolls) in gone.items():
        of_clusters = f", and it from the rolls of {rolls} clusters" if rolls else ""
        print(f"removed {keys} keys of instance {parsed.uuid} in project {project_id}{of_clusters}")
    return 0


def list_clusters(settings: Settings, _conf: cfg.ConfigOpts, _parsed: argparse.Namespace) -> int:
    """Print all clusters."""
    database = settings.database
    for project_id, name, cluster in repairs.list_clusters(database.connection, busy_timeout_s=database.busy_timeout):
        state = "formed" if cluster.formed else "forming"
        print(
            f"{project_id} {name} {state} term={cluster.term} size={cluster.plan.size} "
            f"founders={cluster.plan.founders.value} members={len(cluster.members)}"
        )
    return 0


def reset_cluster(settings: Settings, _conf: cfg.ConfigOpts, parsed: argparse.Namespace) -> int:
    """Let a cluster begin anew."""
    database = settings.database
    cluster = repairs.change_cluster(
        database.connection, parsed.project, parsed.name, verdict.reset, busy_timeout_s=database.busy_timeout
    )
    if cluster is None:
        print(f"peerdata: project {parsed.project} has no cluster '{parsed.name}'", file=sys.stderr)
        return 1
    print(f"cluster {parsed.name} of project {parsed.project} begins anew, in term {cluster.term}")
    return 0
