"""
A store of every earlier revision, with data in it: brought to the newest, nothing is lost, and it goes on from there.

`revisions/` has for each revision what a service of that time would have left, in the tables of that time, and always
the same story. Whoever adds a revision adds the file of the one before it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from peerdata.errors import KeyTaken, SettingsInvalid
from peerdata.model import Changes, Entry, Peer, Refusal, Usage
from peerdata.store import entries, migrate, refusals
from peerdata.store.database import connect
from peerdata.store.engine import Engine

from .actions import ALICE, BOB, CAROL, PROJECT, ZOE, changes, keep, leave, own, share

DIRECTORY = Path(__file__).parent / "revisions"

ALICES = Peer(ALICE.uuid, joined=1, revision=4, meta={"Role ": "ü🙂", "etcd_addr": "10.0.0.1:2380"})
BOBS = Peer(BOB.uuid, joined=6, revision=6, meta={"etcd_addr": "10.0.0.2:2380"})
ZOES = Peer(ZOE.uuid, joined=1, revision=1, meta={"etcd_addr": "10.0.0.1:2380"})

Upgrade = Callable[[str], Engine]


def earlier_revisions() -> list[str]:
    """All but the newest, from the first on."""
    scripts = list(ScriptDirectory.from_config(migrate._config()).walk_revisions())
    return [script.revision for script in reversed(scripts[1:])]


def fill(url: str, revision: str) -> None:
    """Make the empty store at *url* what it was at *revision*, data included."""
    config = migrate._config()
    database = connect(url, busy_timeout_s=10, writes=True)
    with database.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in (DIRECTORY / f"{revision}.sql").read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    database.dispose()


async def count(engine: Engine) -> Usage:
    """What the project holds, as its quota counts it."""
    counted: list[Usage] = []

    def note(_existing: object, project: Usage) -> tuple[Entry, ...]:
        counted.append(project)
        return ()

    await engine.write_together(entries.publish_all, entries.Offer(ALICE, note, now=0), lane=PROJECT)
    return counted[-1]


@pytest.fixture
def upgrade(empty_url: str) -> Iterator[Upgrade]:
    """Gives a store that was at a revision, and is at the newest."""
    made: list[Engine] = []

    def upgrade_from(revision: str) -> Engine:
        fill(empty_url, revision)
        migrate.upgrade(empty_url, busy_timeout_s=10)
        migrate.prepare(empty_url, busy_timeout_s=10)
        made.append(Engine(empty_url, busy_timeout_s=10, max_waiting_writes=100))
        return made[-1]

    yield upgrade_from
    for engine in made:
        engine.close()


def test_every_earlier_revision_has_its_data() -> None:
    assert sorted(path.stem for path in DIRECTORY.iterdir()) == earlier_revisions()


@pytest.mark.parametrize("revision", earlier_revisions())
def test_the_service_refuses_a_store_of_an_earlier_revision_until_it_is_upgraded(empty_url: str, revision: str) -> None:
    fill(empty_url, revision)
    with pytest.raises(SettingsInvalid, match=f"schema {revision}.*peerdata db upgrade"):
        migrate.prepare(empty_url, busy_timeout_s=10)
    assert migrate.current(empty_url, busy_timeout_s=10) == revision


def columns(url: str) -> dict[tuple[str, str], tuple[str, bool]]:
    """Type, and whether it may be left out of a new row, of each column of each table but Alembic's own."""
    database = connect(url, busy_timeout_s=10, writes=False)
    seen = inspect(database)
    found = {
        (table, column["name"]): (str(column["type"]), column["nullable"] or column["default"] is not None)
        for table in seen.get_table_names()
        if table != "alembic_version"
        for column in seen.get_columns(table)
    }
    database.dispose()
    return found


EXPANDING_SINCE = "0003"
"""From here on an upgrade may be made while servers of the version before go on."""


def test_the_version_before_can_go_on_while_the_schema_is_upgraded(empty_url: str) -> None:
    """What it reads is there as before, and the rows that it makes need nothing that it does not know."""
    revisions = [*earlier_revisions(), migrate.newest()]
    config = migrate._config()
    database = connect(empty_url, busy_timeout_s=10, writes=True)
    before: dict[tuple[str, str], tuple[str, bool]] = {}
    for revision in revisions[revisions.index(EXPANDING_SINCE) :]:
        with database.connect() as connection, connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        after = columns(empty_url)
        assert {name: after.get(name) for name in before} == before
        old_tables = {table for table, _ in before}
        added = {name: column for name, column in after.items() if name not in before and name[0] in old_tables}
        assert all(may_be_left_out for _, may_be_left_out in added.values()), added
        before = after
    database.dispose()


@pytest.mark.parametrize("revision", earlier_revisions())
async def test_an_upgrade_keeps_all_that_was_there(upgrade: Upgrade, revision: str) -> None:
    engine = upgrade(revision)
    assert await count(engine) == Usage(keys=4, bytes=9 + 13 + 5 + 6 + 6 + 9 + 13)
    removed = ((CAROL.uuid, 5),)
    assert await changes(engine) == Changes(6, full=True, peers=(ALICES, BOBS), removed=removed, forgotten=0)
    assert await changes(engine, since=4) == Changes(6, full=False, peers=(BOBS,), removed=removed, forgotten=0)
    assert await changes(engine, project_id=ZOE.project_id) == Changes(1, True, (ZOES,), (), 0)
    assert await own(engine, BOB) == {"etcd_addr": "10.0.0.2:2380", "secret": ""}
    kept = await engine.read(lambda connection: refusals.read(connection, BOB, now=1795000005))
    assert kept == Refusal({"code": "peerdata.key.taken"}, "POST /openstack/latest/metadata", 1795000004)
    listed = await engine.read(entries.list_instances)
    assert [row[:3] for row in listed] == [(PROJECT, ALICE.uuid, 2), (PROJECT, BOB.uuid, 2), ("green", ZOE.uuid, 1)]


@pytest.mark.parametrize("revision", earlier_revisions())
async def test_after_an_upgrade_publishing_goes_on_from_there(upgrade: Upgrade, revision: str) -> None:
    engine = upgrade(revision)
    with pytest.raises(KeyTaken):
        await share(engine, BOB, secret="another", new="1")
    await share(engine, ALICE, new="1")
    await keep(engine, CAROL, secret="1")
    assert await leave(engine, BOB) == 2
    found = await changes(engine, since=6)
    assert found.peers == (Peer(ALICE.uuid, joined=1, revision=7, meta={**ALICES.meta, "new": "1"}),)
    assert (found.revision, found.removed) == (9, ((BOB.uuid, 9),))
    assert (await count(engine)).keys == 4
