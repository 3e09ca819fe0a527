# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Files that others read: replaced whole or not at all, and only when what they say has changed.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from peerdata.guest.errors import Unusable


def write_if_changed(path: str, text: str, *, mark: str = "") -> bool:
    """
    Let the file at *path* hold *text*; returns whether it did not before.

    With *mark* (`mark_of`) that is there before the new file is: whoever is to be told of it still has to be, whatever
    ends us.

    A reader sees the old file or the new one, after a power cut too. Mode and owner of the old one are kept; a new one
    gets those of any new file. Through a symbolic link, the file it leads to is replaced.

    Raises:
        Unusable: it cannot be written, or is no regular file (a device, a FIFO); the old one is as it was.
    """
    named, path = path, os.path.realpath(path)
    wanted = text.encode("utf-8")
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.new")
    try:
        _refuse_irregular(named)
        before = _read(path)
        if before is not None and before[0] == wanted:
            return False
        with suppress(FileNotFoundError):
            os.unlink(beside)  # of one of our number that was killed
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if before is not None:
                    _be_like(before[1], file.fileno())
                file.write(wanted)
                file.flush()
                os.fsync(file.fileno())
            if mark:
                _touch(mark)
            os.replace(beside, path)
        except BaseException:
            # It may be in place already: then what came meanwhile, as Ctrl-C does, must not get lost over this.
            with suppress(FileNotFoundError):
                os.unlink(beside)
            raise
        _sync_directory(os.path.dirname(path))
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {os.strerror(error.errno or 0).lower()}") from error
    return True


def mark_of(path: str) -> str:
    """The mark beside the file at *path* which says that who reads it has not been told of it yet."""
    path = os.path.realpath(path)
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.reload-due")


def set_mark(mark: str, *, due: bool) -> None:
    """Let *mark* be there while it is *due*. Where that fails, it stays as it is: once told too often does no harm."""
    try:
        if due:
            _touch(mark)
        else:
            os.unlink(mark)
    except OSError:
        pass


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))


def _refuse_irregular(path: str) -> None:
    """A FIFO would hold us for ever, a device be replaced. By the name as given: behind /dev/stdout may be none."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Unusable(f"{path} is no regular file")


def _read(path: str) -> tuple[bytes, os.stat_result] | None:
    try:
        with open(path, "rb") as file:
            return file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return None


def _be_like(old: os.stat_result, descriptor: int) -> None:
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError:
            pass  # only root may give files away; then it is ours, as with any editor
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
