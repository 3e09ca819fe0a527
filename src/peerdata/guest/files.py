# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Replaces files that other programs read: as a whole or not at all, and only if their content changes.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from peerdata.guest.errors import Unusable


def write_if_changed(path: str, text: str, *, mark: str = "") -> bool:
    """
    Make *text* the content of the file at *path*, if it is not already.

    A reader sees the old file or the new one, even after a power cut. Mode and owner of the old file are kept; a new
    file gets the usual ones. If *path* is a symbolic link, its target is replaced.

    Args:
        mark: See `mark_of`. It is created before the file is replaced, so that it exists even if we are killed between
            the two.

    Returns:
        Whether the content changed.

    Raises:
        Unusable: the file cannot be written, or is not a regular file (a device, a FIFO); it is unchanged.
    """
    given, path = path, os.path.realpath(path)
    wanted = text.encode("utf-8")
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.new")
    try:
        _refuse_irregular(given)
        before = _read(path)
        if before is not None and before[0] == wanted:
            return False
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # left by a killed process with our process id
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if before is not None:
                    _copy_owner_and_mode(before[1], file.fileno())
                file.write(wanted)
                file.flush()
                os.fsync(file.fileno())
            if mark:
                _touch(mark)
            os.replace(temporary, path)
        except BaseException:
            # If the file has been replaced already, this must not hide what interrupted us, such as Ctrl-C.
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        _sync_directory(os.path.dirname(path))
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {os.strerror(error.errno or 0).lower()}") from error
    return True


def mark_of(path: str) -> str:
    """The name of the empty file next to *path* that exists while a reload of its new content is due."""
    path = os.path.realpath(path)
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.reload-due")


def set_mark(mark: str, *, due: bool) -> None:
    """Create or remove *mark*. If that fails, it stays as it is: one reload too many does no harm."""
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
    """A FIFO would block us, and a device be replaced. *path* is not resolved: /dev/stdout may lead to no name."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Unusable(f"{path} is not a regular file")


def _read(path: str) -> tuple[bytes, os.stat_result] | None:
    try:
        with open(path, "rb") as file:
            return file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return None


def _copy_owner_and_mode(old: os.stat_result, descriptor: int) -> None:
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError:
            pass  # only root may change the owner; the file becomes ours, as with any editor
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
