# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The memory that clients hold by being slow: requests that are not whole, and answers that are not read.

Each connection alone is bounded; thousands of them together are bounded here. Only connections that hold something
are entered, so a request that comes in one piece, and an answer that goes out at once, cost nothing. No I/O; time is
handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

INCOMING: Final = "incoming_bytes"
UNWRITTEN: Final = "unwritten_bytes"

KEPT: Final = 0.75
"""How much of a limit is left after connections were closed for it, so that it is not met again with the next byte."""


class Holder(Protocol):
    """What holds memory: a connection."""

    def drop(self, reason: str) -> None:
        """Close at once, and count it under *reason*."""


@dataclass(slots=True)
class _Partial:
    """What a connection has sent of requests that are not begun to be answered."""

    size: int
    since: float


class Incoming:
    """
    Bytes of requests that were read and are not handed to a handler yet, of all connections of a server.

    Args:
        limit: In bytes.

    Attributes:
        total: What all hold, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[Holder, _Partial] = {}
        self.total = 0

    def hold(self, holder: Holder, size: int, now: float) -> None:
        """*holder* now holds *size* bytes; over the limit connections are dropped, this one perhaps among them."""
        held = self._held.get(holder)
        if held is None:
            self._held[holder] = _Partial(size, now)
            self.total += size
        else:
            self.total += size - held.size
            held.size = size
        if self.total > self._limit:
            self._shed(now)

    def release(self, holder: Holder) -> None:
        """*holder* holds nothing."""
        held = self._held.pop(holder, None)
        if held is not None:
            self.total -= held.size

    def _shed(self, now: float) -> None:
        """Drop who has held the most for the longest. Whoever just began, and sends quickly, comes last."""

        def weight(entry: tuple[Holder, _Partial]) -> tuple[float, int]:
            held = entry[1]
            return held.size * (now - held.since), held.size

        for holder, _ in sorted(self._held.items(), key=weight, reverse=True):
            if self.total <= self._limit * KEPT:
                break
            self.release(holder)
            holder.drop(INCOMING)


@dataclass(slots=True)
class _Reader:
    """A connection whose client has not read all of its answers."""

    account: str
    since: float
    size: int = 0
    pieces: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Account:
    """What all slow readers of one account hold."""

    total: int = 0
    holders_of_piece: dict[int, int] = field(default_factory=dict)  # by id; their readers keep it alive


class Unwritten:
    """
    Bytes of answers that wait for their readers, by account.

    A long body is one object, however many connections write it. It counts once, so that a project whose thousand
    members read the same list at the same moment is not taken for one that hoards.

    Args:
        limit: Of all accounts together, in bytes.
        limit_of_account: Of each.

    Attributes:
        total: What all hold, in bytes.
    """

    def __init__(self, limit: int, limit_of_account: int) -> None:
        self._limit = limit
        self._limit_of_account = limit_of_account
        self._accounts: dict[str, _Account] = {}
        self._readers: dict[Holder, _Reader] = {}
        self.total = 0

    def __bool__(self) -> bool:
        """Whether anybody is slow."""
        return bool(self._readers)

    def hold(self, holder: Holder, size: int, now: float, account: str, pieces: Iterable[bytes] = ()) -> bool:
        """
        *holder* has *size* bytes unwritten.

        Args:
            account: Of the last answer.
            pieces: Long bodies that it holds besides those of before, and that others may hold too.

        Returns:
            Whether a limit is passed, so that `shed` is due.
        """
        if not size:
            self.release(holder)
            return False
        reader = self._readers.get(holder)
        if reader is None:
            reader = self._readers[holder] = _Reader(account, now)
        else:
            self._change(reader, -1)
            reader.account = account
        reader.size = size
        reader.pieces += pieces
        self._change(reader, +1)
        return self.total > self._limit or self._is_over(reader.account)

    def _is_over(self, account: str) -> bool:
        """Whether one account holds too much; what is of none, which is passed on, has the limit of all alone."""
        return bool(account) and self._accounts[account].total > self._limit_of_account

    def release(self, holder: Holder) -> None:
        """*holder* has nothing unwritten."""
        reader = self._readers.pop(holder, None)
        if reader is not None:
            self._change(reader, -1)

    def shed(self) -> None:
        """Drop the slowest readers of each account that is over its limit; then those of the fullest accounts."""
        over = [name for name in self._accounts if self._is_over(name)]
        for name in over:
            self._shed(name, self._limit_of_account)
        if self.total > self._limit:
            enough = self._limit * KEPT
            while self.total > enough:
                fullest = max(self._accounts, key=lambda name: self._accounts[name].total)
                self._shed(fullest, self._accounts[fullest].total - (self.total - enough))

    def _shed(self, name: str, limit: float) -> None:
        """Drop slow readers of one account until it holds *limit* bytes at most; the slowest first, at least one."""
        account = self._accounts[name]
        of_account = [(reader.since, holder) for holder, reader in self._readers.items() if reader.account == name]
        for _, holder in sorted(of_account, key=lambda entry: entry[0]):
            self.release(holder)
            holder.drop(UNWRITTEN)
            if account.total <= limit:
                break

    def _change(self, reader: _Reader, sign: int) -> None:
        """Add what *reader* holds to its account and to the total, or take it away."""
        account = self._accounts.setdefault(reader.account, _Account())
        before = account.total
        account.total += sign * max(0, reader.size - sum(map(len, reader.pieces)))
        holders = account.holders_of_piece
        for piece in reader.pieces:
            number = holders.get(id(piece), 0)
            if number == (0 if sign > 0 else 1):
                account.total += sign * len(piece)
            if number + sign:
                holders[id(piece)] = number + sign
            else:
                del holders[id(piece)]
        self.total += account.total - before
        if not (account.total or holders):
            del self._accounts[reader.account]
