# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What is tortured: three servers of the service on one store, and what the machine allows to be done to them.

On SQLite the servers share the file, on PostgreSQL and MariaDB the database server; on Galera each has a node
of its own. A server that has ended is started again until it stays, as systemd would.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from peerdata.settings import InstanceApiSettings, LimitsSettings
from peerdata.store import migrate
from tests.databases import PROJECT, Programs, small_disk
from tests.databases.galera import Galera
from tests.databases.mariadb import Mariadb
from tests.databases.ports import free_port
from tests.databases.postgresql import Postgresql
from tests.databases.run import Late, Run, descendants, until
from tests.databases.small_disk import SmallDisk
from tests.databases.sql import ask, connect, give_up
from tests.live.service import Sections, Service

from . import broken
from .faults import Fault
from .flood import Flood

ENGINES = ("sqlite", "postgresql", "mariadb", "galera")

SERVERS = 3

# What a database needs to begin with, and some minutes' worth of entries and of log.
DISK_MEBIBYTES = {"sqlite": 48, "postgresql": 140, "mariadb": 200}

START_S = 60.0

# Then it is killed, as systemd would.
STOP_S = 60.0

SHARED_MEMORY = Path("/dev/shm")

HOUR_S = 3600


class Server:
    """
    One server of the service.

    Args:
        service: The process; not yet started.
        clock: The file that says how far its clock is moved; None where it cannot be.
    """

    def __init__(self, service: Service, clock: Path | None) -> None:
        self._service = service
        self._clock = clock
        self.wanted = False
        """Whether it should be there; one that is not, although it should, has ended by itself."""
        self.stops_s: list[float] = []
        """How long each of its orderly ends took."""
        self.move_clock(0)

    @property
    def port(self) -> int:
        return self._service.port

    @property
    def log(self) -> Path:
        return self._service.log

    @property
    def running(self) -> bool:
        return self._service.process is not None and self._service.process.poll() is None

    @property
    def workers(self) -> list[int]:
        """The processes below the first one, where it has any."""
        return descendants(self._pid) if self.running else []

    def start(self) -> None:
        """Start it until it stays: while its store is away it ends at once."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                self._service.start()
            except AssertionError as error:
                self._service.end()
                self._forget_clock()
                if time.monotonic() > deadline:
                    raise Late(f"server {self.port} does not start") from error
                time.sleep(0.3)
            else:
                self.wanted = True
                return

    def kill(self) -> None:
        """End it, and what it started, as a crash of its machine would."""
        self.wanted = False
        self._signal(signal.SIGSTOP)  # so that none sees another die and acts on it
        family = self.workers
        self._service.end()
        for pid in family:
            _send(pid, signal.SIGKILL)
        self._forget_clock()

    def stop(self) -> None:
        """End it as its operator would."""
        self.wanted = False
        if self.running:
            began = time.monotonic()
            self._service.signal(signal.SIGTERM)
            try:
                self._service.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
            self.stops_s.append(time.monotonic() - began)

    def pause(self) -> None:
        """Let it stand still: connections stay, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal(signal.SIGCONT)

    def move_clock(self, offset_s: int) -> None:
        """Put its wall clock so far from the true time; within a second it notices."""
        if self._clock:
            self._clock.write_text(f"{offset_s:+d}\n")

    def _forget_clock(self) -> None:
        """Remove what libfaketime leaves in shared memory when its process is killed."""
        if self._service.process:
            for place in SHARED_MEMORY.glob(f"*faketime_s*_{self._pid}"):
                place.unlink(missing_ok=True)

    @property
    def _pid(self) -> int:
        assert self._service.process
        return self._service.process.pid

    def _signal(self, how: signal.Signals) -> None:
        if self.running:
            for pid in (self._pid, *self.workers):
                _send(pid, how)


@dataclass
class Bed:
    """Servers on a store, and the faults that can be had here."""

    engine: str
    servers: list[Server]
    of_servers: list[Fault]
    of_store: list[Fault]
    mend: Callable[[], None]
    """Make the store whole, whatever was done to it."""
    missing: Mapping[str, str]
    """Faults that this machine does not permit, and why."""

    def heal(self) -> list[str]:
        """Make everything whole; returns what had ended by itself."""
        self.mend()
        fallen = []
        for number, server in enumerate(self.servers):
            server.resume()
            server.move_clock(0)
            if server.running:
                continue
            if server.wanted:
                fallen.append(f"server {number} ended by itself; its log: {server.log.read_text()[-2000:]}")
            server.start()
        return fallen


@dataclass
class _Store:
    """What the servers are put on."""

    urls: list[str]
    faults: list[Fault]
    mend: Callable[[], None]
    missing: dict[str, str]


@contextmanager
def opened(
    engine: str,
    run: Run,
    directory: Path,
    projects: Mapping[str, Mapping[str, str]],
    *,
    galera: Galera | None = None,
    without: str = "",
    workers: int = 1,
    silence_s: float = 4.0,
) -> Iterator[Bed]:
    """
    A bed on *engine*, all of it running; it ends with the block.

    Args:
        run: Of the databases.
        directory: For the servers' files.
        projects: Instances by address, of each project.
        galera: A cluster to use; it stays. Without it one is made.
        without: A care that the servers leave out, see `broken.py`.
        workers: Processes in each server, where the service can have several.
        silence_s: How long a database may be silent, or a node stand still.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        store = _open_store(engine, run, galera, stack, silence_s)
        faketime = Programs.default().faketime
        missing = dict(store.missing)
        if not faketime.exists():
            missing["clock moved"] = "libfaketime is not unpacked; `python -m tests.databases` does it"
        elif workers > 1:
            missing["clock moved"] = (
                "libfaketime shares a lock among the processes of a server, and a killed one holds it"
            )
        servers: list[Server] = []
        for number in range(SERVERS):
            clock = None if "clock moved" in missing else directory / f"clock-{number}"
            service = Service(
                directory,
                _sections(store.urls[number % len(store.urls)], workers),
                projects=projects,
                port=free_port(),
                module=f"{__package__}.{'broken' if without else 'served'}",
                environment=_environment(faketime, clock) | ({broken.WITHOUT: without} if without else {}),
            )
            servers.append(server := Server(service, clock))
            stack.callback(server.kill)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Server.start, servers))
        of_servers = _faults_of_servers(servers, workers, moves_clock="clock moved" not in missing)
        yield Bed(engine, servers, of_servers, store.faults, store.mend, missing)


def _sections(url: str, workers: int) -> Sections:
    sections: dict[str, dict[str, object]] = {
        "database": {"connection": url},
        "limits": {"max_keys_per_instance": 10_000, "max_keys_per_project": 1_000_000},
    }
    if "max_wait" in {field.name for field in fields(LimitsSettings)}:
        sections["limits"]["max_wait"] = 1
    if workers > 1 and "workers" in {field.name for field in fields(InstanceApiSettings)}:
        sections["instance_api"] = {"workers": workers}
    return sections


def _environment(library: Path, clock: Path | None) -> dict[str, str]:
    """
    Of a server whose wall clock obeys the file *clock*.

    The monotonic clock stays: on Linux nobody can move it.
    """
    found = {"PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    if clock is None:
        return found
    return found | {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Only the clock: files keep the times that they have.
        "NO_FAKE_STAT": "1",
    }


def _faults_of_servers(servers: list[Server], workers: int, *, moves_clock: bool) -> list[Fault]:
    struck: dict[str, Server] = {}

    def on(kind: str, act: Callable[[Server], None]) -> Callable[[Random], None]:
        def begin(chance: Random) -> None:
            struck[kind] = chance.choice(servers)
            act(struck[kind])

        return begin

    def of(kind: str, act: Callable[[Server], None]) -> Callable[[], None]:
        return lambda: act(struck[kind])

    def move_clocks(chance: Random) -> None:
        for server in servers:
            server.move_clock(chance.choice((-1, 1)) * chance.choice((HOUR_S, 30 * HOUR_S, 4000 * HOUR_S)))

    def move_back() -> None:
        for server in servers:
            server.move_clock(0)

    def kill_worker(chance: Random) -> None:
        if family := chance.choice(servers).workers:
            _send(chance.choice(family), signal.SIGKILL)

    flood = Flood()

    faults = [
        Fault(
            "one project floods",
            lambda chance: flood.begin(chance.choice(servers).port, chance),
            flood.end,
            (0.5, 3),
        ),
        Fault("server killed", on("server killed", Server.kill), of("server killed", Server.start), (0, 1.5)),
        Fault("server restarted", on("server restarted", Server.stop), of("server restarted", Server.start), (0, 0.5)),
        Fault("server paused", on("server paused", Server.pause), of("server paused", Server.resume), (0.3, 3)),
    ]
    if moves_clock:
        faults.append(Fault("clock moved", move_clocks, move_back, (1.5, 3)))
    if workers > 1:
        faults.append(Fault("worker killed", kill_worker, lambda: None, (0.5, 1)))
    return faults


def _open_store(engine: str, run: Run, galera: Galera | None, stack: ExitStack, silence_s: float) -> _Store:
    if engine == "galera":
        return _open_galera(run, galera, stack, silence_s)
    name = f"torture-{engine}-{time.monotonic_ns()}"
    reason = small_disk.why_not()
    disk = None if reason else stack.enter_context(SmallDisk(run, name, DISK_MEBIBYTES[engine]))
    store = _open_sqlite(run, name) if engine == "sqlite" else _open_database(engine, run, name, stack, silence_s)
    if disk is None:
        store.missing["disk filled"] = reason
        return store
    disk_, mend = disk, store.mend

    def make_room() -> None:
        disk_.empty()
        mend()

    store.mend = make_room
    store.faults.append(Fault("disk filled", lambda _: disk_.fill(), make_room, (1, 2.5)))
    return store


def _open_sqlite(run: Run, name: str) -> _Store:
    directory = run.directory / name
    directory.mkdir(exist_ok=True)
    return _Store([f"sqlite:///{directory}/peerdata.sqlite"], [], lambda: None, {})


def _open_database(engine: str, run: Run, name: str, stack: ExitStack, silence_s: float) -> _Store:
    server = (Postgresql if engine == "postgresql" else Mariadb)(run, name)
    server.create()
    server.start()
    stack.callback(server.kill)
    url = server.new_database()
    migrate.upgrade(url, busy_timeout_s=10)
    faults = [
        Fault("database killed", lambda _: server.kill(), server.mend, (0.2, 2)),
        Fault("database restarted", lambda _: server.stop(), server.mend, (0, 1)),
        Fault("database silent", lambda _: server.pause(), server.resume, (1, silence_s)),
    ]
    return _Store([url], faults, server.mend, {})


def _open_galera(run: Run, galera: Galera | None, stack: ExitStack, silence_s: float) -> _Store:
    if galera is None:
        cluster = Galera(run)
        cluster.open()
        stack.callback(cluster.close)
    else:
        cluster = galera
        cluster.mend()
    urls = cluster.new_database()
    migrate.upgrade(urls[0], busy_timeout_s=10)

    def mend() -> None:
        cluster.mend()
        cluster.wait_synced()

    def heal() -> None:
        cluster.heal()
        cluster.wait_synced()

    def any_node(chance: Random) -> int:
        return chance.choice(list(cluster.numbers))

    holders: list[Connection] = []

    def hold_up(chance: Random) -> None:
        node = any_node(chance)

        def held() -> bool:
            connection = None
            try:
                connection = connect(cluster.url(node)).connect()
                ask(connection, "FLUSH TABLES WITH READ LOCK")
            except DBAPIError:  # it was synced, and finds now that it was given up for a moment
                if connection:
                    give_up(connection)
                return False
            holders.append(connection)
            return True

        until(f"node {node} is held up", held)

    def let_go() -> None:
        holder = holders.pop()
        holder.invalidate()  # the lock ends with the connection, also where the node refuses to hear of it
        give_up(holder)

    faults = [
        Fault("node held up", hold_up, let_go, (0.5, 2)),
        Fault("node killed", lambda chance: cluster.kill(any_node(chance)), mend, (1, 6)),
        Fault("node restarted", lambda chance: cluster.stop(any_node(chance)), mend, (0, 2)),
        Fault("node stood still", lambda chance: cluster.node(any_node(chance)).pause(), mend, (2, 2 * silence_s)),
    ]
    missing = {}
    if cluster.cut_off:
        missing = dict.fromkeys(("node cut off", "node silent"), cluster.cut_off)
    else:
        faults += [
            Fault("node cut off", lambda chance: cluster.partition(any_node(chance)), heal, (5, 9)),
            Fault("node silent", lambda chance: cluster.mute(any_node(chance)), heal, (1, silence_s)),
        ]
    return _Store(urls, faults, mend, missing)


def _send(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        pass
