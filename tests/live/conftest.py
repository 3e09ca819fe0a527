"""Services that end with their test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .service import Sections, Service

MakeService = Callable[..., Service]


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    """Services in the test's directory, on one store unless told otherwise; started."""
    made: list[Service] = []

    def make(sections: Sections | None = None, *, start: bool = True) -> Service:
        service = Service(tmp_path, sections)
        made.append(service)
        if start:
            service.start()
        return service

    yield make
    for service in made:
        service.end()
