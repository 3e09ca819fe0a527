"""When a guest asks again: inside neutron's rate limit, never in step."""

import pytest

from peerdata.guest import backoff


@pytest.mark.parametrize(
    ("status", "final"),
    [(400, True), (403, True), (404, True), (409, True), (408, False), (429, False), (500, False), (503, False)],
)
def test_a_refusal_is_final_and_a_transient_status_is_not(status: int, final: bool) -> None:
    assert backoff.is_final(status) is final


def test_pauses_double_up_to_twenty_seconds_and_vary_by_half() -> None:
    assert [backoff.pause_s(number, 0.5) for number in range(1, 8)] == [1, 2, 4, 8, 16, 20, 20]
    assert backoff.pause_s(3, 0.0) == 2
    assert backoff.pause_s(3, 1.0) == 6
    assert backoff.pause_s(10_000, 1.0) == 30


def test_after_a_429_the_window_passes_first() -> None:
    assert backoff.pause_s(1, 0.5, too_many=True) == backoff.WINDOW_S


def test_the_ninth_request_in_ten_seconds_is_delayed() -> None:
    asked_at = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert backoff.rate_limit_s(asked_at, 7.0) == 0
    assert backoff.rate_limit_s([*asked_at, 7.0], 8.0) == pytest.approx(2.0)
    assert backoff.rate_limit_s([*asked_at, 7.0], 11.0) == 0
