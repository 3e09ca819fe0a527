# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Who may connect."""

from peerdata.httpd.admission import ADDRESS, DESCRIPTORS, MAX_CONNECTIONS, Admission
from peerdata.httpd.messages import HttpLimits


def test_as_many_are_served_as_the_limit_says_and_one_more_once_one_has_left() -> None:
    admission = Admission(HttpLimits(connections=2))
    for _ in range(2):
        assert admission.judge(9, "a") == ""
        admission.enter("a")
    assert admission.judge(9, "b") == MAX_CONNECTIONS
    admission.leave("a")
    assert admission.judge(9, "b") == ""


def test_whoever_is_there_to_be_rejected_takes_no_place() -> None:
    admission = Admission(HttpLimits(connections=2))
    admission.enter("a")
    admission.enter("b", rejected=True)
    assert admission.judge(9, "c") == ""
    admission.leave("b", rejected=True)
    assert (admission.open, admission.rejecting) == (1, 0)


def test_an_address_has_its_share_and_the_others_go_on() -> None:
    admission = Admission(HttpLimits(connections_of_address=2))
    for _ in range(2):
        admission.enter("a")
    assert admission.judge(9, "a") == ADDRESS
    assert admission.judge(9, "b") == ""
    admission.leave("a")
    assert admission.judge(9, "a") == ""
    admission.leave("a")
    assert admission._of_address == {}  # nothing is kept of addresses that are gone


def test_a_proxy_has_no_share() -> None:
    admission = Admission(HttpLimits(connections_of_address=1), lambda address: address == "proxy")
    admission.enter("proxy")
    assert admission.judge(9, "proxy") == ""


def test_descriptors_that_are_kept_for_others_are_not_for_clients() -> None:
    """The kernel gives the lowest that is free: number 100 means that 0 to 99 are in use."""
    admission = Admission(HttpLimits(descriptors=100))
    assert admission.judge(99, "a") == ""
    assert admission.judge(100, "a") == DESCRIPTORS
