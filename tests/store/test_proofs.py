"""What nova last answered on each instance: what is worth a write, and that the later answer wins."""

from collections.abc import Sequence

import pytest

from peerdata.model import Instance
from peerdata.store import proofs
from peerdata.store.engine import Engine
from peerdata.store.proofs import Finding, Kept, changed

from .actions import ALICE, BOB, ZOE

HOUR_S = 3600
ALICE_IN_GREEN = Instance(ALICE.uuid, "green")


def known(instance: Instance, at: int) -> Finding:
    return Finding(instance, True, at)


def refused(instance: Instance, at: int) -> Finding:
    return Finding(instance, False, at)


async def record(engine: Engine, *findings: Finding) -> None:
    await engine.write(lambda connection: proofs.record(connection, findings, refresh_s=HOUR_S))


async def read_rows(engine: Engine, instances: Sequence[Instance] = (ALICE, BOB, ZOE)) -> list[Kept]:
    uuids = [instance.uuid for instance in instances]
    found = await engine.read(lambda connection: proofs.read(connection, uuids))
    assert all(row.uuid == uuid for uuid, row in found.items())
    return sorted(found.values(), key=lambda row: row.uuid)


def row(instance: Instance, *, proven_at: int = 0, disowned_at: int = 0) -> Kept:
    return Kept(instance.uuid, instance.project_id, proven_at, disowned_at)


NEVER = None


@pytest.mark.parametrize(
    ("old", "finding", "new"),
    [
        pytest.param(NEVER, known(ALICE, 1000), row(ALICE, proven_at=1000), id="new"),
        pytest.param(NEVER, refused(ALICE, 1000), row(ALICE, disowned_at=1000), id="refused before it was ever known"),
        pytest.param(row(ALICE, proven_at=1000), known(ALICE, 1000 + HOUR_S), NEVER, id="young enough"),
        pytest.param(
            row(ALICE, proven_at=1000), known(ALICE, 1001 + HOUR_S), row(ALICE, proven_at=1001 + HOUR_S), id="too old"
        ),
        pytest.param(row(ALICE, proven_at=1000), known(ALICE, 999), NEVER, id="known later already"),
        pytest.param(
            row(ALICE, proven_at=1000),
            refused(ALICE, 1001),
            row(ALICE, proven_at=1000, disowned_at=1001),
            id="refused later",
        ),
        pytest.param(
            row(ALICE, proven_at=1000),
            refused(ALICE, 1000),
            row(ALICE, proven_at=1000, disowned_at=1000),
            id="refused in the same second",
        ),
        pytest.param(row(ALICE, proven_at=1000), refused(ALICE, 999), NEVER, id="refused before it was known"),
        pytest.param(row(ALICE, disowned_at=1000), refused(ALICE, 9999), NEVER, id="refused again"),
        pytest.param(
            row(ALICE, proven_at=900, disowned_at=1000),
            known(ALICE, 1001),
            row(ALICE, proven_at=1001),
            id="known again",
        ),
        pytest.param(
            row(ALICE, proven_at=900, disowned_at=1000), known(ALICE, 1000), NEVER, id="known before it was refused"
        ),
        pytest.param(
            row(ALICE_IN_GREEN, proven_at=1000), known(ALICE, 1001), row(ALICE, proven_at=1001), id="another project"
        ),
        pytest.param(row(ALICE_IN_GREEN, proven_at=1000), known(ALICE, 999), NEVER, id="of another project later"),
        pytest.param(row(ALICE, proven_at=1000), refused(ALICE_IN_GREEN, 1001), NEVER, id="refused in another project"),
    ],
)
async def test_what_is_written_is_what_changes_something(
    engine: Engine, old: Kept | None, finding: Finding, new: Kept | None
) -> None:
    assert list(changed({old.uuid: old} if old else {}, [finding], refresh_s=HOUR_S)) == ([new] if new else [])
    if old:
        if old.proven_at:
            await record(engine, known(Instance(old.uuid, old.project_id), old.proven_at))
        if old.disowned_at:
            await record(engine, refused(Instance(old.uuid, old.project_id), old.disowned_at))
        assert await read_rows(engine) == [old]
    await record(engine, finding)
    assert await read_rows(engine) == [row for row in [new or old] if row]


async def test_a_thousand_at_once_are_each_kept(engine: Engine) -> None:
    instances = [Instance(f"{number:036}", "blue") for number in range(1200)]
    await record(engine, *(known(instance, 1000) for instance in instances))
    assert len(await read_rows(engine, instances)) == 1200
    await record(engine, *(refused(instance, 1001) for instance in instances[:600]))
    assert sum(1 for kept in await read_rows(engine, instances) if kept.finding().known) == 600


async def test_known_in_one_project_counts_beside_a_refusal_in_another_at_the_same_moment(engine: Engine) -> None:
    """The signature does not cover the tenant."""
    await record(engine, known(ALICE, 1000), refused(ALICE_IN_GREEN, 1000))
    assert await read_rows(engine) == [row(ALICE, proven_at=1000)]


async def test_the_same_again_changes_nothing(engine: Engine) -> None:
    """A commit whose connection was lost is done again."""
    for _ in range(2):
        await record(engine, known(ALICE, 1000), refused(BOB, 1000))
    assert await read_rows(engine) == [row(ALICE, proven_at=1000), row(BOB, disowned_at=1000)]


async def test_of_whom_nothing_was_heard_for_long_nothing_is_kept(engine: Engine) -> None:
    await record(engine, known(ALICE, 1000), refused(BOB, 1001), known(ZOE, 900))
    await record(engine, refused(ZOE, 1002))
    await engine.write(lambda connection: proofs.remove_old(connection, before=1001))
    assert await read_rows(engine) == [row(ZOE, proven_at=900, disowned_at=1002), row(BOB, disowned_at=1001)]
