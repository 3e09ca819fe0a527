"""Files that others read: whole or not at all."""

import os
from pathlib import Path

import pytest

from peerdata.guest.errors import Unusable
from peerdata.guest.files import write_if_changed


def test_the_same_text_again_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    assert write_if_changed(str(path), "a\n")
    before = path.stat()
    assert not write_if_changed(str(path), "a\n")
    assert path.stat().st_ino == before.st_ino
    assert write_if_changed(str(path), "b\n")
    assert path.read_text() == "b\n"
    assert [one.name for one in tmp_path.iterdir()] == ["peers"]


def test_the_mode_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_text("old")
    path.chmod(0o640)
    write_if_changed(str(path), "new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/peers")
    write_if_changed(str(link), "new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "peers").read_text() == "new"


def test_when_it_cannot_be_written_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_text("old")
    real = os.replace

    def fail(*_: object) -> None:
        raise OSError(28, "no space")

    os.replace = fail  # type: ignore[assignment]
    try:
        with pytest.raises(Unusable, match="no space"):
            write_if_changed(str(path), "new")
    finally:
        os.replace = real
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["peers"]


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="no such file"):
        write_if_changed(str(tmp_path / "no" / "peers"), "x")
