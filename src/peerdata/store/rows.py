# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Many rows by one statement, whose SQL is compiled once.

To build a statement costs SQLAlchemy four times what it costs SQLite to answer it, and to make parameters by it costs
more than the rest of a row; ours are plain values of which no type wants anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Table, Update, insert


def insert_all(connection: Connection, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert *rows*, each with a value for every column of *table*, in its order."""
    # One INSERT for many rows was measured on SQLite: no cheaper, as each number of rows is a statement of its own.
    sql, names = _compile_insert(table, connection.dialect)
    parameters: Any = [dict(zip(names, row, strict=True)) for row in rows] if names else list(rows)
    connection.exec_driver_sql(sql, parameters)


def execute_all(connection: Connection, statement: Insert | Update, rows: Sequence[Mapping[str, object]]) -> None:
    """Execute *statement* for each of *rows*, which have the same names."""
    sql, in_order = _compile(statement, connection.dialect, tuple(rows[0]))
    parameters: Any = [in_order(row) for row in rows] if in_order else rows
    connection.exec_driver_sql(sql, parameters)


def select_for(
    connection: Connection, statement_for: Callable[[int], Any], wanted: Sequence[Sequence[str]]
) -> Sequence[Any]:
    """
    The rows for *wanted*, which is not empty.

    Args:
        statement_for: Gives the statement for so many of them, a power of two. Its parameters are ``p0``, ``p1`` and so
            on, in the order of the values in *wanted*.
    """
    # A statement for each power of two is enough; the last one fills what is left over.
    number = 1 << (len(wanted) - 1).bit_length()
    values = [value for one in wanted for value in one]
    values += [*wanted[-1]] * (number - len(wanted))
    sql, parameters = _compile_select(statement_for, number, len(values), connection.dialect)
    return connection.exec_driver_sql(sql, parameters(values)).all()


_Parameters = Callable[[Sequence[object]], Any]
"""Makes the driver's parameters of values in order."""


@lru_cache
def _compile(
    statement: Insert | Update, dialect: Dialect, columns: tuple[str, ...]
) -> tuple[str, Callable[[Mapping[str, object]], tuple[object, ...]] | None]:
    """Its SQL, and how that wants a row where the driver counts parameters instead of naming them."""
    compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
    return str(compiled), itemgetter(*compiled.positiontup) if compiled.positional else None


@lru_cache
def _compile_insert(table: Table, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """Its SQL, and how its parameters are called where the driver does not count them."""
    compiled: Any = insert(table).compile(dialect=dialect)
    names = tuple(table.columns.keys())
    if not compiled.positional:
        return str(compiled), names
    assert tuple(compiled.positiontup) == names
    return str(compiled), ()


@lru_cache
def _compile_select(
    statement_for: Callable[[int], Any], number: int, width: int, dialect: Dialect
) -> tuple[str, _Parameters]:
    compiled: Any = statement_for(number).compile(dialect=dialect)
    names = [f"p{place}" for place in range(width)]
    if not compiled.positional:
        return str(compiled), lambda values: dict(zip(names, values, strict=True))
    assert list(compiled.positiontup) == names
    return str(compiled), tuple
