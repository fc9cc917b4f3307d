"""Which tables a database has that SQLite refuses as a whole: one that breaks off, or whose list of tables is damaged.

The list is read page by page. What its entries say of columns is told by SQLite, in a database in memory that holds
the same tables without rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.ingest import _scan
from perfkit.ingest.database import LONGEST_TEXT_BYTES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

__all__ = ["Rescued", "rescue"]

_LIST_PAGE: Final = 1
_LIST_COLUMNS: Final = ((0, "text"), (1, "text"), (3, "int"), (4, "text"))
"""Type, name, first page and text of each entry."""

_PAGES: Final = 1 << 12


class Rescued(NamedTuple):
    """What is left of a list of tables."""

    connection: sqlite3.Connection
    """To a database in memory with tables of the same names and columns."""
    roots: dict[str, int]
    """The first page of each table in the file."""
    damaged: bool
    """Whether entries are missing."""


def rescue(file: int) -> Rescued:
    """Read the tables of the open file with this descriptor."""
    import sqlite3

    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.text_factory = bytes
    connection.set_authorizer(_allowed)
    roots: dict[str, int] = {}
    texts = _scan.Texts()
    entries = _scan.Table(file, _LIST_PAGE, _LIST_COLUMNS, texts, LONGEST_TEXT_BYTES)
    while entries.read(_PAGES):
        pass
    damaged = entries.broken_rows + entries.broken_pages > 0
    for name, root, text in _tables(entries, texts.strings):
        try:
            connection.execute(text)
        except (sqlite3.Error, sqlite3.Warning, ValueError):  # no single statement, or one with a NUL
            damaged = True
        else:
            roots[name] = root
    connection.set_authorizer(None)
    return Rescued(connection, roots, damaged)


def _tables(entries: _scan.Table, strings: list[bytes]) -> Iterator[tuple[str, int, str]]:
    """Yield name, first page and text of each entry that is one of an ordinary table."""
    for kind, name, root, text in zip(*(entries.column(place).tolist() for place in range(4)), strict=True):
        if min(kind, name, text) < 0 or strings[kind] != b"table" or root <= 0 or strings[name].startswith(b"sqlite_"):
            continue
        statement = strings[text].decode("utf-8", "replace")
        if statement[:13].upper() == "CREATE TABLE ":
            yield strings[name].decode("utf-8", "replace"), root, statement


def _allowed(action: int, *_: str | None) -> int:
    """Let tables be made, and nothing be asked: no CREATE TABLE AS SELECT, which could run for ever."""
    import sqlite3

    making = (
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_REINDEX,
    )
    return sqlite3.SQLITE_OK if action in making else sqlite3.SQLITE_DENY
