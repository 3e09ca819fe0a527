"""What identity is tested with: a nova that says what it is told to say, and a clock that stands still."""

import pytest

from .fakes import Clock, FakeNova


@pytest.fixture
def nova() -> FakeNova:
    """Knows `ALICE` and `BOB` of project blue."""
    return FakeNova()


@pytest.fixture
def clock() -> Clock:
    """Begins at 1000 s."""
    return Clock()
