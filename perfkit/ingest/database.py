"""Tables of an SQLite file as columns: no SQL, no writing, nothing that the file could make run.

Whatever the implementation, reading a table gives its rows in the order of their rowid:

- An integer column is an int64 array. What is NULL, or is stored as anything but an integer, is `MISSING_INT`.
- A text column is an int32 array of indices into `Database.strings`, UTF-8 whatever the encoding of the file. What is
  NULL, or is stored as anything but text, is `MISSING_SMALL`.
- A column that the table does not have is absent in every row; a table that is not there has no rows.

Only ordinary tables are seen: views and virtual tables are not, nor are generated columns, since reading these would
run what the author of the file wrote. Nothing raises because of the content of a page: what can be read is kept,
and the rest is a counted defect, one of

=================  ==========================================================================================
``damaged_table``  some rows of a table, or all after some, cannot be read (count: 1 a table and reading)
``wrong_type``     values that are neither NULL nor of the type asked for (count: values)
``long_text``      texts over `LONGEST_TEXT_BYTES`: cut there (count: values)
=================  ==========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from perfkit.ingest.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

__all__ = ["LONGEST_TEXT_BYTES", "MAGIC", "Database", "open_database"]

MAGIC: Final = b"SQLite format 3\0"
"""The first bytes of every SQLite file."""

LONGEST_TEXT_BYTES: Final = 1 << 20


class Database(Protocol):
    """An open SQLite file. The ``with`` statement closes it."""

    @property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The ordinary tables with the names of their columns, both as spelled in the file; a table may be empty."""

    @property
    def strings(self) -> list[bytes]:
        """The distinct texts read so far. It only grows, so that an index stays good."""

    @property
    def defects(self) -> list[tuple[str, int, str]]:
        """Kind, count and table of what was wrong so far."""

    def read(self, table: str, integers: Sequence[str] = (), texts: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
        """Read columns of a table, in one pass: all of one length, the rows of the table that can be read."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""


def open_database(path: str, progress: Callable[[int, int | None], None] | None = None, *, label: str = "") -> Database:
    """Open an SQLite file as it lies on disk: read-only, and no journal beside it is looked at or made.

    Args:
        path: Where it lies.
        label: What messages call it, if not by its path.
        progress: Called some ten times a second, while a table is read, with the bytes read so far and in total, which
            may be estimates.

    Raises:
        UnreadableTraceError: It cannot be opened, or is no SQLite database that can be understood.
        UsageError: PERFKIT_SCANNER is wrong.
    """
    if compiled() is None:
        from perfkit.ingest import _database_twin

        return _database_twin.Database(path, progress, label or path)
    from perfkit.ingest import _database_native

    return _database_native.Database(path, progress, label or path)
