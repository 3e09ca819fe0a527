"""What the store remembers of a publish and of a removal, and in which order it tells it."""

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection, event

from peerdata.errors import KeyTaken, PeerdataError
from peerdata.model import Changes, Entry, Instance, Peer, Usage
from peerdata.store import entries
from peerdata.store.engine import Engine
from peerdata.store.lanes import GROUP_MAX

from .actions import ALICE, BOB, CAROL, PROJECT, ZOE, changes, keep, leave, offer, own, put, share


def uuids(found: Changes) -> list[str]:
    return [peer.uuid for peer in found.peers]


async def test_a_project_that_nobody_wrote_to_is_at_revision_0(engine: Engine) -> None:
    nothing = Changes(0, full=True, peers=(), removed=(), forgotten=0)
    assert await changes(engine) == nothing
    assert await changes(engine, since=0) == nothing
    assert await own(engine, ALICE) == {}


async def test_a_publish_gives_all_entries_of_the_instance(engine: Engine) -> None:
    assert await share(engine, ALICE, b="2") == {"b": Entry("b", "2", shared=True)}
    assert await keep(engine, ALICE, a="1") == {"a": Entry("a", "1", shared=False), "b": Entry("b", "2", shared=True)}


async def test_each_accepted_call_is_one_revision_however_many_keys_it_has(engine: Engine) -> None:
    await share(engine, ALICE, a="1", b="2", c="3")
    assert (await changes(engine)).revision == 1
    await keep(engine, BOB, a="1")
    assert (await changes(engine)).revision == 2
    await leave(engine, ALICE)
    assert (await changes(engine)).revision == 3


async def publish_at_once(engine: Engine, *offers: entries.Offer) -> list[dict[str, Entry] | PeerdataError]:
    """As a group of calls that waited together."""
    return await engine.write(lambda connection: entries.publish_all(connection, offers))


def wants(instance: Instance, *, shared: bool = True, **meta: str) -> entries.Offer:
    return entries.Offer(instance, offer(meta, shared=shared), now=0)


async def test_offers_of_one_group_are_decided_one_after_the_other(engine: Engine) -> None:
    """Each on what those before it left, whatever became of them."""
    await share(engine, ALICE, a="1")
    first, refused, second, third, other = await publish_at_once(
        engine,
        wants(BOB, leader="bob"),
        wants(ALICE, x="lost", a="2"),
        wants(BOB, leader="again", y="lost"),
        wants(ALICE, x="1"),
        wants(ZOE, z="1"),
    )
    assert first == {"leader": Entry("leader", "bob", shared=True)}
    assert isinstance(refused, KeyTaken)
    assert isinstance(second, KeyTaken)
    assert third == {"a": Entry("a", "1", shared=True), "x": Entry("x", "1", shared=True)}
    assert other == {"z": Entry("z", "1", shared=True)}
    found = await changes(engine)
    assert [(peer.uuid, peer.joined, peer.revision) for peer in found.peers] == [(ALICE.uuid, 1, 3), (BOB.uuid, 2, 2)]
    assert (found.revision, (await changes(engine, project_id="green")).revision) == (3, 1)


async def test_an_instance_that_calls_several_times_in_one_group_joins_when_it_first_shares(engine: Engine) -> None:
    *_, last = await publish_at_once(
        engine,
        wants(ALICE, shared=False, secret="1"),
        wants(BOB, b="1"),
        wants(ALICE, a="1"),
        wants(ALICE, more="1"),
        wants(ALICE, shared=False, secret2="1"),
    )
    assert sorted(last) == ["a", "more", "secret", "secret2"]  # type: ignore[arg-type]
    found = await changes(engine)
    assert [(peer.uuid, peer.joined, peer.revision) for peer in found.peers] == [(BOB.uuid, 2, 2), (ALICE.uuid, 3, 4)]
    assert found.peers[1].meta == {"a": "1", "more": "1"}
    assert found.revision == 5
    assert await own(engine, ALICE) == {"a": "1", "more": "1", "secret": "1", "secret2": "1"}


async def test_a_project_counts_the_keys_of_those_earlier_in_the_group(engine: Engine) -> None:
    counted: list[int] = []

    def count(_existing: object, project: Usage) -> tuple[Entry, ...]:
        counted.append(project.keys)
        return (Entry("k", "1", shared=True), Entry("l", "1", shared=False))

    await publish_at_once(engine, *(entries.Offer(instance, count, now=0) for instance in (ALICE, BOB, ZOE, CAROL)))
    assert counted == [0, 2, 0, 4]


async def test_a_group_of_any_size_is_read_and_written_with_the_same_few_statements(engine: Engine) -> None:
    """What a statement costs is most of what a call costs, so they must not be as many as the calls."""
    people = [Instance(f"00000000-0000-4000-8000-{number:012}", f"p{number % 50}") for number in range(GROUP_MAX)]

    def statements(offers: Sequence[entries.Offer]) -> Callable[[Connection], int]:
        def publish(connection: Connection) -> int:
            begun: list[object] = []
            note = lambda *event: begun.append(event)  # noqa: E731
            event.listen(connection, "before_cursor_execute", note)
            entries.publish_all(connection, offers)
            event.remove(connection, "before_cursor_execute", note)
            return len(begun)

        return publish

    one = await engine.write(statements([wants(people[0], a="1")]))
    assert await engine.write(statements([wants(instance, b="1") for instance in people])) <= one + 1
    for instance in (people[0], people[1], people[-1]):
        assert (await own(engine, instance))["b"] == "1"


async def test_a_change_that_is_no_entry_is_a_revision_too(engine: Engine) -> None:
    def change(connection: Connection) -> tuple[int, int]:
        entries.lock_project(connection, PROJECT)
        before = entries.read_revision(connection, PROJECT)
        entries.advance(connection, PROJECT)
        return before, entries.read_revision(connection, PROJECT)

    assert await engine.write(change) == (0, 1)
    await share(engine, ALICE, a="1")
    assert await engine.write(change) == (2, 3)
    assert await changes(engine, since=2) == Changes(3, full=False, peers=(), removed=(), forgotten=0)


async def test_what_changes_nothing_is_no_revision(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    with pytest.raises(KeyTaken):
        await share(engine, ALICE, a="2")
    await put(engine, BOB, {}, shared=True)
    await leave(engine, BOB)
    assert (await changes(engine)).revision == 1


async def test_a_refused_call_stores_nothing_of_it(engine: Engine) -> None:
    await share(engine, ALICE, b="1")
    with pytest.raises(KeyTaken):
        await share(engine, ALICE, a="new", b="other", c="new")
    assert await own(engine, ALICE) == {"b": "1"}


async def test_only_shared_keys_are_seen_by_others(engine: Engine) -> None:
    await keep(engine, ALICE, secret="1")
    await share(engine, ALICE, a="1")
    await keep(engine, BOB, secret="2")
    assert (await changes(engine)).peers == (Peer(ALICE.uuid, joined=2, revision=2, meta={"a": "1"}),)
    assert await own(engine, ALICE) == {"a": "1", "secret": "1"}
    assert await own(engine, BOB) == {"secret": "2"}


async def test_nothing_of_a_project_is_seen_in_another(engine: Engine) -> None:
    """G9, with one uuid in both."""
    twin = Instance(ALICE.uuid, "green")
    await share(engine, ALICE, a="blue")
    await share(engine, twin, a="green")
    await share(engine, ZOE, z="green")
    assert await own(engine, ALICE) == {"a": "blue"}
    assert await own(engine, twin) == {"a": "green"}
    assert uuids(await changes(engine)) == [ALICE.uuid]
    assert uuids(await changes(engine, project_id="green")) == [ALICE.uuid, ZOE.uuid]
    assert (await changes(engine)).revision == 1
    await leave(engine, twin)
    assert await own(engine, ALICE) == {"a": "blue"}
    assert (await changes(engine)).removed == ()


async def test_peers_stand_in_the_order_in_which_they_first_shared(engine: Engine) -> None:
    await keep(engine, CAROL, secret="1")
    await share(engine, BOB, b="1")
    await share(engine, ALICE, a="1")
    await share(engine, CAROL, c="1")
    await share(engine, BOB, more="1")
    found = await changes(engine)
    assert uuids(found) == [BOB.uuid, ALICE.uuid, CAROL.uuid]
    assert [(peer.joined, peer.revision) for peer in found.peers] == [(2, 5), (3, 3), (4, 4)]


async def test_keys_of_a_peer_stand_in_alphabetical_order(engine: Engine) -> None:
    await share(engine, ALICE, b="1", Z="1")
    await share(engine, ALICE, a="1", **{" ": "1", "-": "1", "_": "1"})
    (peer,) = (await changes(engine)).peers
    assert list(peer.meta) == sorted(peer.meta)


async def test_a_private_key_does_not_show_as_a_change_of_the_peer(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    await keep(engine, ALICE, secret="1")
    found = await changes(engine, since=1)
    assert found == Changes(2, full=False, peers=(), removed=(), forgotten=0)
    assert (await changes(engine)).peers[0].revision == 1


async def test_private_then_shared_joins_when_it_first_shares(engine: Engine) -> None:
    await keep(engine, ALICE, secret="1")
    await share(engine, BOB, b="1")
    await share(engine, ALICE, a="1")
    assert uuids(await changes(engine)) == [BOB.uuid, ALICE.uuid]


async def test_changes_tell_whole_peers_of_those_that_changed(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    await share(engine, BOB, b="1")
    await share(engine, ALICE, more="1")
    found = await changes(engine, since=2)
    assert not found.full
    assert found.peers == (Peer(ALICE.uuid, joined=1, revision=3, meta={"a": "1", "more": "1"}),)


async def test_a_revision_from_the_future_is_answered_in_full(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    found = await changes(engine, since=2)
    assert found.full
    assert uuids(found) == [ALICE.uuid]


async def test_a_removal_takes_all_keys_and_is_told(engine: Engine) -> None:
    await share(engine, ALICE, a="1", b="1")
    await keep(engine, ALICE, secret="1")
    await share(engine, BOB, b="1")
    assert await leave(engine, ALICE) == 3
    assert await own(engine, ALICE) == {}
    found = await changes(engine, since=3)
    assert found == Changes(4, full=False, peers=(), removed=((ALICE.uuid, 4),), forgotten=0)
    assert uuids(await changes(engine)) == [BOB.uuid]


async def test_removing_who_has_nothing_changes_nothing(engine: Engine) -> None:
    assert await leave(engine, ALICE) == 0
    await share(engine, ALICE, a="1")
    assert await leave(engine, ALICE) == 1
    assert await leave(engine, ALICE) == 0
    assert (await changes(engine)).revision == 2


async def test_who_was_removed_may_publish_anew_and_joins_last(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    await share(engine, BOB, b="1")
    await leave(engine, ALICE)
    await share(engine, ALICE, a="another")
    found = await changes(engine)
    assert uuids(found) == [BOB.uuid, ALICE.uuid]
    assert found.peers[1] == Peer(ALICE.uuid, joined=4, revision=4, meta={"a": "another"})
    assert (await changes(engine, since=2)).removed == ((ALICE.uuid, 3),)
    assert (await changes(engine, since=3)).removed == ()


async def test_removed_keys_no_longer_count_for_the_project(engine: Engine) -> None:
    await share(engine, ALICE, a="1", b="1")
    await keep(engine, BOB, c="1")
    counted: list[int] = []

    def count(_existing: object, project: Usage) -> tuple[Entry, ...]:
        counted.append(project.keys)
        return ()

    counting = entries.Offer(CAROL, count, now=0)
    await publish_at_once(engine, counting)
    await leave(engine, ALICE)
    await publish_at_once(engine, counting)
    assert counted == [3, 1]


async def test_only_the_newest_removals_are_remembered(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "REMOVALS_KEPT", 2)
    for instance in (ALICE, BOB, CAROL):
        await share(engine, instance, a="1")  # at 1, 2, 3
    for instance in (ALICE, BOB, CAROL):
        await leave(engine, instance)  # at 4, 5, 6
    found = await changes(engine)
    assert found.removed == ((BOB.uuid, 5), (CAROL.uuid, 6))
    assert found.forgotten == 4
    assert (await changes(engine, since=3)).full
    assert not (await changes(engine, since=4)).full


async def test_what_one_project_forgets_another_remembers(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "REMOVALS_KEPT", 1)
    await share(engine, ZOE, a="1")
    await leave(engine, ZOE)
    for instance in (ALICE, BOB):
        await share(engine, instance, a="1")
        await leave(engine, instance)
    assert (await changes(engine, project_id="green")).removed == ((ZOE.uuid, 2),)
    assert (await changes(engine)).forgotten == 2


@pytest.mark.parametrize("value", ["", "ü🙂", "\n\t", "'; DROP TABLE entry; --", "v" * 65_536, "\u2028", "\x01\x7f"])
async def test_a_value_is_kept_as_it_is(engine: Engine, value: str) -> None:
    await put(engine, ALICE, {"k": value}, shared=True)
    assert await own(engine, ALICE) == {"k": value}
    assert (await changes(engine)).peers[0].meta == {"k": value}


async def test_keys_differ_by_case_and_by_white_space(engine: Engine) -> None:
    meta = {"k": "1", "K": "2", "k ": "3", " k": "4"}
    await put(engine, ALICE, meta, shared=True)
    assert await own(engine, ALICE) == meta


async def test_the_projects_of_an_instance_are_found(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    await keep(engine, Instance(ALICE.uuid, "azure"), a="1")
    assert await engine.read(lambda connection: entries.find_projects(connection, ALICE.uuid)) == ["azure", "blue"]
    assert await engine.read(lambda connection: entries.find_projects(connection, "nobody")) == []


async def test_news_of_many_projects_leaves_out_those_where_nothing_happened(engine: Engine) -> None:
    await share(engine, ALICE, a="1")
    await share(engine, ZOE, a="1")
    others = [f"p{number}" for number in range(1200)]  # more than SQLite once took in one statement

    def read(connection: object) -> dict[str, Changes]:
        known = {PROJECT: 1, "green": 0} | dict.fromkeys(others, 0)
        return entries.read_news(connection, [*others, PROJECT, "green", "new"], known)  # type: ignore[arg-type]

    news = await engine.read(read)
    assert set(news) == {"green", "new"}
    assert news["new"] == Changes(0, full=True, peers=(), removed=(), forgotten=0)
    assert uuids(news["green"]) == [ZOE.uuid]


async def test_a_project_that_went_back_is_news_in_full(engine: Engine) -> None:
    """A restored backup: the reader knows a later revision than the store."""
    await share(engine, ALICE, a="1")
    news = await engine.read(
        lambda connection: entries.read_news(connection, [PROJECT, "gone"], {PROJECT: 9, "gone": 3})
    )
    assert news[PROJECT].full
    assert news["gone"] == Changes(0, full=True, peers=(), removed=(), forgotten=0)


async def restore(engine: Engine, now: int = 1_800_000_000) -> int:
    return await engine.write(lambda connection: entries.restart_revisions(connection, now=now))


async def test_after_a_restore_whoever_followed_reads_in_full(engine: Engine) -> None:
    """The store may go on past what a follower knows before it asks, and would else be taken for the one before."""
    await share(engine, ALICE, k="1")
    before = (await changes(engine)).revision
    assert await restore(engine) == 1
    await share(engine, BOB, k="1")
    for since in (before, before + 1, before + 1000):
        assert (await changes(engine, since=since)).full
    now = (await changes(engine)).revision
    assert not (await changes(engine, since=now)).full


async def test_after_a_restore_a_project_that_the_backup_did_not_know_is_read_in_full_too(engine: Engine) -> None:
    """Its followers know revisions of it, of which the store knows nothing."""
    await restore(engine)
    empty = await changes(engine)
    assert (empty.full, empty.peers) == (True, ())
    await share(engine, ALICE, k="1")
    for since in (1, 1000, empty.revision - 1):
        assert (await changes(engine, since=since)).full
    found = await changes(engine, since=empty.revision)
    assert (found.full, uuids(found), found.revision) == (False, [ALICE.uuid], empty.revision + 1)


async def test_a_project_without_entries_is_no_news_after_a_restore(engine: Engine) -> None:
    await restore(engine)
    first = (await changes(engine)).revision
    assert await engine.read(lambda connection: entries.read_news(connection, [PROJECT], {PROJECT: first})) == {}


@pytest.mark.parametrize("later_s", [1, 0, -1000])
async def test_a_store_that_is_restored_twice_gives_no_revision_twice(engine: Engine, later_s: int) -> None:
    """Also where the clock was set back."""
    await share(engine, ALICE, k="1")
    await restore(engine)
    await share(engine, ALICE, more="1")
    before = (await changes(engine)).revision
    await restore(engine, 1_800_000_000 + later_s)
    assert (await changes(engine)).revision > before
    assert (await changes(engine, since=before)).full


async def test_a_backup_that_is_put_back_again_knows_nothing_of_the_first_time_and_gives_no_revision_twice(
    engine: Engine,
) -> None:
    def restore_and_lose_it(connection: Connection) -> int:
        savepoint = connection.begin_nested()
        entries.restart_revisions(connection, now=1_800_000_000)
        first = entries.read_changes(connection, PROJECT, None).revision
        savepoint.rollback()
        return first

    await share(engine, ALICE, k="1")
    first_time = await engine.write(restore_and_lose_it)
    await restore(engine, 1_800_000_001)
    assert (await changes(engine)).revision >= first_time + entries.CHANGES_A_SECOND


async def test_an_instance_that_shared_nothing_leaves_unnoticed(engine: Engine) -> None:
    await keep(engine, ALICE, secret="1")
    before = (await changes(engine)).revision
    assert await leave(engine, ALICE) == 1
    found = await changes(engine, since=before)
    assert (found.revision, found.removed) == (before + 1, ())
