"""The map: rooms see only the floors below them, and what the code has, the documents tell."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
from prometheus_client.metrics import MetricWrapperBase

from peerdata import errors, metrics
from peerdata.api.answers import STATUS, status_of
from peerdata.api.routes import PATHS, Call, understand
from peerdata.capacity import files_needed
from peerdata.errors import PeerdataError
from peerdata.settings import SECTIONS, NovaSettings, Settings

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "peerdata"
DOCS = ROOT / "docs"

FLOORS = [
    {"__main__"},
    {"cli"},
    {"workers"},
    {"serving"},
    {"preflight"},
    {"app", "capacity"},
    {"api"},
    {"identity", "service"},
    {"httpd", "store", "upstream"},
    {"metrics", "tls"},
    {"settings"},
    {"model", "oversight"},
    {"errors", "guest", "notify", "repeats", "testing"},
]
"""From the top; a room is a directory or a module, and rooms of one floor do not see each other. What runs in an
instance stands on the ground by itself."""

STATUSES_THAT_ARRIVE = {200, 400, 403, 404, 409, 500, 502, 503, 504}


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def modules() -> Iterator[tuple[str, str, ast.Module]]:
    """(room, name, syntax) of each module of the package; migrations speak to Alembic alone."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",) and "versions" not in parts:
            yield parts[0], ".".join(parts), ast.parse(path.read_text(encoding="utf-8"))


def seen_rooms(syntax: ast.Module) -> Iterator[str]:
    """The rooms whose names a module imports, wherever in it; the package itself (``__version__``) is no room."""
    for node in ast.walk(syntax):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            room = rest.split(".")[0]
            if package == "peerdata" and (PACKAGE / room).is_dir() | (PACKAGE / f"{room}.py").is_file() and room:
                yield room


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


# Layers


@pytest.mark.parametrize(("room", "name", "syntax"), [pytest.param(*module, id=module[1]) for module in modules()])
def test_a_module_sees_only_the_floors_below(room: str, name: str, syntax: ast.Module) -> None:
    for seen in seen_rooms(syntax):
        assert seen == room or floor_of(seen) > floor_of(room), f"{name} sees {seen}"


def test_every_room_has_its_floor_and_every_floor_its_rooms() -> None:
    there = {path.stem if path.suffix == ".py" else path.name for path in PACKAGE.iterdir()}
    rooms = {name for name in there if (PACKAGE / name / "__init__.py").is_file() or (PACKAGE / f"{name}.py").is_file()}
    assert rooms - {"__init__"} == set().union(*FLOORS)


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("sqlalchemy", {"store"}),
        ("alembic", {"store"}),
        ("sqlite3", {"store"}),
        ("httptools", {"httpd", "upstream"}),
        ("yaml", {"upstream"}),
        ("oslo_config", {"settings", "cli"}),
        ("oslo_log", {"settings", "cli"}),
        ("uvloop", {"cli", "workers"}),
        ("cotyledon", {"workers"}),
    ],
)
def test_a_library_is_spoken_to_in_its_room_alone(library: str, rooms: set[str]) -> None:
    speaking = set()
    for room, _, syntax in modules():
        for node in ast.walk(syntax):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == library for name in names):
                speaking.add(room)
    assert speaking == rooms


def test_shipped_code_has_no_mocks() -> None:
    for _, name, syntax in modules():
        assert "unittest" not in ast.dump(syntax), name


# Errors


@pytest.mark.parametrize("error", list(errors.tree()))
def test_every_error_has_a_status_that_arrives(error: type[PeerdataError]) -> None:
    assert status_of(error, through_neutron=True) in STATUSES_THAT_ARRIVE
    assert 400 <= status_of(error, through_neutron=False) < 600


def test_every_row_of_the_status_table_is_an_error_of_the_tree() -> None:
    assert set(STATUS) <= set(errors.tree())


NEVER_ANSWERED = (errors.CannotListen, errors.SettingsInvalid)
"""They end the start."""


@pytest.mark.parametrize("error", [error for error in errors.tree() if error not in NEVER_ANSWERED])
def test_every_error_stands_in_docs_errors_with_its_statuses_and_meaning(error: type[PeerdataError]) -> None:
    row = next((line for line in text_of("errors.md").splitlines() if f"`{error.code}`" in line), "")
    direct, through_neutron = (status_of(error, through_neutron=through) for through in (False, True))
    assert str(direct) in row
    assert str(through_neutron) in row
    assert " ".join((error.__doc__ or "").split()) in row


def test_docs_errors_lists_no_error_that_is_not_there() -> None:
    told = set(re.findall(r"`(peerdata\.[a-z]+\.[a-z0-9_]+)`", text_of("errors.md")))
    assert told <= {error.code for error in errors.tree()}


@pytest.mark.parametrize("page", ["protocol.md", "operations.md", "design.md"])
def test_a_code_that_a_page_speaks_of_is_there(page: str) -> None:
    for code in re.findall(r"peerdata\.[a-z]+\.[a-z0-9_]+(?=[`\"])", text_of(page)):
        assert code in {error.code for error in errors.tree()}


# Settings and metrics


@pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: str(section.group))
def test_every_setting_stands_in_docs_settings(section: type) -> None:
    group = section.group  # type: ignore[attr-defined]
    of_section = text_of("settings.md").partition(f"## [{group}]\n")[2].partition("\n## ")[0]
    assert of_section, group
    for entry in fields(section):
        assert f"`{entry.name}`\n" in of_section
        assert " ".join(entry.metadata["help"].split()) in " ".join(of_section.split())


def test_every_setting_stands_in_the_sample() -> None:
    sample = (ROOT / "etc" / "peerdata.conf.sample").read_text(encoding="utf-8")
    for section in SECTIONS.values():
        of_section = sample.partition(f"[{section.group}]\n")[2].partition("\n[")[0]
        for entry in fields(section):
            assert f"\n#{entry.name} =" in of_section, f"[{section.group}] {entry.name}"


@pytest.mark.parametrize("page", ["protocol.md", "operations.md", "design.md"])
def test_a_setting_that_a_page_speaks_of_is_there(page: str) -> None:
    known = {f"[{section.group}] {entry.name}" for section in SECTIONS.values() for entry in fields(section)}
    groups = {section.group for section in SECTIONS.values()}
    for group, name in re.findall(r"\[(\w+)\]\s+([a-z_]+)\b(?=[`\s])", text_of(page)):
        if group in groups:
            assert f"[{group}] {name}" in known


def collectors(module: ModuleType) -> list[str]:
    """The names under which metrics are read."""
    found = [value for value in vars(module).values() if isinstance(value, MetricWrapperBase)]
    families = [family for metric in found for family in metric.describe()]
    return [f"{family.name}_total" if family.type == "counter" else family.name for family in families]


@pytest.mark.parametrize("name", collectors(metrics))
def test_every_metric_stands_in_docs_operations(name: str) -> None:
    assert re.search(rf"`{name}(`|\{{)", text_of("operations.md"))


def test_docs_operations_speaks_of_no_metric_that_is_not_there() -> None:
    told = set(re.findall(r"`(peerdata_[a-z_]+)", text_of("operations.md")))
    assert told == set(collectors(metrics))


def test_no_metric_carries_a_project_or_an_instance() -> None:
    for value in vars(metrics).values():
        if isinstance(value, MetricWrapperBase):
            assert set(value._labelnames) <= {
                *("call", "status", "outcome", "listener", "reason", "kind", "state"),
                *("version", "python", "schema"),
            }


def test_docs_operations_tells_how_many_files_may_be_open() -> None:
    settings = Settings(nova=NovaSettings(metadata_url="http://nova"))
    more = files_needed(settings) - settings.instance_api.max_connections - settings.nova.max_connections
    assert f"`[instance_api] max_connections`, `[nova] max_connections` and {more} more" in text_of("operations.md")


# Calls


@pytest.mark.parametrize("path", [path for path, call in PATHS.items() if call is not Call.LISTING])
def test_every_call_stands_in_docs_protocol(path: str) -> None:
    assert re.search(rf"^\| `(GET|POST) /openstack/{{version}}/{re.escape(path)}` \|", text_of("protocol.md"), re.M)


def test_docs_protocol_lists_no_call_that_is_not_there() -> None:
    told = set(
        re.findall(r"^\| `(?:GET|POST)`?(?: or `GET)? /openstack/{version}/([^`]*)` \|", text_of("protocol.md"), re.M)
    )
    assert {path for path in told if "{name}" not in path} == set(PATHS)
    of_clusters = {understand(f"/openstack/latest/{path.format(name='x')}".encode()).call for path in told - set(PATHS)}
    assert of_clusters == {Call.CLUSTER, Call.FORMED}


def test_docs_protocol_tells_the_bounds_that_hold() -> None:
    """Numbers drift apart from code more easily than words."""
    limits = Settings().limits
    said = " ".join(text_of("protocol.md").split())
    assert f"0 to {limits.max_value_chars} characters" in said
    assert f"{limits.max_keys_per_instance} keys an instance" in said
    assert f"{limits.max_keys_per_project:,} a project".replace(",", " ") in said
    assert f"{limits.max_bytes_per_instance // 1024} KiB an instance" in said
    assert f"{limits.max_bytes_per_project >> 20} MiB a project" in said
    assert f"At most {limits.max_body_bytes // 1024} KiB" in said
    assert "1 to 243 characters" in said
