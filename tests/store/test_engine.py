"""Transactions: durable, grouped, whole; and what a lock or a full disk does to them."""

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from peerdata import repeats
from peerdata.errors import KeyTaken, PeerdataError, ServerBusy, SettingsInvalid, StoreUnavailable
from peerdata.model import Entry, Quota
from peerdata.service.publish import Publisher
from peerdata.store import entries, migrate
from peerdata.store.database import connect
from peerdata.store.engine import Engine
from peerdata.store.lanes import ALONE_MAX, GROUP_MAX

from .actions import ALICE, BOB, CAROL, changes, keep, leave, offer, own, pragma, put, share
from .conftest import MakeEngine


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the file's write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@asynccontextmanager
async def writer_held(engine: Engine) -> AsyncIterator[Callable[[], None]]:
    """The writer is at work until the function is called, so that what comes meanwhile waits and is one group."""
    loop = asyncio.get_running_loop()
    begun, release = asyncio.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait()

    holding = asyncio.ensure_future(engine.write(hold))
    await begun.wait()
    try:
        yield release.set
    finally:
        release.set()
        await holding


async def put_in_line(*calls: Any) -> list["asyncio.Task[Any]"]:
    """Begin all of *calls* and let each come as far as it does without the writer."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


# Set up for a power cut


async def test_every_connection_syncs_each_commit_to_the_disk(engine: Engine) -> None:
    """G8: in WAL mode, NORMAL may lose the last commits when the machine fails."""
    for run in (engine.read, engine.write):
        assert await run(pragma("journal_mode")) == "wal"
        assert await run(pragma("synchronous")) == 2


async def test_what_was_answered_is_in_the_file(engine: Engine, store_file: Path) -> None:
    await share(engine, ALICE, a="1")
    with closing(sqlite3.connect(store_file)) as other:
        assert other.execute("SELECT uuid, key, value, shared FROM entry").fetchall() == [(ALICE.uuid, "a", "1", 1)]


def test_the_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "peerdata.sqlite"
    connect(f"sqlite:///{path}", busy_timeout_s=1, writes=True).dispose()
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_file_itself_is_for_its_user_alone(tmp_path: Path) -> None:
    """The directory may have been there before, open to all; what an instance keeps to itself may be a secret."""
    migrate.prepare(f"sqlite:///{tmp_path}/peerdata.sqlite", busy_timeout_s=1)
    assert [oct(path.stat().st_mode & 0o077) for path in tmp_path.iterdir()] == ["0o0"]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_store_in_memory_is_refused(url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"\[database\] connection"):
        connect(url, busy_timeout_s=1, writes=True)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsInvalid, match="state_path"):
        connect(f"sqlite:///{tmp_path}/file/peerdata.sqlite", busy_timeout_s=1, writes=True)


def test_a_url_with_two_slashes_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match=r"\[database\] connection"):
        connect("sqlite://var/lib/peerdata.sqlite", busy_timeout_s=1, writes=True).connect()


@pytest.mark.parametrize("url", ["sqlite:///file::memory:?uri=true", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_store_in_memory_by_uri_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsInvalid, match=r"\[database\] connection"):
        connect(url, busy_timeout_s=1, writes=True)


# Groups


async def test_calls_that_wait_share_one_transaction_in_the_order_in_which_they_came(engine: Engine) -> None:
    seen: list[tuple[int, Connection]] = []

    def note(number: int) -> Callable[[Connection], int]:
        def work(connection: Connection) -> int:
            seen.append((number, connection))
            return number

        return work

    async with writer_held(engine) as release:
        tasks = await put_in_line(*(engine.write(note(number)) for number in range(20)))
        release()
        assert await asyncio.gather(*tasks) == list(range(20))
    assert [number for number, _ in seen] == list(range(20))
    assert all(connection is seen[0][1] for _, connection in seen)


async def test_those_in_a_group_who_want_the_same_are_done_together(engine: Engine) -> None:
    def name_all(connection: Connection, calls: Sequence[str]) -> list[tuple[str, ...]]:
        return [tuple(calls)] * len(calls)

    def reject_all(connection: Connection, calls: Sequence[str]) -> list[PeerdataError]:
        return [KeyTaken(call) for call in calls]

    async with writer_held(engine) as release:
        tasks = await put_in_line(
            *(engine.write_together(name_all, call) for call in "ab"),
            engine.write(lambda _connection: "alone"),
            *(engine.write_together(name_all, call) for call in "cd"),
            *(engine.write_together(reject_all, call) for call in "ef"),
        )
        release()
        *outcomes, e, f = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes == [("a", "b", "c", "d")] * 2 + ["alone"] + [("a", "b", "c", "d")] * 2
    assert [str(refusal) for refusal in (e, f)] == ["e", "f"]


async def test_a_group_has_a_bound(engine: Engine) -> None:
    connections: list[Connection] = []
    async with writer_held(engine) as release:
        tasks = await put_in_line(
            *(engine.write(lambda connection: connections.append(connection)) for _ in range(ALONE_MAX + 5))
        )
        release()
        await asyncio.gather(*tasks)
    assert connections.count(connections[0]) == ALONE_MAX
    assert connections.count(connections[-1]) == 5


async def test_a_refusal_in_a_group_does_not_touch_the_others(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    async with writer_held(engine) as release:
        tasks = await put_in_line(
            share(engine, BOB, b="1"), share(engine, ALICE, a="2", x="2"), share(engine, CAROL, c="1")
        )
        release()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [dict, KeyTaken, dict]
    found = await changes(engine)
    assert [peer.uuid for peer in found.peers] == [ALICE.uuid, BOB.uuid, CAROL.uuid]
    assert found.revision == 3
    assert await own(engine, ALICE) == {"a": "1"}


async def test_a_call_that_breaks_its_group_is_alone_with_that(engine: Engine) -> None:
    """Whatever it did is undone, what the others did is done once."""

    def break_down(connection: Connection) -> None:
        entries.publish_offer(connection, entries.Offer(CAROL, offer({"c": "1"}, shared=True), now=0))
        raise ZeroDivisionError

    async with writer_held(engine) as release:
        tasks = await put_in_line(share(engine, ALICE, a="1"), engine.write(break_down), share(engine, BOB, b="1"))
        release()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [dict, ZeroDivisionError, dict]
    found = await changes(engine)
    assert [(peer.uuid, peer.revision) for peer in found.peers] == [(ALICE.uuid, 1), (BOB.uuid, 2)]
    assert await own(engine, CAROL) == {}


async def test_an_offer_that_breaks_its_group_is_alone_with_that(engine: Engine) -> None:
    def break_down(_existing: object, _project: object) -> tuple[Entry, ...]:
        raise ZeroDivisionError

    broken = entries.Offer(CAROL, break_down, now=0)
    async with writer_held(engine) as release:
        tasks = await put_in_line(
            share(engine, ALICE, a="1"), engine.write_together(entries.publish_all, broken), share(engine, BOB, b="1")
        )
        release()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [dict, ZeroDivisionError, dict]
    assert (await changes(engine)).revision == 2


async def test_a_broken_rule_of_the_schema_breaks_only_its_own_call(engine: Engine) -> None:
    def insert_twice(connection: Connection) -> None:
        for _ in range(2):
            connection.exec_driver_sql("INSERT INTO project VALUES ('x', 1, 0, 0, 0, 0)")

    async with writer_held(engine) as release:
        tasks = await put_in_line(share(engine, ALICE, a="1"), engine.write(insert_twice), share(engine, BOB, b="1"))
        release()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes][::2] == [dict, dict]
    assert isinstance(outcomes[1], Exception)
    assert (await changes(engine)).revision == 2
    assert (await changes(engine, project_id="x")).revision == 0


async def test_a_caller_that_goes_away_does_not_take_its_write_along(engine: Engine) -> None:
    async with writer_held(engine) as release:
        (task,) = await put_in_line(share(engine, ALICE, a="1"))
        task.cancel()
        release()
        await share(engine, BOB, b="1")
    assert task.cancelled()
    assert await own(engine, ALICE) == {"a": "1"}


async def test_one_more_than_may_wait_is_told_so_at_once(make_engine: MakeEngine) -> None:
    engine = make_engine(max_waiting_writes=2)
    async with writer_held(engine) as release:
        waiting = await put_in_line(share(engine, ALICE, a="1"), share(engine, BOB, b="1"))
        with pytest.raises(ServerBusy):
            await share(engine, CAROL, c="1")
        release()
        await asyncio.gather(*waiting)
    await share(engine, CAROL, c="2")
    assert await own(engine, CAROL) == {"c": "2"}


async def test_closing_refuses_what_waits_and_may_be_done_twice(engine: Engine, make_engine: MakeEngine) -> None:
    """A locked store would otherwise hold up the end of the process for as long as each of them has patience."""
    async with writer_held(engine) as release:
        tasks = await put_in_line(*(share(engine, ALICE, **{f"k{number}": "1"}) for number in range(5)))
        closing_down = asyncio.get_running_loop().run_in_executor(None, engine.close)
        await asyncio.sleep(0.05)
        release()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await closing_down
    engine.close()
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert await own(make_engine(), ALICE) == {}


@pytest.mark.parametrize("number", [1, 2, 3, GROUP_MAX])
async def test_entries_of_many_instances_are_found_by_the_primary_key(engine: Engine, number: int) -> None:
    """Asked for pairs in another way, SQLite reads the whole table."""
    plan = await engine.read(
        lambda connection: (
            connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {entries._read_entries_of(number).compile(connection)}", ("",) * 2 * number
            )
            .mappings()
            .all()
        )
    )
    steps = [row["detail"] for row in plan]
    assert not any("SCAN" in step for step in steps)
    assert sum("SEARCH entry USING PRIMARY KEY (project_id=? AND uuid=?)" in step for step in steps) == number


# One winner


async def test_of_many_that_publish_one_key_exactly_one_wins(engine: Engine) -> None:
    calls = [share(engine, ALICE, leader=str(number), **{f"of-{number}": "1"}) for number in range(100)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, dict)]
    assert len(winners) == 1
    assert all(isinstance(outcome, dict | KeyTaken) for outcome in outcomes)
    # The whole call of the winner, and nothing of any other.
    assert await own(engine, ALICE) == {"leader": str(winners[0]), f"of-{winners[0]}": "1"}
    assert (await changes(engine)).revision == 1


async def test_of_many_that_publish_one_key_through_several_servers_exactly_one_wins(make_engine: MakeEngine) -> None:
    engines = [make_engine() for _ in range(4)]
    calls = [share(engines[number % 4], ALICE, leader=str(number)) for number in range(40)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, dict) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, KeyTaken) for outcome in outcomes) == 39


async def test_a_quota_holds_however_many_publish_at_once(make_engine: MakeEngine) -> None:
    quota = Quota(keys_per_instance=100, keys_per_project=10)
    publishers = [Publisher(make_engine(), quota, max_value_chars=255) for _ in range(2)]
    calls = [
        publishers[number % 2].publish(
            (ALICE, BOB, CAROL)[number % 3], {f"k{number}": "1"}, shared=True, owned={}, now=0
        )
        for number in range(40)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, dict) for outcome in outcomes) == 10
    found = await changes(make_engine())
    assert sum(len(peer.meta) for peer in found.peers) == 10
    assert found.revision == 10


async def test_revisions_of_concurrent_calls_have_no_gap_and_no_double(make_engine: MakeEngine) -> None:
    engines = [make_engine() for _ in range(2)]
    people = (ALICE, BOB, CAROL)
    calls = [share(engines[number % 2], people[number % 3], **{f"k{number}": "1"}) for number in range(60)]
    await asyncio.gather(*calls)
    found = await changes(engines[0])
    assert found.revision == 60
    assert sorted(peer.joined for peer in found.peers)[0] == 1


# Two servers on one file


async def test_what_one_server_answered_another_reads_at_once(make_engine: MakeEngine) -> None:
    """G3."""
    one, other = make_engine(), make_engine()
    for number in range(20):
        await share(one, ALICE, **{f"k{number}": "1"})
        assert f"k{number}" in await own(other, ALICE)
        await keep(other, BOB, **{f"k{number}": "1"})
        assert f"k{number}" in await own(one, BOB)
    await leave(other, ALICE)
    assert await own(one, ALICE) == {}


async def test_a_read_is_one_snapshot(make_engine: MakeEngine) -> None:
    """G4: what is written while it runs, it does not see."""
    reader, writer = make_engine(), make_engine()
    await share(writer, ALICE, a="1")
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), threading.Event()

    def read_twice(connection: Connection) -> tuple[Any, Any]:
        first = entries.read_changes(connection, "blue", None)
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        return first, entries.read_changes(connection, "blue", None)

    reading = asyncio.ensure_future(reader.read(read_twice))
    await begun.wait()
    await share(writer, BOB, b="1")
    go_on.set()
    first, second = await reading
    assert first == second
    assert (await changes(reader)).revision == 2


async def test_the_version_differs_after_every_commit_by_whomever(make_engine: MakeEngine, store_file: Path) -> None:
    """By it a reader knows without waiting that its board is still all there is."""
    one, other = make_engine(), make_engine()
    seen = [one.version()]
    for commit in (share(one, ALICE, a="1"), share(other, ALICE, b="1"), leave(other, ALICE), keep(one, BOB, c="1")):
        await commit
        seen.append(one.version())
    with closing(sqlite3.connect(store_file)) as third:
        third.execute("UPDATE project SET revision = revision + 1")
        third.commit()
    seen.append(one.version())
    assert None not in seen
    assert all(before != after for before, after in pairwise(seen))


async def test_the_version_stays_while_nobody_commits(engine: Engine, store_file: Path) -> None:
    await share(engine, ALICE, a="1")
    before = engine.version()
    await changes(engine)
    with pytest.raises(KeyTaken):
        await share(engine, ALICE, a="2")
    with locked(store_file):
        assert engine.version() == before
    assert engine.version() == before


async def test_a_version_that_was_asked_for_holds_nobody_up(engine: Engine, store_file: Path) -> None:
    """It must not leave a snapshot open: the log could never be folded back into the file."""
    await share(engine, ALICE, a="1")
    engine.version()
    with closing(sqlite3.connect(store_file, timeout=0)) as other:
        busy, in_log, folded_back = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (busy, in_log, folded_back) == (0, 0, 0)


async def test_a_closed_store_has_no_version(engine: Engine) -> None:
    engine.close()
    assert engine.version() is None


# When the store is away


async def test_a_locked_store_is_unavailable_and_recovers(make_engine: MakeEngine, store_file: Path) -> None:
    engine = make_engine(busy_timeout_s=0.05)
    with locked(store_file):
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable, match="nothing was stored"):
                await share(engine, ALICE, a="1")
        assert await own(engine, ALICE) == {}  # reading goes on
    await share(engine, ALICE, a="2")
    assert await own(engine, ALICE) == {"a": "2"}


async def test_a_lock_shorter_than_the_timeout_is_waited_for(make_engine: MakeEngine, store_file: Path) -> None:
    engine = make_engine(busy_timeout_s=20)
    with locked(store_file):
        (task,) = await put_in_line(share(engine, ALICE, a="1"))
        assert not task.done()
    await task
    assert await own(engine, ALICE) == {"a": "1"}


async def test_all_of_a_group_are_told_when_the_store_is_locked(make_engine: MakeEngine, store_file: Path) -> None:
    engine = make_engine(busy_timeout_s=0)
    with locked(store_file):
        calls = [share(engine, ALICE, **{f"k{number}": "1"}) for number in range(10)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 10
    assert await own(engine, ALICE) == {}


async def test_a_full_disk_is_unavailable_and_recovers(engine: Engine) -> None:
    def limit_pages(to: int) -> Callable[[Connection], object]:
        return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {to}").scalar_one()

    await share(engine, ALICE, a="1")
    await engine.write(limit_pages(1))  # no more than there are
    with pytest.raises(StoreUnavailable):
        await put(engine, ALICE, {f"k{number}": "v" * 60_000 for number in range(10)}, shared=True)
    assert await own(engine, ALICE) == {"a": "1"}
    assert (await changes(engine)).revision == 1
    await engine.write(limit_pages(1 << 20))
    await put(engine, ALICE, {"b": "v" * 60_000}, shared=True)
    assert (await changes(engine)).revision == 2


async def test_on_a_full_disk_nothing_of_a_group_is_stored_or_answered(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    await engine.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1").scalar_one())
    async with writer_held(engine) as release:
        tasks = await put_in_line(
            share(engine, BOB, b="1"), put(engine, CAROL, {"c": "v" * 600_000}, shared=True), share(engine, BOB, b2="1")
        )
        release()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    assert [peer.uuid for peer in (await changes(engine)).peers] == [ALICE.uuid]
    await engine.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 100000").scalar_one())
    await share(engine, BOB, b="1")


async def test_a_table_that_is_gone_is_unavailable_for_reading_too(engine: Engine, store_file: Path) -> None:
    """G5: not an empty list."""
    with closing(sqlite3.connect(store_file)) as other:
        other.execute("DROP TABLE project")
        other.commit()
    with pytest.raises(StoreUnavailable):
        await changes(engine)


@pytest.fixture
def fresh_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Without what tests before have met, which would make the next of its kind a repeat."""
    repeats.flush_all(at_end=True)
    caplog.clear()
    return caplog


async def test_the_databases_own_words_are_logged_and_not_answered(
    make_engine: MakeEngine, store_file: Path, fresh_log: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(busy_timeout_s=0)
    with locked(store_file), pytest.raises(StoreUnavailable) as refused:
        await share(engine, ALICE, a="1")
    assert "database is locked" in fresh_log.text
    assert "locked" not in refused.value.message


async def test_a_store_that_is_away_is_one_line_and_the_number_of_failures_not_one_for_each(
    make_engine: MakeEngine, store_file: Path, fresh_log: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(busy_timeout_s=0)
    with locked(store_file):
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                await share(engine, ALICE, a="1")
    await asyncio.to_thread(store_file.unlink)
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            await changes(engine)
    repeats.flush_all(at_end=True)
    told = [(record.levelname, record.getMessage().partition(str(store_file))[0]) for record in fresh_log.records]
    assert told == [
        ("ERROR", "The store failed while writing: database is locked"),
        ("ERROR", "The store's file "),
        ("ERROR", "19 more like it, the last: The store failed while writing: database is locked"),
        ("ERROR", "19 more like it, the last: The store's file "),
    ]


async def test_a_file_that_is_removed_or_replaced_is_no_store_any_more(engine: Engine, store_file: Path) -> None:
    """SQLite would go on writing to what has no name, and all of it would be gone at the next start."""
    await share(engine, ALICE, a="1")
    aside = store_file.with_name("aside")
    os.rename(store_file, aside)
    for replaced in (False, True):
        if replaced:
            shutil.copy(aside, store_file)
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await share(engine, BOB, b="1")
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await changes(engine)
    os.replace(aside, store_file)
    await share(engine, BOB, b="1")
    assert len((await changes(engine)).peers) == 2
