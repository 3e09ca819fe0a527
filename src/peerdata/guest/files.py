# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Files that others read: replaced whole or not at all, and only when what they say has changed.
"""

from __future__ import annotations

import os
import stat

from peerdata.guest.errors import Unusable


def write_if_changed(path: str, text: str) -> bool:
    """
    Let the file at *path* hold *text*; returns whether it did not before.

    A reader sees the old file or the new one, after a power cut too. Mode and owner of the old one are kept; a new one
    gets those of any new file. Through a symbolic link, the file it leads to is replaced.

    Raises:
        Unusable: it cannot be written; the old one is as it was.
    """
    path = os.path.realpath(path)
    wanted = text.encode("utf-8")
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.new")
    try:
        before = _read(path)
        if before is not None and before[0] == wanted:
            return False
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if before is not None:
                    _be_like(before[1], file.fileno())
                file.write(wanted)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            os.unlink(beside)
            raise
        _sync_directory(os.path.dirname(path))
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {os.strerror(error.errno or 0).lower()}") from error
    return True


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
