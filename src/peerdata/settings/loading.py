# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Settings from files, arguments and the environment, as oslo.config reads them.

Oslo.config ignores what it does not know, and its messages often lack the section, the value or the bounds. So each
option is compared with those that there are, and each rejection names the option, where its value was written, and
what it may be.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_log import log

from peerdata.errors import SettingsInvalid
from peerdata.settings import checks, foreign
from peerdata.settings.sections import SECTIONS, Settings

# Before anything reads the option: oslo.config keeps what it has read, so a default that changes later has no effect.
log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "alembic=WARNING"])


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options of every section, for oslo-config-generator (entry point ``oslo.config.opts``)."""
    return [(section.group, [_option(entry) for entry in fields(section)]) for section in SECTIONS.values()]


def _option(entry: Any) -> cfg.Opt:
    default = list(entry.default) if isinstance(entry.default, tuple) else entry.default
    option: cfg.Opt = entry.metadata["option"](
        entry.name, default=default, help=entry.metadata["help"], **entry.metadata["rules"]
    )
    return option


def load(
    config_files: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    arguments: Sequence[str] = (),
    ignored: list[str] | None = None,
) -> tuple[Settings, cfg.ConfigOpts]:
    """
    Read *config_files*, later ones over earlier, *arguments* over them, ``OS_<GROUP>__<OPTION>`` variables over all.

    Args:
        config_files: Read where *arguments* name no file and no directory. A directory stands for its ``*.conf``.
        environment: By default this process'.
        arguments: ``--config-file=FILE``, ``--config-dir=DIRECTORY`` and oslo.log's, as oslo.config takes them.
        ignored: Gets the options and sections of other services that were there and have no effect; see `foreign`.

    Returns:
        The settings, and the oslo.config object for libraries that want it (oslo.log).

    Raises:
        SettingsInvalid: an option is unknown, cannot be read, or does not go with another.
    """
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    for group, options in list_opts():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    environment = os.environ if environment is None else environment
    try:
        read = _parse(conf, config_files, arguments, environment)
        foreign_ones = _refuse_unknown(conf, read, environment)
        told = _Told(read, environment)
        settings = Settings(**{name: _read(conf, section, told) for name, section in SECTIONS.items()})
        _check_logging(conf, told)
    except (cfg.Error, ValueError, OSError) as exc:
        raise SettingsInvalid(f"{' '.join(str(exc).split())}; mend the configuration and start again") from exc
    checks.check(settings)
    if ignored is not None:
        ignored += foreign_ones
    return settings, conf


def differences(one: Settings, other: Settings) -> list[str]:
    """The options whose values differ, as ``[section] option``."""
    return [
        f"[{section.group}] {entry.name}"
        for name, section in SECTIONS.items()
        for entry in fields(section)
        if getattr(getattr(one, name), entry.name) != getattr(getattr(other, name), entry.name)
    ]


def _parse(
    conf: cfg.ConfigOpts, config_files: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """
    Read files, arguments and environment; return the files, in the order in which they count.

    What could also be an argument of oslo.log's on a command line, oslo.config reads at once, and hands on to argparse,
    which prints what is wrong and exits.
    """
    printed = io.StringIO()
    arguments = [*arguments]
    if not any(argument.startswith(("--config-file", "--config-dir")) for argument in arguments):
        kinds = (("--config-dir" if os.path.isdir(path) else "--config-file", path) for path in config_files)
        arguments = [*(f"{kind}={path}" for kind, path in kinds), *arguments]
    read = _files(arguments)
    try:
        with contextlib.redirect_stderr(printed):
            # Empty lists, because oslo.config would look for files and directories by itself where it is given none.
            conf(args=arguments, project="peerdata", default_config_files=[], default_config_dirs=[], use_env=True)
    except SystemExit as exc:
        reason = " ".join(printed.getvalue().split())
        if found := re.match(r"argument --([\w-]+): (.*)", reason):
            name = found[1].replace("-", "_")
            reason = f"{name}{_Told(read, environment).text('DEFAULT', name)} cannot be used: {found[2]}"
        raise SettingsInvalid(f"[DEFAULT] {reason}; mend it and start again") from exc
    except cfg.NoSuchOptError as exc:
        raise SettingsInvalid(
            f"[DEFAULT] has a value with ${exc.opt_name}: a dollar sign names another option; write $$ for a dollar"
        ) from exc
    return read


def _files(arguments: Sequence[str]) -> list[str]:
    """The files that oslo.config reads for *arguments*: of a directory those in ``*.conf``, by name."""
    found = []
    for argument in arguments:
        kind, _, path = argument.partition("=")
        if kind == "--config-file":
            found.append(path)
        elif kind == "--config-dir":
            found += sorted(str(file) for file in Path(path).glob("*.conf"))
    return found


class _Told:
    """The text of each option as it was written, and where, to show who wrote it what is wrong with it."""

    def __init__(self, config_files: Sequence[str], environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._texts: dict[tuple[str, str], tuple[str, str]] = {}
        for path, sections in _sections(config_files):
            for group, options in sections.items():
                for name, values in options.items():
                    self._texts[group, name] = values[-1], path

    def text(self, group: str, name: str) -> str:
        """Such as `` = 'many' in /etc/peerdata/peerdata.conf``."""
        variable = f"OS_{group.upper()}__{name.upper()}"
        if variable in self._environment:
            return f" = {self._environment[variable]!r} in the environment ({variable})"
        text, path = self._texts.get((group, name), ("", ""))
        return f" = {text!r} in {path}" if path else ""


def _sections(config_files: Sequence[str]) -> Iterator[tuple[str, dict[str, dict[str, list[str]]]]]:
    """Each file with what it says, by section and option."""
    for path in config_files:
        parsed: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(path, parsed).parse()
        yield path, parsed


def _read(conf: cfg.ConfigOpts, section: Any, told: _Told) -> Any:
    source = conf if section.group == "DEFAULT" else conf[section.group]
    values = {}
    for entry in fields(section):
        option = f"[{section.group}] {entry.name}"
        try:
            value = source[entry.name]
        except (cfg.TemplateSubstitutionError, cfg.NoSuchOptError):
            # Its own words would show the value, which may be a secret.
            raise SettingsInvalid(f"{option}: a dollar sign names another option; write $$ for a dollar") from None
        except ValueError:  # its own words lack the section, and often the value or the bounds
            shown = "" if entry.metadata["rules"].get("secret") else told.text(section.group, entry.name)
            raise SettingsInvalid(
                f"{option}{shown} cannot be used: it must be {_permitted(entry)}; mend it and start again"
            ) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingsInvalid(f"{option}: {value} is not a number of seconds")
        values[entry.name] = tuple(value) if isinstance(value, list) else value
    return section(**values)


def _permitted(entry: Any) -> str:
    """What an option may be, in words."""
    option, rules = entry.metadata["option"], entry.metadata["rules"]
    if option is cfg.BoolOpt:
        return "true or false"
    if option in (cfg.IntOpt, cfg.FloatOpt):
        return f"a {'whole ' if option is cfg.IntOpt else ''}number from {rules['min']} to {rules['max']}"
    if "choices" in rules:
        return f"one of {', '.join(choice or '(empty)' for choice in rules['choices'])}"
    return "text that can be understood"


def _check_logging(conf: cfg.ConfigOpts, told: _Told) -> None:
    """The options of oslo.log, which it would only read when it needs them."""
    for name in conf:
        try:
            conf[name]
        except ValueError as exc:
            reason = str(exc).partition(" is not valid: ")[2] or exc
            raise SettingsInvalid(
                f"[DEFAULT] {name}{told.text('DEFAULT', name)} cannot be used: {reason}; mend it and start again"
            ) from exc


def _refuse_unknown(conf: cfg.ConfigOpts, files: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """
    Oslo.config ignores what it does not know; a mistyped option would silently not be set.

    Returns:
        What is another service's, and so ignored.
    """
    groups = {section.group for section in SECTIONS.values()} - {"DEFAULT"}
    # Iterating over conf gives the options of [DEFAULT], oslo.log's among them, and the groups.
    known = {"DEFAULT": ({name.replace("-", "_") for name in conf} | _ALIASES) - groups} | {
        group: set(conf[group]) for group in groups
    }
    ignored: dict[str, None] = {}
    for path, sections in _sections(files):
        for group, options in sections.items():
            if reason := foreign.reason_to_refuse(known, group):
                raise SettingsInvalid(f"{path}: {reason} Known are {_names(known)}", group=group)
            for name in options:
                # With hyphens oslo.config would not read it either.
                if reason := foreign.reason_to_refuse(known, group, name):
                    raise SettingsInvalid(f"{path}: {reason}; `peerdata sample` prints all that there are", option=name)
                if name not in known.get(group, ()):
                    ignored[f"[{group}] {name}" if group in known else f"[{group}]"] = None
    for variable in environment:
        group, parts, name = variable.removeprefix("OS_").partition("__")
        if not (variable.startswith("OS_") and group and parts and name):
            continue
        section = next((section for section in known if section.upper() == group.upper()), group.lower())
        reason = foreign.reason_to_refuse(known, section) or foreign.reason_to_refuse(known, section, name.lower())
        if reason:
            raise SettingsInvalid(f"{variable} in the environment: {reason}")
        if name.lower() not in known.get(section, ()):
            ignored[variable] = None
    return list(ignored)


_ALIASES = frozenset({"logfile", "logdir", "log_config"})
"""Names that oslo.log's options had once, and which still have their effect."""


def _names(known: Mapping[str, object]) -> str:
    return ", ".join(f"[{group}]" for group in sorted(known))
