# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""A small file system of its own for one server, to be filled. It lives in memory: fsync costs nothing there."""

import os
import subprocess
import tempfile
from types import TracebackType

from .run import Run
from .user import make_directory


class SmallDisk:
    """A file system of *mebibytes*, mounted where the server *name*, made after it, will have its directory."""

    def __init__(self, run: Run, name: str, mebibytes: int) -> None:
        self.directory = run.directory / name
        self._mebibytes = mebibytes
        self._filling = self.directory / "filling"

    def __enter__(self) -> "SmallDisk":
        self.directory.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self._mebibytes}m", "tmpfs", str(self.directory)]
        subprocess.run(mount, check=True, capture_output=True)
        make_directory(self.directory)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", "--lazy", str(self.directory)], check=True)

    def fill(self) -> None:
        """Take all the space that is left."""
        with self._filling.open("ab", buffering=0) as filling:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        filling.write(bytes(size))
                except OSError:
                    pass

    def empty(self) -> None:
        """Give the space back."""
        self._filling.unlink(missing_ok=True)


def why_not() -> str:
    """Why this machine cannot mount a small file system; "" where it can."""
    if os.geteuid():
        return "mounting a small file system needs root"
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True, text=True)
        if not done.returncode:
            subprocess.run(["umount", place], check=True)
    return "" if not done.returncode else f"file systems cannot be mounted: {done.stderr.strip()}"
