"""How many bytes a project holds is kept beside its keys, and is right whoever wrote meanwhile."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event

from peerdata.errors import QuotaReached
from peerdata.model import Entry, Quota, Usage
from peerdata.service.publish import Publisher
from peerdata.store import entries
from peerdata.store.engine import Engine

from .actions import ALICE, BOB, PROJECT, keep, leave, put, share
from .conftest import MakeEngine


async def usage(engine: Engine) -> Usage:
    """What the project holds, as a publish is told."""
    told: list[Usage] = []

    def note(_existing: object, project: Usage) -> tuple[Entry, ...]:
        told.append(project)
        return ()

    await engine.write_together(entries.publish_all, entries.Offer(ALICE, note, now=0), lane=PROJECT)
    return told[-1]


def count_sums(engine: Engine) -> list[str]:
    """The statements that count anew, from now on."""
    sums: list[str] = []

    @event.listens_for(engine._writing, "before_cursor_execute")
    def note(*given: object) -> None:
        if "sum(" in str(given[2]).lower():
            sums.append(str(given[2]))

    return sums


def as_the_version_before(connection: Connection) -> None:
    """One more key, as a version writes it that does not know of bytes."""
    connection.exec_driver_sql(f"INSERT INTO entry VALUES ('{PROJECT}', '{ALICE.uuid}', 'old', '12345', TRUE, 0)")
    connection.exec_driver_sql(
        f"UPDATE project SET revision = revision + 1, entries = entries + 1 WHERE project_id = '{PROJECT}'"
    )


async def test_bytes_grow_with_what_is_published_and_shrink_with_who_leaves(engine: Engine) -> None:
    sums = count_sums(engine)
    await share(engine, ALICE, ab="123", c="ü🙂")
    await keep(engine, BOB, d="")
    assert await usage(engine) == Usage(keys=3, bytes=5 + 7 + 1)
    assert sums == [], "kept, not counted"
    await leave(engine, ALICE)
    assert await usage(engine) == Usage(keys=1, bytes=1)


async def test_changes_of_clusters_do_not_make_them_be_counted_anew(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    sums = count_sums(engine)

    def advance(connection: Connection) -> None:
        entries.lock_project(connection, PROJECT)
        entries.advance(connection, PROJECT)

    await engine.write(advance)
    assert await usage(engine) == Usage(keys=1, bytes=2)
    await engine.write(lambda connection: entries.restart_revisions(connection, now=0))
    assert await usage(engine) == Usage(keys=1, bytes=2)
    assert sums == []


async def test_what_a_version_that_does_not_count_them_wrote_is_counted_once(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    await engine.write(as_the_version_before)
    sums = count_sums(engine)
    assert await usage(engine) == Usage(keys=2, bytes=2 + 8)
    await share(engine, BOB, b="1")
    assert len(sums) == 2
    assert await usage(engine) == Usage(keys=3, bytes=12)
    await share(engine, BOB, c="1")
    assert len(sums) == 2, "known again"


async def test_who_leaves_a_project_that_is_not_counted_leaves_it_so(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    await share(engine, BOB, b="1")
    await engine.write(as_the_version_before)
    await leave(engine, BOB)
    assert await usage(engine) == Usage(keys=2, bytes=10)


async def test_a_look_tells_the_same_without_writing(make_engine: MakeEngine) -> None:
    engine = make_engine()
    await share(engine, ALICE, a="1")
    await engine.write(as_the_version_before)
    publisher = Publisher(engine, Quota(10, 10, bytes_per_project=11), max_value_chars=255)
    for _ in range(2):
        with pytest.raises(QuotaReached, match="have 10 bytes and may have 11") as refused:
            await publisher.publish(BOB, {"b": "1"}, shared=True, owned={}, now=0)
        assert refused.value.facts["scope"] == "project_bytes"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
async def test_the_database_counts_bytes_as_the_rule_does(engine: Engine, value: str) -> None:
    await leave(engine, ALICE)
    await put(engine, ALICE, {"k": value}, shared=True)
    expected = Usage(keys=1, bytes=Entry("k", value, shared=True).bytes)
    assert await usage(engine) == expected
    await engine.write(lambda connection: connection.exec_driver_sql("UPDATE project SET bytes_at = -1"))
    assert await usage(engine) == expected
