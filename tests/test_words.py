# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The words of the field instead of our own: no retired word in names, messages, comments and pages.

A line may be exempt, with the reason before the mark: ``... neutron calls it so  # retired-words: ok``, in Markdown
``<!-- retired-words: ok -->``. A word inside a longer name counts: `MOST_KEYS`, `is_told`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PLACES = [
    "docs/guest.md",
    "examples/library.py",
    "src/peerdata/__main__.py",
    "src/peerdata/guest",
    "src/peerdata/testing",
    "tests/guest",
]
"""Files, and directories with all their Python and Markdown files."""

EXEMPT = "retired-words: ok"

RETIRED = {
    # Coinages, and the terms of the field.
    r"rolls?": "member list, members",
    r"lanes?": "queue",
    r"turn(?:s|ed|ing)? away": "reject",
    r"stand[- _]?ins?": "fake",
    r"paces?": "backoff, rate, interval",
    r"cradles?": "fork server",
    r"contestants?": "servers",
    r"mend(?:s|ed|ing)?": "fix, correct",
    r"befalls?|befell": "happen to, inject",
    r"understand(?:s|ing)?|understood": "parse, valid",
    # Names: maximum and minimum.
    r"MOST|LEAST": "MAX, MIN",
    r"(?<!at_)(?:most|least)(?=_\w)": "max, min",
    # Programs do not speak, hear, know or keep silent.
    r"told|tells|telling": "reported, returned, received",
    r"heard|hears": "received",
    r"sa(?:id|ys)": "returned, states, reports",
    r"keeps? silent|silence": "does not respond, times out",
    r"h(?:ang|angs|ung) up": "close the connection",
    r"obeys?": "follow",
    r"(?:nova|service|server)'s word": "the answer of",
    # Headless clauses, and other patterns that are not English.
    r"[Ww]hoever|[Ww]homever": "a noun: the caller, any member",
    r"(?:^|[.:;(#\"*-])\s*[Ww]ho \w+": "a noun: a caller that, a member that",
    r"(?<!there )(?:is|are|was|were) (?:no|none)\b(?! longer)": "is not a",
    r"so (?:many|often|long)\b(?! as)": "N, once per ..., for S seconds",
    r"(?:is|are|was|were|be|been) (?:away|gone)": "unavailable, deleted",
    r"stands?(?= (?:in|at|for|there|behind|before|beside|between|around|here|alone))": "is",
    r"at once as a whole": "atomically",
    r"asks? on": "keep asking, continue",
    r"anew": "again",
    r"whose matter": "responsible",
}
"""A pattern of whole words, and what to write instead."""

PATTERNS = {pattern: re.compile(rf"(?<![^\W_])(?:{pattern})(?![^\W_])") for pattern in RETIRED}


def files() -> list[Path]:
    found: list[Path] = []
    for place in PLACES:
        path = ROOT / place
        if path.is_dir():
            found += sorted(one for one in path.rglob("*") if one.suffix in (".py", ".md"))
        else:
            found.append(path)
    return found


def problems(text: str) -> Iterator[tuple[int, str]]:
    """The number of each line with a retired word, and what to do about it."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, found in ((pattern, compiled.search(line)) for pattern, compiled in PATTERNS.items()):
            if found and EXEMPT not in line:
                yield number, f"'{found[0].strip()}' is retired: write {RETIRED[pattern]}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_retired_word_is_used(path: Path) -> None:
    found = [f"{path}:{number}: {problem}" for number, problem in problems(path.read_text(encoding="utf-8"))]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "MOST_KEYS = 128", "least_s = 1", "def is_told(): ...", "the roll of a cluster", "a server that keeps silent",
        "# Who cannot start, ends.", "it is no address", "ask so often", "the service is away",
        "def _understand_body():", "it stands in the file", "a stand-in for nova", "it was turned away",
    ],
)  # fmt: skip
def test_a_retired_word_is_found(line: str) -> None:
    assert list(problems(line))
    assert not list(problems(f"{line}  # the protocol's own name, retired-words: ok"))


@pytest.mark.parametrize(
    "line",
    [
        "at most 128 keys, at least one", "there is no address here", "it is no longer used", "rollback",
        "as long as it runs, so long as it does", "the first instance who asks", "standalone", "whoami",
        "tell the operator",
    ],
)  # fmt: skip
def test_other_words_are_not(line: str) -> None:
    assert not list(problems(line))
