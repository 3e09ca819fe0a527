"""What is done to a store in these tests, in one line each."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from peerdata.errors import KeyTaken
from peerdata.model import Changes, Entry, Instance
from peerdata.store import entries
from peerdata.store.engine import Engine

PROJECT = "blue"
ALICE = Instance("a11ce000-0000-4000-8000-000000000001", PROJECT)
BOB = Instance("b0b00000-0000-4000-8000-000000000002", PROJECT)
CAROL = Instance("ca201000-0000-4000-8000-000000000003", PROJECT)
ZOE = Instance("20e00000-0000-4000-8000-000000000009", "green")


def offer(meta: Mapping[str, str], *, shared: bool) -> entries.Decide:
    """Accepts what is new, and refuses the whole call where a key is set."""

    def decide(existing: Mapping[str, Entry], _project: object) -> tuple[Entry, ...]:
        for key in meta:
            if key in existing:
                raise KeyTaken(f"key '{key}' is set", key=key)
        return tuple(Entry(key, value, shared) for key, value in meta.items())

    return decide


async def share(engine: Engine, instance: Instance, **meta: str) -> dict[str, Entry]:
    """Set keys that the whole project sees."""
    return await put(engine, instance, meta, shared=True)


async def keep(engine: Engine, instance: Instance, **meta: str) -> dict[str, Entry]:
    """Set keys that only the instance itself sees."""
    return await put(engine, instance, meta, shared=False)


async def put(engine: Engine, instance: Instance, meta: Mapping[str, str], *, shared: bool) -> dict[str, Entry]:
    """Set keys, or raise `KeyTaken`."""
    wanted = entries.Offer(instance, offer(meta, shared=shared), now=0)
    return await engine.write_together(entries.publish_all, wanted, lane=instance.project_id)


async def leave(engine: Engine, instance: Instance) -> int:
    """Take all entries of the instance away."""
    return await engine.write(lambda connection: entries.remove(connection, instance), lane=instance.project_id)


async def changes(engine: Engine, since: int | None = None, project_id: str = PROJECT) -> Changes:
    """What happened in the project after a revision."""
    return await engine.read(lambda connection: entries.read_changes(connection, project_id, since))


async def own(engine: Engine, instance: Instance) -> dict[str, str]:
    """What the instance has set."""
    found = await engine.read(lambda connection: entries.read_instance(connection, instance))
    return {key: entry.value for key, entry in found.items()}


def pragma(name: str) -> Callable[[Connection], object]:
    """Reads a setting of the connection it is run on."""

    def read(connection: Connection) -> object:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()

    return read
