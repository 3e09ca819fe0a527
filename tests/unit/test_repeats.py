# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A fault that comes by the thousand has a few lines, then one a period, and its number is in them."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from peerdata.repeats import MAX_KINDS, Repeats, flush_all

LOG = logging.getLogger("peerdata.test")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def repeats(clock: Clock) -> Repeats:
    return Repeats(LOG, clock)


def test_the_first_of_a_kind_is_logged_at_once(repeats: Repeats, caplog: pytest.LogCaptureFixture) -> None:
    repeats.warn("a", "a happened to x")
    repeats.warn("b", "b happened to y")
    assert caplog.messages == ["a happened to x", "b happened to y"]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_repeats_become_one_line_with_their_number(
    repeats: Repeats, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        repeats.warn("a", f"a happened to {number}")
    assert caplog.messages == ["a happened to 0"]
    repeats.flush(clock.now)
    assert len(caplog.messages) == 1, "the second is not over"
    clock.now += 1.0
    repeats.flush(clock.now)
    assert caplog.messages[1:] == ["999 more like it, the last: a happened to 999"]


def test_the_first_few_may_have_a_line_each(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    repeats = Repeats(LOG, clock, burst=3, period_s=10)
    for number in range(6):
        repeats.warn("a", str(number))
    assert caplog.messages == ["0", "1", "2"]
    clock.now += 10
    repeats.flush(clock.now)
    assert caplog.messages[3:] == ["3 more like it, the last: 5"]


@pytest.mark.parametrize("flushes", [True, False])
def test_a_flood_is_one_line_a_period_and_every_fault_is_counted_once(
    clock: Clock, caplog: pytest.LogCaptureFixture, flushes: bool
) -> None:
    repeats = Repeats(LOG, clock, burst=3, period_s=10)
    for _ in range(10_000):  # 100 s
        repeats.warn("a", "a")
        clock.now += 0.01
        if flushes:
            repeats.flush(clock.now)
    clock.now += 10
    repeats.flush(clock.now)
    assert 10 <= len(caplog.messages) <= 14
    counts = [int(found[1]) if (found := re.match(r"(\d+) more", line)) else 1 for line in caplog.messages]
    assert sum(counts) == 10_000


def test_after_a_quiet_period_a_kind_is_new(repeats: Repeats, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    repeats.warn("a", "first")
    assert repeats
    clock.now += 1.0
    repeats.flush(clock.now)
    assert not repeats
    repeats.warn("a", "second")
    assert caplog.messages == ["first", "second"]


def test_without_a_flush_the_number_is_logged_with_the_next_of_any_kind(
    repeats: Repeats, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    repeats.warn("a", "first")
    repeats.warn("a", "second")
    clock.now += 5.0
    repeats.warn("b", "other")
    assert caplog.messages == ["first", "1 more like it, the last: second", "other"]


def test_the_kinds_that_are_told_apart_are_bounded(repeats: Repeats, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3 * MAX_KINDS):
        repeats.warn(number, "x")
    assert len(repeats._periods) == MAX_KINDS
    repeats.warn(3 * MAX_KINDS - 1, "x")
    assert len(caplog.messages) == 3 * MAX_KINDS, "the youngest is remembered"
    repeats.warn(0, "x")
    assert len(caplog.messages) == 3 * MAX_KINDS + 1, "the oldest is forgotten"


def test_a_percent_sign_in_a_line_is_a_percent_sign(repeats: Repeats, caplog: pytest.LogCaptureFixture) -> None:
    repeats.warn("a", "100%s %d")
    assert caplog.messages == ["100%s %d"]


def test_a_kind_keeps_its_level(repeats: Repeats, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for level in (logging.INFO, logging.ERROR):
        repeats.tell(level, "x", level)
        repeats.tell(level, "x", level)
    clock.now += 1.0
    repeats.flush(clock.now)
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR", "INFO", "ERROR"]


def test_all_that_is_held_back_is_logged_when_it_is_due_and_at_the_end(
    repeats: Repeats, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    other = Repeats(LOG, clock)
    for one in (repeats, other):
        one.warn("a", "x")
        one.warn("a", "y")
    flush_all()
    assert len(caplog.messages) == 2
    clock.now += 1.0
    flush_all()
    assert caplog.messages[2:] == 2 * ["1 more like it, the last: y"]
    other.warn("a", "z")
    flush_all(at_end=True)
    assert caplog.messages[4:] == ["1 more like it, the last: z"]
    assert not repeats
    assert not other
    other.warn("a", "x")
    assert caplog.messages[5:] == ["x"], "what comes after the end is new"


def test_threads_count_each_fault_once(repeats: Repeats, caplog: pytest.LogCaptureFixture) -> None:
    """The store's do."""
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5000):
            threads.submit(repeats.warn, "a", "x")
    flush_all(at_end=True)
    assert caplog.messages == ["x", "4999 more like it, the last: x"]
