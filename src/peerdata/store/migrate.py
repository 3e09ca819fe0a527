# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Which schema a store has, and how it gets the one that this version wants (Alembic).
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from peerdata.errors import SettingsInvalid
from peerdata.store.database import connect, file_of, translated_errors


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


def current(url: str, *, busy_timeout_s: float) -> str | None:
    """
    The schema revision of the store at *url*; None: it is empty, or not there yet.

    Raises:
        SettingsInvalid: it is somebody else's.
        StoreUnavailable.
    """
    path = file_of(url)
    try:
        if path and not path.exists():
            return None
    except OSError as error:
        raise SettingsInvalid(f"cannot look at the store '{path}': {error.strerror}; is this its user?") from error
    database = connect(url, busy_timeout_s=busy_timeout_s, writes=False)
    try:
        with translated_errors("reading its schema"), database.connect() as connection:
            return _read_current(connection)
    finally:
        database.dispose()


def _read_current(connection: Connection) -> str | None:
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None and (tables := inspect(connection).get_table_names()):
        raise SettingsInvalid(f"[database] connection: there is something else in this store (table '{tables[0]}')")
    return found


def upgrade(url: str, *, busy_timeout_s: float) -> None:
    """
    Bring the store at *url* to `newest`; does nothing where it is there already.

    On SQLite and PostgreSQL it is one transaction; on SQLite, of two that start at the same moment one waits and finds
    the work done.

    Raises:
        SettingsInvalid: the store is of a later version than this code.
        StoreUnavailable.
    """
    database = connect(url, busy_timeout_s=busy_timeout_s, writes=True)
    try:
        with translated_errors("upgrading its schema"), database.connect() as connection, connection.begin():
            _refuse_newer(_read_current(connection))
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.dispose()


def prepare(url: str, *, busy_timeout_s: float) -> None:
    """
    Make an empty embedded store ready; refuse one of another version, or a server's that is empty.

    Raises:
        SettingsInvalid: the store's schema is older or newer than this code; says what to do.
        StoreUnavailable.
    """
    found = current(url, busy_timeout_s=busy_timeout_s)
    _refuse_newer(found)
    if found is None and file_of(url):
        upgrade(url, busy_timeout_s=busy_timeout_s)
    elif found is None:
        raise SettingsInvalid("the store is empty: run `peerdata db upgrade` once, from one host, and start again")
    elif found != newest():
        raise SettingsInvalid(
            f"the store has schema {found}, this version wants {newest()}: stop every peerdata that uses it, back it "
            "up, and run `peerdata db upgrade`"
        )


def _refuse_newer(found: str | None) -> None:
    if found is not None and found not in _known():
        raise SettingsInvalid(
            f"the store has schema {found}, which this version does not know: a later peerdata made it; install that"
        )
