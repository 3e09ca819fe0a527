"""Files that other programs read are replaced as a whole or not at all."""

import os
import pty
import socket
from pathlib import Path

import pytest

from peerdata.guest.errors import Unusable
from peerdata.guest.files import mark_of, set_mark, write_if_changed


def test_an_unchanged_file_is_not_touched(tmp_path: Path) -> None:
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


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/peers")
    write_if_changed(str(link), "new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "peers").read_text() == "new"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
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


def test_the_mark_exists_before_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    mark = mark_of(str(path))
    os.mkdir(mark)
    with pytest.raises(Unusable):
        write_if_changed(str(path), "new", mark=mark)
    assert not path.exists(), "else nobody would know that a reload is due"
    os.rmdir(mark)
    assert write_if_changed(str(path), "new", mark=mark)
    assert os.path.exists(mark)
    assert not write_if_changed(str(path), "new", mark=mark)
    set_mark(mark, due=False)
    set_mark(mark, due=False)
    assert [one.name for one in tmp_path.iterdir()] == ["peers"]


def test_an_interrupt_after_the_replacement_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace

    def replace(*names: str) -> None:
        real(*names)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_if_changed(str(tmp_path / "peers"), "x")
    assert [one.name for one in tmp_path.iterdir()] == ["peers"]


@pytest.mark.parametrize("through", ["", "link"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "socket"])
def test_only_regular_files_are_replaced(tmp_path: Path, kind: str, through: str) -> None:
    path = tmp_path / "peers"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        terminal = pty.openpty()
        path.symlink_to(
            os.ttyname(terminal[1])
        )  # beside it nothing can be put, so that nothing comes of a failure here
    named = path
    if through:
        named = tmp_path / through
        named.symlink_to("peers")
    before = {one.name: one.lstat().st_mode for one in tmp_path.iterdir()}
    with pytest.raises(Unusable, match="is not a regular file"):
        write_if_changed(str(named), "x")
    assert {one.name: one.lstat().st_mode for one in tmp_path.iterdir()} == before
    if kind == "device":
        for descriptor in terminal:
            os.close(descriptor)


def test_a_pipe_behind_dev_fd_is_not_a_file() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(Unusable, match="is not a regular file"):
            write_if_changed(f"/dev/fd/{writing}", "x")
    finally:
        os.close(reading)
        os.close(writing)


def test_a_leftover_temporary_file_is_replaced_and_never_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "peers", tmp_path / "other"
    other.write_text("not ours")
    beside = tmp_path / f".peers.{os.getpid()}.new"
    os.link(other, beside)
    assert write_if_changed(str(path), "x")
    assert (path.read_text(), other.read_text()) == ("x", "not ours")
    assert not beside.exists()


def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="no such file"):
        write_if_changed(str(tmp_path / "no" / "peers"), "x")
