# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
One budget of bytes for all that is kept only because it may be asked for again. What was unused for longest leaves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from peerdata import metrics


class Memory:
    """
    Who holds how much, in the order of its last use.

    Args:
        max_bytes: Of all together, by their own estimates. What was used last stays, even if it alone is over.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[Hashable, tuple[int, Callable[[], object]]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """What is held, by estimate."""
        return self._bytes

    def use(self, key: Hashable, size: int, drop: Callable[[], object]) -> None:
        """
        Note that *key* is used now and holds *size* bytes, and let others go where that is too much.

        Args:
            drop: Called when it has to leave; it must not use this memory.
        """
        self.forget(key)
        self._held[key] = size, drop
        self._bytes += size
        while self._bytes > self._max_bytes and len(self._held) > 1:
            _, (its, leave) = self._held.popitem(last=False)
            self._bytes -= its
            leave()

    def touch(self, key: Hashable, size: int) -> None:
        """The same for what is held already, at the cost of a look where its size is what it was."""
        before, drop = self._held[key]
        if before == size:
            self._held.move_to_end(key)
        else:
            self.use(key, size, drop)

    def forget(self, key: Hashable) -> None:
        """It is not held any more."""
        size, _ = self._held.pop(key, (0, None))
        self._bytes -= size

    def report(self) -> None:
        """Let the metrics know."""
        metrics.CACHED_BYTES.set(self._bytes)
