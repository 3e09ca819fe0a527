"""What is logged of many like events: a few of each kind, then one line an interval with their number."""

from peerdata.repeats import MAX_KEYS, Repeats, more


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_few_have_a_line_each_and_the_others_wait_for_the_next_window() -> None:
    clock = Clock()
    repeats = Repeats(clock, burst=3, interval_s=10)
    assert [repeats.count("a") for _ in range(6)] == [1, 1, 1, 0, 0, 0]
    clock.now = 9.9
    assert repeats.count("a") == 0
    clock.now = 10
    assert repeats.count("a") == 5  # itself, and the four that had no line


def test_a_flood_has_one_line_an_interval_and_every_event_is_told_of_once() -> None:
    clock = Clock()
    repeats = Repeats(clock, burst=3, interval_s=10)
    told = []
    for tick in range(100_000):
        clock.now = tick * 0.001  # 100 s
        told.append(repeats.count("a"))
    assert sum(1 for count in told if count) == 3 + 9
    clock.now = 1000
    assert sum(told) + repeats.count("a") == 100_001


def test_after_a_calm_window_a_few_have_a_line_each_again() -> None:
    clock = Clock()
    repeats = Repeats(clock, burst=2, interval_s=10)
    for _ in range(5):
        repeats.count("a")
    clock.now = 10
    assert [repeats.count("a"), repeats.count("a")] == [4, 0]
    clock.now = 20
    assert [repeats.count("a")] == [2]
    clock.now = 30
    assert [repeats.count("a") for _ in range(3)] == [1, 1, 0]


def test_events_that_are_further_apart_than_an_interval_all_have_a_line() -> None:
    clock = Clock()
    repeats = Repeats(clock, burst=1, interval_s=10)
    told = []
    for tick in range(5):
        clock.now = tick * 10
        told.append(repeats.count("a"))
    assert told == [1] * 5


def test_one_kind_does_not_use_up_the_lines_of_another() -> None:
    repeats = Repeats(Clock(), burst=1, interval_s=10)
    assert [repeats.count(key) for key in ("a", "a", "b", "b")] == [1, 0, 1, 0]


def test_the_kinds_that_are_told_apart_are_bounded() -> None:
    repeats = Repeats(Clock(), burst=1, interval_s=10)
    for key in range(MAX_KEYS + 1):
        repeats.count(key)
    assert repeats.count(MAX_KEYS) == 0
    assert repeats.count(0) == 1  # forgotten, as the one not seen for longest


def test_a_line_says_how_many_more_it_stands_for() -> None:
    assert more(1) == ""
    assert more(5) == " (and 4 more since the last such line)"
