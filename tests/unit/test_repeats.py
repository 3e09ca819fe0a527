"""A fault that comes by the thousand is two lines a second at most, and its number is in them."""

import logging

import pytest

from peerdata.repeats import MAX_KINDS, Repeats

LOG = logging.getLogger("peerdata.test")


class Clock:
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


def test_a_fault_that_goes_on_is_one_line_a_second(
    repeats: Repeats, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        repeats.warn("a", "a")
        clock.now += 0.1
        repeats.flush(clock.now)
    assert 9 <= len(caplog.messages) <= 12


def test_after_a_quiet_second_a_kind_is_new(repeats: Repeats, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    repeats.warn("a", "first")
    assert repeats
    clock.now += 1.0
    repeats.flush(clock.now)
    assert not repeats
    repeats.warn("a", "second")
    assert caplog.messages == ["first", "second"]


def test_without_a_flush_the_number_is_told_by_the_next_of_any_kind(
    repeats: Repeats, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    repeats.warn("a", "first")
    repeats.warn("a", "second")
    clock.now += 5.0
    repeats.warn("b", "other")
    assert caplog.messages == ["first", "1 more like it, the last: second", "other"]


def test_kinds_without_end_are_logged_and_not_kept(repeats: Repeats, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3 * MAX_KINDS):
        repeats.warn(number, "x")
    assert len(caplog.messages) == 3 * MAX_KINDS
    assert len(repeats._kinds) == MAX_KINDS


def test_a_percent_sign_in_a_line_is_a_percent_sign(repeats: Repeats, caplog: pytest.LogCaptureFixture) -> None:
    repeats.warn("a", "100%s %d")
    assert caplog.messages == ["100%s %d"]
