"""Who may ask nova next: projects in turn, one question for the same request, and an end to waiting."""

from collections.abc import Callable

import pytest

from peerdata.upstream.queue import QUESTION_BYTES, Question, Queue, Waiter

ROOMY = 1 << 30


def queue(*, under_way: int = 1, max_bytes: int = ROOMY, timeout_s: float = 55.0) -> Queue[str]:
    return Queue(max_under_way=under_way, max_bytes=max_bytes, timeout_s=timeout_s)


def no_one(_outcome: str) -> None:
    pass


def question(
    project: str, path: str = "/a", *, at: float = 0.0, shared: bool = True, settle: Callable[[str], None] = no_one
) -> Question[str]:
    """Of the instance of the same name as its project."""
    name = project.encode()
    return Question("GET", path.encode(), name, name, shared, 60.0, 60.0, at, [Waiter(settle, at)])


def wait(of: Queue[str], *questions: Question[str]) -> None:
    for one in questions:
        assert of.add(one) == []


def taken(of: Queue[str]) -> list[str]:
    """All that wait, in the order in which they are asked, one after the other."""
    order = []
    while one := of.take():
        order.append(one.wire.decode())
        of.finish(one)
    return order


def test_what_can_be_asked_at_once_does_not_wait() -> None:
    line = queue(under_way=2)
    assert line.begin(question("a"))
    assert line.begin(question("b"))
    assert not line.begin(question("c"))
    assert len(line) == 0


def test_no_more_are_under_way_than_nova_may_have() -> None:
    line = queue(under_way=2)
    wait(line, *(question(project) for project in "abc"))
    first = line.take()
    assert first
    assert line.take()
    assert line.take() is None
    line.finish(first)
    assert line.take()


def test_nobody_overtakes_those_who_wait() -> None:
    line = queue(under_way=1)
    under_way = question("a", "/1")
    assert line.begin(under_way)
    wait(line, question("a", "/2"))
    line.finish(under_way)
    assert not line.begin(question("b"))


def test_projects_take_turns_so_one_that_floods_waits_for_itself() -> None:
    line = queue()
    wait(line, *(question("flood", f"/flood{number}") for number in range(5)))
    wait(line, question("b", "/b1"), question("b", "/b2"), question("c", "/c1"))
    assert taken(line) == ["/flood0", "/b1", "/c1", "/flood1", "/b2", "/flood2", "/flood3", "/flood4"]


def test_one_project_never_has_all_that_may_be_under_way() -> None:
    """A cell that hangs would take the whole way to nova with it."""
    line = queue(under_way=4)
    flood = [question("flood", f"/{number}") for number in range(6)]
    assert [line.begin(one) for one in flood[:4]] == [True, True, True, False]
    wait(line, *flood[3:])
    assert line.take() is None
    quiet = question("quiet")
    assert not line.begin(quiet), "it is not known yet that those who wait are of one project"
    wait(line, quiet)
    assert line.take() is quiet
    assert line.take() is None
    line.finish(quiet)
    assert line.take() is None
    line.finish(flood[0])
    assert line.take() is flood[3]


def test_a_project_that_comes_back_stands_behind_the_others() -> None:
    line = queue()
    wait(line, question("a", "/a1"), question("b", "/b1"), question("b", "/b2"))
    first = line.take()
    assert first
    line.finish(first)
    wait(line, question("a", "/a2"))
    assert taken(line) == ["/b1", "/a2", "/b2"]


# One question for the same request


@pytest.mark.parametrize("under_way", [True, False])
def test_the_same_request_of_the_same_instance_is_found_until_it_is_answered(under_way: bool) -> None:
    line = queue()
    one = question("a")
    wait(line, one)
    if under_way:
        assert line.take() is one
    assert line.find(b"a", b"/a") is one
    line.finish(one)
    assert line.find(b"a", b"/a") is None


def test_another_request_or_another_instance_is_not_joined() -> None:
    line = queue()
    wait(line, question("a"))
    assert line.find(b"a", b"/b") is None
    assert line.find(b"b", b"/a") is None


@pytest.mark.parametrize("at_once", [True, False])
def test_nothing_that_began_before_a_change_is_joined_after_it(at_once: bool) -> None:
    line = queue(under_way=3)
    before, other = question("a"), question("b")
    assert line.begin(before)
    assert line.begin(other)
    change = question("a", "/password", shared=False)
    if at_once:
        assert line.begin(change)
    else:
        wait(line, change)
    assert line.find(b"a", b"/a") is None
    assert line.find(b"b", b"/a") is other, "of another instance"
    after = question("a")
    wait(line, after)
    line.finish(before)
    assert line.find(b"a", b"/a") is after, "what began before does not take away what began after"


def test_nothing_that_began_during_a_change_is_joined_after_it() -> None:
    """It may have been answered before the change was made."""
    line = queue(under_way=3)
    change, during = question("a", "/password", shared=False), question("a")
    assert line.begin(change)
    assert line.begin(during)
    assert line.find(b"a", b"/a") is during
    line.finish(change)
    assert line.find(b"a", b"/a") is None


def test_what_may_change_something_is_not_joined() -> None:
    line = queue()
    wait(line, question("a", "/password", shared=False))
    assert line.find(b"a", b"/password") is None


# An end to waiting


def test_who_has_waited_too_long_is_given_up_and_nova_is_not_asked() -> None:
    line = queue(timeout_s=55.0)
    late = question("a", "/late", at=100.0)
    wait(line, late, question("a", "/young", at=101.0))
    assert line.expire(154.9) == []
    assert [waiter.since for waiter in line.expire(155.0)] == [100.0]
    assert line.find(b"a", b"/late") is None
    assert len(line) == 1
    assert taken(line) == ["/young"]


def test_who_joined_later_keeps_the_place_of_who_is_given_up() -> None:
    line = queue(timeout_s=55.0)
    first = question("a", "/first", at=0.0)
    wait(line, first, question("a", "/second", at=1.0))
    later = Waiter(no_one, 50.0)
    first.waiters.append(later)
    gone = line.expire(56.5)
    assert [waiter.since for waiter in gone] == [0.0, 1.0]
    assert first.waiters == [later]
    assert line.oldest_s(60.0) == 10.0
    assert taken(line) == ["/first"]


def test_what_is_under_way_is_not_given_up_by_the_queue() -> None:
    line = queue(timeout_s=55.0)
    assert line.begin(question("a"))
    assert line.expire(1000.0) == []
    assert len(line.under_way) == 1


def test_the_oldest_is_the_oldest_of_all_projects() -> None:
    line = queue()
    assert line.oldest_s(5.0) == 0.0
    wait(line, question("a", "/1", at=3.0), question("b", "/1", at=1.0), question("b", "/2", at=4.0))
    assert line.oldest_s(5.0) == 4.0


# Memory


def room_for(number: int) -> int:
    return number * (QUESTION_BYTES + 4)


def test_beyond_the_bound_the_newcomer_of_the_project_that_has_the_most_is_rejected() -> None:
    line = queue(max_bytes=room_for(3))
    wait(line, *(question("flood", f"/f{number:02}") for number in range(3)))
    newcomer = question("flood", "/f03")
    assert line.add(newcomer) == [newcomer]
    assert line.find(b"flood", b"/f03") is None
    assert len(line) == 3


def test_beyond_the_bound_another_project_still_finds_room() -> None:
    line = queue(max_bytes=room_for(4))
    wait(line, *(question("flood", f"/f{number:02}") for number in range(4)))
    rejected = line.add(question("quiet", "/q00"))
    assert [one.wire for one in rejected] == [b"/f03"], "the last of the one that has the most"
    assert line.find(b"flood", b"/f03") is None
    assert taken(line) == ["/f00", "/q00", "/f01", "/f02"]


def test_a_single_question_over_the_bound_is_rejected() -> None:
    line = queue(max_bytes=room_for(1))
    large = question("a", "/" + "x" * 100)
    assert line.add(large) == [large]


def test_room_comes_back() -> None:
    line = queue(max_bytes=room_for(2), timeout_s=10.0)
    for _ in range(3):
        wait(line, question("a", "/a00", at=0.0), question("a", "/a01", at=0.0))
        assert len(taken(line)) == 2
        wait(line, question("b", "/b00", at=0.0), question("b", "/b01", at=0.0))
        assert len(line.expire(10.0)) == 2
        wait(line, question("c", "/c00", at=0.0), question("d", "/c01", at=0.0))
        assert len(list(line.empty())) == 2
    assert len(line) == 0


def test_what_nobody_waits_for_leaves_from_wherever_it_is() -> None:
    line = queue(max_bytes=room_for(2))
    first, second = question("a", "/a00"), question("a", "/a01")
    wait(line, first, second)
    line.finish(first)
    assert taken(line) == ["/a01"]
    wait(line, question("a", "/a02"), question("a", "/a03"))
