# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Which schema a store has, and how it gets the one that this version wants (Alembic).

# Expand and contract

An upgrade must not take the service away, so servers of two versions run on one store for a while: first the schema is
upgraded while the old ones run, then one after the other is restarted with the new code. So a migration only adds what
code of the version before need not know: tables, and columns that have a default of the database's own. What that code
still uses is removed by a later migration, which moves `OLDEST` on.

The store itself says how far back that goes, in the table `compatibility`, so that older code, which does not know the
store's schema by name, can tell at its start whether it may run.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, inspect, select

from peerdata.errors import SettingsInvalid
from peerdata.store.database import connect, file_of, translated_errors
from peerdata.store.schema import compatibility
from peerdata.store.watchdog import Watchdog

LOG = logging.getLogger(__name__)

OLDEST = "0003"
"""The oldest schema whose code runs on the newest one. A migration that takes away what older code uses moves it on."""

_SPARE_S = 1.0
"""How much longer than its own limits a server may take before it is held to be unresponsive."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def newest() -> str:
    """The schema revision that this version of the code wants."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


@dataclass(frozen=True)
class Found:
    """What a store says of its schema."""

    revision: str | None
    """None: it is empty, or not there yet."""
    oldest: str | None = None
    """The oldest schema whose code may run on it; None: it does not say."""


def current(url: str, *, busy_timeout_s: float) -> str | None:
    """
    The schema revision of the store at *url*; None: it is empty, or not there yet.

    Raises:
        SettingsInvalid: it is somebody else's.
        StoreUnavailable.
    """
    return _find(url, busy_timeout_s=busy_timeout_s).revision


def _find(url: str, *, busy_timeout_s: float) -> Found:
    path = file_of(url)
    try:
        if path and not path.exists():
            return Found(None)
    except OSError as error:
        raise SettingsInvalid(f"cannot look at the store '{path}': {error.strerror}; is this its user?") from error
    database = connect(url, busy_timeout_s=busy_timeout_s, writes=False)
    watchdog = Watchdog(busy_timeout_s + _SPARE_S)
    try:
        with (
            translated_errors("reading its schema"),
            database.connect() as connection,
            nullcontext() if path else watchdog.over(connection),
        ):
            return _read(connection)
    finally:
        watchdog.close()
        database.dispose()


def _read(connection: Connection) -> Found:
    tables = inspect(connection).get_table_names()
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None and tables:
        raise SettingsInvalid(f"[database] connection: there is something else in this store (table '{tables[0]}')")
    if compatibility.name not in tables:
        return Found(revision)
    return Found(revision, connection.execute(select(compatibility.c.oldest)).scalar())


def upgrade(url: str, *, busy_timeout_s: float) -> None:
    """
    Bring the store at *url* to `newest`; does nothing where it is there already. Servers may run on it meanwhile.

    On SQLite and PostgreSQL it is one transaction; on SQLite, of two that start at the same moment one waits and finds
    the work done.

    Raises:
        SettingsInvalid: the store is of a later version than this code.
        StoreUnavailable.
    """
    database = connect(url, busy_timeout_s=busy_timeout_s, writes=True)
    try:
        with translated_errors("upgrading its schema"), database.connect() as connection, connection.begin():
            found = _read(connection).revision
            if found is not None and found not in _known():
                raise SettingsInvalid(
                    f"the store has schema {found}, which this version does not know: a later peerdata made it"
                )
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.execute(delete(compatibility))
            connection.execute(insert(compatibility).values(oldest=OLDEST))
    finally:
        database.dispose()


def prepare(url: str, *, busy_timeout_s: float) -> None:
    """
    Make an empty embedded store ready; refuse a server's that is empty, and one whose schema this code cannot run on.

    Raises:
        SettingsInvalid: the store's schema is older, or newer and not compatible; says what to do.
        StoreUnavailable.
    """
    found = _find(url, busy_timeout_s=busy_timeout_s)
    if found.revision == newest():
        return
    if found.revision is None and file_of(url):
        upgrade(url, busy_timeout_s=busy_timeout_s)
    elif found.revision is None:
        raise SettingsInvalid("the store is empty: run `peerdata db upgrade` once, from one host, and start again")
    elif found.revision in _known():
        raise SettingsInvalid(
            f"the store has schema {found.revision}, this version wants {newest()}: run `peerdata db upgrade` once, "
            "from one host; servers of the version before may run meanwhile"
        )
    elif found.oldest not in _known():
        raise SettingsInvalid(
            f"the store has schema {found.revision}, which this version does not know: a later peerdata made it, and "
            f"only one of schema {found.oldest or found.revision} or later may use it; install that"
        )
    else:
        LOG.warning(
            "The store has schema %s, of a later peerdata; this version, of schema %s, may still run on it",
            found.revision,
            newest(),
        )
