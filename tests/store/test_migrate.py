"""How a store gets its schema, and that one of another version is left alone."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine as Database
from sqlalchemy import create_engine, inspect

from peerdata.cli import main
from peerdata.errors import SettingsInvalid, StoreUnavailable
from peerdata.store import migrate, schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "peerdata.sqlite"


@pytest.fixture
def url(path: Path) -> str:
    """The same as SQLAlchemy wants it."""
    return f"sqlite:///{path}"


@pytest.fixture
def upgraded(url: str) -> Iterator[Database]:
    """A store that came to be by migrations, from nothing."""
    migrate.upgrade(url, busy_timeout_s=1)
    database = create_engine(url)
    yield database
    database.dispose()


def set_revision(path: Path, revision: str, *, oldest: str = "9999") -> None:
    """As a later version would have left it, on which code of the schema *oldest* may still run."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.execute("UPDATE compatibility SET oldest = ?", (oldest,))
        connection.commit()


def test_the_migrations_lead_to_the_schema_that_the_code_speaks_of(upgraded: Database) -> None:
    with upgraded.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []


def test_the_migrations_lead_to_the_same_tables_as_create_all(upgraded: Database, tmp_path: Path) -> None:
    """Column by column, keys and indexes included, which Alembic's comparison does not all look at."""
    created = create_engine(f"sqlite:///{tmp_path}/created.sqlite")
    schema.metadata.create_all(created)
    for table in schema.metadata.tables:
        for of_table in ("get_columns", "get_pk_constraint", "get_indexes"):
            by_migration = getattr(inspect(upgraded), of_table)(table)
            by_metadata = getattr(inspect(created), of_table)(table)
            assert repr(by_migration) == repr(by_metadata)
    with created.connect() as one, upgraded.connect() as other:
        without_rowid = "SELECT name FROM pragma_table_list WHERE wr AND name NOT LIKE 'sqlite%' ORDER BY name"
        expected = one.exec_driver_sql(without_rowid).all()
        assert [row.name for row in expected] == sorted(schema.metadata.tables)
        assert other.exec_driver_sql(without_rowid).all() == expected
    created.dispose()


def test_upgrading_twice_does_no_harm(url: str, path: Path) -> None:
    migrate.upgrade(url, busy_timeout_s=1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO project VALUES ('blue', 7, 0, 0, 0, -1)")
        connection.commit()
    migrate.upgrade(url, busy_timeout_s=1)
    migrate.prepare(url, busy_timeout_s=1)
    assert migrate.current(url, busy_timeout_s=1) == migrate.newest()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT revision FROM project").fetchall() == [(7,)]


def test_an_empty_store_has_no_revision_and_is_made_ready(url: str) -> None:
    assert migrate.current(url, busy_timeout_s=1) is None
    migrate.prepare(url, busy_timeout_s=1)
    assert migrate.current(url, busy_timeout_s=1) == migrate.newest()


def test_many_that_prepare_one_empty_store_at_once_find_it_ready(url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: migrate.prepare(url, busy_timeout_s=20), range(16)))
    assert migrate.current(url, busy_timeout_s=1) == migrate.newest()


def test_a_store_of_a_later_version_is_refused_and_left_alone(url: str, path: Path) -> None:
    migrate.upgrade(url, busy_timeout_s=1)
    set_revision(path, "9999")
    for bring in (migrate.prepare, migrate.upgrade):
        with pytest.raises(SettingsInvalid, match=r"9999.*later peerdata"):
            bring(url, busy_timeout_s=1)
    assert migrate.current(url, busy_timeout_s=1) == "9999"


def test_a_store_of_a_later_version_that_says_nothing_of_older_code_is_refused(url: str, path: Path) -> None:
    migrate.upgrade(url, busy_timeout_s=1)
    set_revision(path, "9999")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE compatibility")
        connection.commit()
    with pytest.raises(SettingsInvalid, match=r"9999.*later peerdata.*9999 or later"):
        migrate.prepare(url, busy_timeout_s=1)


@pytest.mark.parametrize("oldest", ["0001", migrate.newest()])
def test_a_store_of_a_later_version_is_used_where_it_says_that_this_code_may(
    url: str, path: Path, oldest: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The version before goes on, and may be restarted, while others run the next one already."""
    migrate.upgrade(url, busy_timeout_s=1)
    set_revision(path, "9999", oldest=oldest)
    migrate.prepare(url, busy_timeout_s=1)
    assert "schema 9999, of a later peerdata" in caplog.text
    with pytest.raises(SettingsInvalid, match=r"9999.*later peerdata"):
        migrate.upgrade(url, busy_timeout_s=1)
    assert migrate.current(url, busy_timeout_s=1) == "9999"


def test_an_upgrade_says_how_old_code_may_be(url: str, path: Path) -> None:
    migrate.upgrade(url, busy_timeout_s=1)
    migrate.upgrade(url, busy_timeout_s=1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT oldest FROM compatibility").fetchall() == [(migrate.OLDEST,)]
    assert migrate.OLDEST in migrate._known()


def test_a_store_that_somebody_has_locked_is_unavailable(url: str, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            migrate.prepare(url, busy_timeout_s=0.05)
        other.execute("ROLLBACK")
    migrate.prepare(url, busy_timeout_s=0.05)


def test_a_file_that_is_no_store_is_unavailable_and_left_alone(url: str, path: Path) -> None:
    path.write_text("dear diary\n" * 100)
    with pytest.raises(StoreUnavailable):
        migrate.prepare(url, busy_timeout_s=1)
    assert path.read_text() == "dear diary\n" * 100


@pytest.fixture
def config(tmp_path: Path, url: str) -> list[str]:
    """What tells the command where the store is."""
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text("")
    path = tmp_path / "peerdata.conf"
    path.write_text(f"[database]\nconnection = {url}\n[identity]\ninventory_file = {inventory}\n")
    return ["--config-file", str(path)]


def test_the_command_tells_the_revision_and_upgrades(config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "current", *config]) == 0
    assert "none, it is empty" in capsys.readouterr().out
    assert main(["db", "upgrade", *config]) == 0
    assert main(["db", "current", *config]) == 0
    assert f"has schema {migrate.newest()}" in capsys.readouterr().out


def test_asking_for_the_revision_makes_no_store(config: list[str], path: Path) -> None:
    """Asked by root, it would leave a file that the service's own user cannot write."""
    assert main(["db", "current", *config]) == 0
    assert not path.exists()


def test_a_file_with_other_tables_is_refused_and_left_alone(url: str, path: Path) -> None:
    """It is not empty; somebody else's data is in it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE diary (day)")
        connection.commit()
    with pytest.raises(SettingsInvalid):
        migrate.prepare(url, busy_timeout_s=1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("diary",)]


def test_the_command_refuses_a_later_store_with_exit_code_2(
    config: list[str], path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["db", "upgrade", *config]) == 0
    set_revision(path, "9999")
    assert main(["db", "upgrade", *config]) == 2
    assert "9999" in capsys.readouterr().err


def test_the_command_takes_an_instance_out_of_every_project(
    config: list[str], path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["db", "upgrade", *config]) == 0
    uuid = "11111111-1111-4111-8111-111111111111"
    with closing(sqlite3.connect(path)) as connection:
        for project in ("blue", "green"):
            connection.execute("INSERT INTO project VALUES (?, 1, 1, 0, 0, -1)", (project,))
            connection.execute("INSERT INTO instance VALUES (?, ?, 1, 1)", (project, uuid))
            connection.execute("INSERT INTO entry VALUES (?, ?, 'k', 'v', 1, 0)", (project, uuid))
        connection.commit()
    assert main(["instance", "remove", uuid, *config]) == 0
    printed = capsys.readouterr().out
    assert "project blue" in printed
    assert "project green" in printed
    assert main(["instance", "remove", uuid, *config]) == 1
    assert "has published nothing" in capsys.readouterr().err
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM entry").fetchall() == [(0,)]
        assert connection.execute("SELECT revision, entries FROM project").fetchall() == [(2, 0), (2, 0)]
