"""What follows from what workers report: when all of them are ready, live, hang, and have reloaded."""

import pytest

from peerdata.notify import Notifier
from peerdata.oversight import ALIVE, GONE, MAX_RELOAD_S, READY, RELOADING, STOPPING, Oversight


class Heard(Notifier):
    """A service manager that wants a sign of life every ten seconds, and remembers what it was told."""

    def __init__(self, watchdog_s: float | None = 10) -> None:
        super().__init__("@nobody", watchdog_s)
        self.messages: list[str] = []

    def _send(self, message: str) -> None:
        self.messages.append(message.partition("=")[0])


class Workers:
    """Two workers, 0 and 1, whose processes are 100 and 101."""

    def __init__(self, watchdog_s: float | None = 10) -> None:
        self.now = 1000.0
        self.heard = Heard(watchdog_s)
        self.ended: list[int] = []
        self.oversight = Oversight(self.heard, 2, clock=lambda: self.now, end=self.ended.append)

    def report(self, worker: int, word: str, pid: int | None = None) -> None:
        self.oversight.hear(worker, 100 + worker if pid is None else pid, word)

    def become_ready(self) -> None:
        self.report(0, READY)
        self.report(1, READY)
        self.heard.messages.clear()

    def pass_time(self, seconds: float, *, alive: tuple[int, ...] = ()) -> None:
        """In steps in which those report that are *alive*, each with the process that it had."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            for worker in alive:
                self.report(worker, ALIVE)
            self.oversight.look()


@pytest.fixture
def workers() -> Workers:
    return Workers()


def test_ready_is_said_once_and_when_the_last_of_them_is(workers: Workers) -> None:
    workers.report(0, READY)
    assert workers.heard.messages == []
    workers.report(1, READY)
    assert workers.heard.messages == ["READY"]
    workers.report(1, GONE)
    workers.report(1, READY, pid=201)
    assert workers.heard.messages == ["READY"]


def test_signs_of_life_go_on_while_one_of_them_lives(workers: Workers) -> None:
    workers.become_ready()
    workers.report(1, GONE)
    workers.pass_time(30, alive=(0,))
    assert len(workers.heard.messages) == 60
    assert workers.ended == []


def test_there_are_none_where_all_are_gone_and_none_becomes_ready_again(workers: Workers) -> None:
    workers.become_ready()
    workers.report(0, GONE)
    workers.report(1, GONE)
    workers.pass_time(30)
    assert workers.heard.messages == []
    workers.report(1, READY, pid=201)
    workers.oversight.look()
    assert workers.heard.messages == ["WATCHDOG"]


def test_one_that_keeps_silent_is_ended_once_and_only_it(workers: Workers) -> None:
    workers.become_ready()
    workers.pass_time(9, alive=(0,))
    assert workers.ended == []
    workers.pass_time(30, alive=(0,))
    assert workers.ended == [101]


def test_one_that_was_started_again_is_not_judged_by_the_one_before(workers: Workers) -> None:
    workers.become_ready()
    workers.pass_time(9, alive=(0,))
    workers.report(1, GONE)
    workers.pass_time(9, alive=(0,))
    workers.report(1, READY, pid=201)
    workers.report(1, ALIVE, pid=101)  # a report that was on its way
    workers.pass_time(9, alive=(0,))
    assert workers.ended == []
    workers.pass_time(9, alive=(0,))
    assert workers.ended == [201]


def test_nobody_is_ended_after_the_machine_stood_still(workers: Workers) -> None:
    workers.become_ready()
    workers.now += 3600
    workers.oversight.look()
    workers.pass_time(9, alive=(0, 1))
    assert workers.ended == []


def test_nobody_is_ended_while_all_end(workers: Workers) -> None:
    workers.become_ready()
    workers.oversight.hear(-1, 1, STOPPING)
    workers.pass_time(60)
    assert workers.ended == []
    assert workers.heard.messages[0] == "STOPPING"


def test_nobody_is_watched_where_the_manager_wants_no_signs_of_life() -> None:
    workers = Workers(watchdog_s=None)
    workers.become_ready()
    workers.pass_time(3600)
    assert (workers.ended, workers.heard.messages) == ([], [])


def test_a_reload_before_all_listen_makes_nobody_ready(workers: Workers) -> None:
    workers.oversight.hear(-1, 1, RELOADING)
    workers.oversight.look()
    assert "READY" not in workers.heard.messages


def test_a_reload_ends_when_the_last_has_reloaded_or_is_gone(workers: Workers) -> None:
    workers.become_ready()
    workers.oversight.hear(-1, 1, RELOADING)
    workers.report(0, READY)
    assert workers.heard.messages == ["RELOADING"]
    workers.report(1, GONE)
    assert workers.heard.messages == ["RELOADING", "READY"]


def test_a_reload_that_nobody_finishes_is_reported_as_finished_in_the_end() -> None:
    workers = Workers(watchdog_s=None)
    workers.become_ready()
    workers.oversight.hear(-1, 1, RELOADING)
    workers.pass_time(MAX_RELOAD_S)
    assert workers.heard.messages == ["RELOADING"]
    workers.pass_time(1)
    assert workers.heard.messages == ["RELOADING", "READY"]


def test_a_manager_is_only_taken_from_what_was_meant_for_this_process() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1", "OTHER": "y"}
    assert Notifier.take(environment).watchdog_s is None
    assert environment == {"OTHER": "y"}
    assert Notifier.take({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000"}).watchdog_s == 30
    for wrong in ("", "0", "-1", "soon"):
        assert Notifier.take({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": wrong}).watchdog_s is None
    assert Notifier.take({"WATCHDOG_USEC": "30000000"}).watchdog_s is None
