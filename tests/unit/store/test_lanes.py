"""Whose turn it is: in each group every project has its share, and where too many wait, who has most gives way."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from peerdata.store.lanes import ALONE_MAX, GROUP_MAX, LIGHT_CALLS, SHARE_MAX, SHORT_S, Lanes

Job = tuple[str, int]


class Bench:
    """Lanes whose groups are settled when the test says so, and a clock that it moves."""

    def __init__(self, max_waiting: int = 1000) -> None:
        self.now = 0.0
        self.groups: list[list[Job]] = []
        self.callers_are_served = True
        self.may_go_on: list[Callable[[], None]] = []
        self.begun = threading.Semaphore(0)
        self.settled = threading.Semaphore(0)
        self.lanes: Lanes[Job] = Lanes(self._settle, 1, max_waiting=max_waiting, clock=lambda: self.now)

    def _settle(self, group: list[Job], go_on: Callable[[], None] | None) -> None:
        self.groups.append(group)
        self.begun.release()
        self.settled.acquire()
        if go_on and self.callers_are_served:
            go_on()
        elif go_on:
            self.may_go_on.append(go_on)

    def hold(self, lane: str = "", project: str = "first") -> None:
        """Let one job be under way, so that what is put next waits."""
        assert self.lanes.put(lane, project, (project, -1)) is None
        assert self.begun.acquire(timeout=5)

    def put(self, project: str, number: int, lane: str = "") -> list[Job]:
        """That many jobs of one project; gives those that had to give way."""
        displaced = (self.lanes.put(lane, project, (project, one)) for one in range(number))
        return [job for job in displaced if job is not None]

    def next_group(self) -> list[str]:
        """Let the group under way end, and give the projects of the next one."""
        self.settled.release()
        assert self.begun.acquire(timeout=5)
        return [project for project, _ in self.groups[-1]]

    def end(self) -> None:
        self.settled.release(10_000)
        self.lanes.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """One lane at a time."""
    made = Bench()
    yield made
    made.end()


def acquaint(bench: Bench, quiet: str = "quiet") -> None:
    """Let a light project come as often as it takes to be known, beside a flood; 100 jobs of that wait in the end."""
    bench.hold()
    for _ in range(LIGHT_CALLS):
        bench.put("flood", 100)
        bench.put(quiet, 1)
        while quiet not in bench.next_group():
            pass
        while bench.lanes:
            bench.next_group()
    bench.put("flood", 100)


def counts(projects: Sequence[str]) -> dict[str, int]:
    return {project: projects.count(project) for project in sorted(set(projects))}


def test_a_project_with_one_job_is_in_the_next_group_however_many_another_has(bench: Bench) -> None:
    bench.hold()
    bench.put("flood", 500)
    bench.put("quiet", 1)
    assert counts(bench.next_group()) == {"flood": ALONE_MAX, "quiet": 1}


def test_groups_are_short_while_a_light_project_writes_beside_a_heavy_one(bench: Bench) -> None:
    acquaint(bench)
    assert counts(bench.next_group()) == {"flood": SHARE_MAX}
    bench.put("quiet", 1)
    assert counts(bench.next_group()) == {"flood": SHARE_MAX, "quiet": 1}
    bench.now += SHORT_S + 1
    assert counts(bench.next_group()) == {"flood": ALONE_MAX}


def test_groups_stay_large_in_a_storm_of_many_projects(bench: Bench) -> None:
    """Short ones would make all of them wait longer."""
    bench.hold()
    for _ in range(5):
        for project in "abcde":
            bench.put(project, 40)
        assert counts(bench.next_group())["a"] > SHARE_MAX


def test_a_group_has_a_bound_and_whom_it_left_out_is_first_in_the_next(bench: Bench) -> None:
    bench.hold()
    for number in range(GROUP_MAX + 50):
        bench.put(f"p{number}", 2)
    first, second = bench.next_group(), bench.next_group()
    assert len(first) == len(second) == GROUP_MAX
    assert second[:50] == [f"p{number}" for number in range(GROUP_MAX, GROUP_MAX + 50)]
    assert max(counts(first).values()) == 1


def test_jobs_of_a_project_are_settled_in_the_order_in_which_they_came(bench: Bench) -> None:
    bench.hold()
    bench.put("flood", 30)
    bench.put("quiet", 1)
    while len([job for group in bench.groups for job in group]) < 32:
        bench.next_group()
    settled = [number for group in bench.groups for project, number in group if project == "flood"]
    assert settled == list(range(30))


def test_where_all_places_are_taken_the_project_with_most_gives_one_up() -> None:
    bench = Bench(max_waiting=10)
    bench.hold()
    assert bench.put("flood", 12) == [("flood", 10), ("flood", 11)]
    assert bench.put("quiet", 1) == [("flood", 9)]
    assert len(bench.lanes) == 10
    assert bench.put("flood", 1) == [("flood", 0)]
    assert counts(bench.next_group()) == {"flood": 9, "quiet": 1}
    bench.end()


def test_the_places_end_up_shared_evenly() -> None:
    bench = Bench(max_waiting=12)
    bench.hold()
    bench.put("flood", 12)
    assert len(bench.put("other", 100)) == 100
    assert len(bench.put("third", 100)) == 100
    waiting: list[str] = []
    while len(waiting) < 12:
        waiting += bench.next_group()
    assert counts(waiting) == {"flood": 4, "other": 4, "third": 4}
    bench.end()


def test_a_lane_waits_for_its_callers_while_a_light_project_writes(bench: Bench) -> None:
    """Or a store that is quicker than the event loop would fill the loop's queue instead."""
    acquaint(bench)
    bench.next_group()
    bench.callers_are_served = False
    bench.settled.release()
    assert not bench.begun.acquire(timeout=0.1)
    bench.callers_are_served = True
    bench.may_go_on.pop()()
    assert bench.begun.acquire(timeout=5)


def test_what_waits_when_it_closes_is_settled(bench: Bench) -> None:
    bench.hold()
    bench.put("flood", 100)
    bench.end()
    assert sum(map(len, bench.groups)) == 101
    with pytest.raises(RuntimeError):
        bench.put("late", 1)
