"""The error tree: drawn as it is, each with a sentence and a code of its own."""

import re

import pytest

from peerdata import errors
from peerdata.errors import PeerdataError, tree

EVERY = list(tree())
LEAVES = [error for error in EVERY if not error.__subclasses__()]


@pytest.mark.parametrize("error", EVERY)
def test_each_error_says_what_it_means_in_a_sentence(error: type[PeerdataError]) -> None:
    assert "__doc__" in vars(error)
    sentence = (error.__doc__ or "").strip()
    assert sentence.endswith(".")
    assert sentence[0].isupper() or sentence.startswith("``")


@pytest.mark.parametrize("error", EVERY)
def test_each_error_has_a_code_of_its_own(error: type[PeerdataError]) -> None:
    assert "code" in vars(error)
    assert re.fullmatch(r"peerdata\.[a-z]+\.[a-z0-9_]+", error.code)
    assert [other for other in EVERY if other.code == error.code] == [error]


def test_the_codes_are_those_that_were_published() -> None:
    """A code never changes once published: this list only grows."""
    published = """
        server.error request.invalid request.malformed request.head_too_large body.too_large body.timed_out body.empty
        body.not_utf8 body.not_json body.not_object body.member_unknown body.and_parameters meta.missing
        meta.not_object meta.empty key.invalid key.repeated value.not_string value.invalid value.too_long
        shared.invalid parameter.unknown parameter.repeated parameter.invalid method.unsupported path.unknown
        identity.refused identity.missing identity.repeated identity.signature identity.unknown key.taken
        quota.reached upstream.failed upstream.silent store.unavailable server.busy settings.invalid
    """
    assert {error.code.removeprefix("peerdata.") for error in EVERY} >= set(published.split())


def test_the_tree_is_drawn_at_the_top_of_the_module() -> None:
    drawn = (errors.__doc__ or "").partition("PeerdataError\n")[2].partition("A leaf has")[0]
    names = re.findall(r"\b[A-Z]\w+[a-z]\w*\b(?=\s|$)", drawn)
    assert {error.__name__ for error in EVERY} - set(names) == {"PeerdataError"}


def test_an_error_carries_its_message_and_its_facts() -> None:
    error = errors.QuotaReached("too many", limit=3, scope="instance")
    assert str(error) == error.message == "too many"
    assert error.facts == {"limit": 3, "scope": "instance"}


def test_leaves_of_one_kind_are_caught_by_it() -> None:
    assert issubclass(errors.UpstreamSilent, errors.UpstreamFailed)
    assert issubclass(errors.SignatureWrong, errors.IdentityRefused)
    assert all(issubclass(error, PeerdataError) for error in LEAVES)
