# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""What slow clients hold, and who has to go when it is too much."""

from peerdata.httpd.buffers import Incoming, Unwritten

LIST = b"x" * 1000


class Client:
    """Holds memory until it is dropped."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def drop(self, reason: str) -> None:
        self.reasons.append(reason)


def dropped(*clients: Client) -> list[bool]:
    return [bool(client.reasons) for client in clients]


# Requests


def test_what_is_held_is_the_sum_of_what_each_holds_now() -> None:
    incoming, one, two = Incoming(1000), Client(), Client()
    incoming.hold(one, 100, 0)
    incoming.hold(two, 50, 0)
    incoming.hold(one, 70, 1)
    assert incoming.total == 120
    incoming.release(one)
    incoming.release(one)
    assert incoming.total == 50


def test_whoever_holds_most_for_longest_goes_first_and_the_quick_and_the_small_stay() -> None:
    incoming = Incoming(1000)
    slow, dribbling, quick, last = Client(), Client(), Client(), Client()
    incoming.hold(slow, 500, 0)
    incoming.hold(dribbling, 5, 0)
    incoming.hold(quick, 450, 10)
    incoming.hold(last, 100, 10)
    assert dropped(slow, dribbling, quick, last) == [True, False, False, False]
    assert slow.reasons == ["incoming_bytes"]
    assert incoming.total == 555


def test_as_many_go_as_it_takes() -> None:
    incoming = Incoming(1000)
    clients = [Client() for _ in range(101)]
    for number, client in enumerate(clients):
        incoming.hold(client, 10, number)
    assert incoming.total <= 750
    assert dropped(*clients) == [True] * 26 + [False] * 75


def test_a_flood_at_one_moment_is_bounded_too() -> None:
    incoming = Incoming(1000)
    for _ in range(1000):
        incoming.hold(Client(), 10, 0)
        assert incoming.total <= 1000


# Answers


def test_the_slowest_readers_of_an_account_go_and_other_accounts_stay() -> None:
    unwritten = Unwritten(10_000, 1000)
    first, second, other = Client(), Client(), Client()
    assert not unwritten.hold(other, 900, 0, "green")
    assert not unwritten.hold(first, 600, 1, "blue")
    assert unwritten.hold(second, 600, 2, "blue")
    unwritten.shed()
    assert dropped(first, second, other) == [True, False, False]
    assert first.reasons == ["unwritten_bytes"]
    assert unwritten.total == 1500


def test_a_body_that_many_are_sent_counts_once() -> None:
    unwritten = Unwritten(10_000, 2500)
    clients = [Client() for _ in range(100)]
    for client in clients:
        assert not unwritten.hold(client, len(LIST) + 10, 0, "blue", [LIST])
    assert unwritten.total == len(LIST) + 100 * 10
    for client in clients[1:]:
        unwritten.release(client)
    assert unwritten.total == len(LIST) + 10
    unwritten.release(clients[0])
    assert unwritten.total == 0
    assert unwritten._accounts == {}


def test_bodies_of_their_own_count_each() -> None:
    unwritten = Unwritten(10_000, 2500)
    bodies = [bytes(bytearray(LIST)) for _ in range(3)]
    over = [unwritten.hold(Client(), len(body), 0, "blue", [body]) for body in bodies]
    assert over == [False, False, True]


def test_over_the_limit_of_all_the_fullest_account_pays() -> None:
    unwritten = Unwritten(1000, 1000)
    modest = Client()
    unwritten.hold(modest, 300, 0, "green")
    greedy = [Client() for _ in range(8)]
    over = [unwritten.hold(client, 100, 1, "blue") for client in greedy]
    assert over == [False] * 7 + [True]
    unwritten.shed()
    assert not modest.reasons
    assert unwritten.total <= 750


def test_what_was_read_meanwhile_counts_no_more() -> None:
    unwritten, client = Unwritten(1000, 1000), Client()
    unwritten.hold(client, 500, 0, "blue")
    unwritten.hold(client, 100, 1, "blue")
    assert unwritten.total == 100
    unwritten.hold(client, 0, 2, "blue")
    assert (unwritten.total, bool(unwritten)) == (0, False)
