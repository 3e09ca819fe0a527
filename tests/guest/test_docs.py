"""docs/guest.md describes the command as it is."""

import argparse
import inspect
import re
from pathlib import Path

import pytest

from peerdata.guest import errors
from peerdata.guest.cli import COMMANDS, EXIT_CODES
from peerdata.guest.commands import load
from peerdata.guest.errors import GuestError
from peerdata.guest.formats import FORMATS
from peerdata.guest.library import Guest

PAGE = (Path(__file__).parents[2] / "docs" / "guest.md").read_text(encoding="utf-8")


def rows(section: str) -> list[str]:
    """The lines of the first table of a section."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    table = text[text.index("|") :].partition("\n\n")[0]
    return table.splitlines()[2:]


def test_every_command_is_listed() -> None:
    assert [re.findall(r"`(\w+)", row)[0] for row in rows("Commands")] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_listed(command: str) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    load(command).add_arguments(parser)
    for option in re.findall(r"--[a-z-]+", parser.format_usage()):
        assert re.search(rf"[` ]{option}[ `]", PAGE), option


def test_every_format_is_listed_with_its_port() -> None:
    listed = {re.findall(r"`([a-z-]+)`", row)[0]: row.rstrip("|").rpartition("|")[2].strip() for row in rows("Formats")}
    assert listed == {name: str(form.port or "") for name, form in FORMATS.items()}


def test_every_exit_code_is_listed_and_in_the_help() -> None:
    tree: list[type[GuestError]] = [GuestError, *GuestError.__subclasses__()]
    codes = {error.exit_code for error in tree} | {errors.DONE, errors.OLD_LIST}
    assert [int(row.split("|")[1]) for row in rows("Exit codes")] == sorted(codes)
    assert [int(code) for code in re.findall(r"^  (\d)  ", EXIT_CODES, re.M)] == sorted(codes)


@pytest.mark.parametrize("error", GuestError.__subclasses__(), ids=lambda error: str(error.__name__))
def test_every_error_of_the_library_is_listed(error: type[GuestError]) -> None:
    assert f"`{error.__name__}`" in PAGE


def test_every_call_of_the_library_is_listed_with_its_signature() -> None:
    section = PAGE.partition("\n## The library\n")[2].partition("\n## ")[0]
    calls = re.findall(r"^(?:guest\.(\w+)|Guest)\(([^()]*)\)(?: +# -> .*)?$", section, re.M)
    seams = {"exchange", "clock", "sleep", "chance", "now"}
    public = {name for name, value in vars(Guest).items() if inspect.isfunction(value) and name[0] != "_"}
    assert {name for name, _ in calls} == public | {""}
    for name, shown in calls:
        made = inspect.signature(eval(f"lambda {' '.join(shown.split())}: None"))
        real = inspect.signature(getattr(Guest, name) if name else Guest)
        expected = [_shape(one) for one in real.parameters.values() if one.name not in {"self", *seams}]
        assert [_shape(one) for one in made.parameters.values()] == expected, name


def _shape(parameter: inspect.Parameter) -> tuple[str, object, object]:
    default = "a function" if callable(parameter.default) else parameter.default
    return parameter.name, parameter.kind, default


def test_the_example_of_the_fake_works() -> None:
    section = PAGE.partition("\n## Tests of your own\n")[2]
    code = re.findall(r"```python\n(.*?)```", section, re.S)[0]
    exec(compile(code.replace("Guest(one.url)", "Guest(one.url, state='')"), "docs/guest.md", "exec"), {})
