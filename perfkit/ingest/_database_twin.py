"""Tables of an SQLite file as columns, through the sqlite3 of Python's library."""

from __future__ import annotations

import time
from collections import Counter
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.errors import UnreadableTraceError
from perfkit.ingest.database import LONGEST_TEXT_BYTES
from perfkit.model.columns import MISSING_INT, MISSING_SMALL

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

__all__ = ["Database"]

_BATCH_ROWS: Final = 1 << 14
_PROGRESS_S: Final = 0.1

_VALUE_BYTES: Final = 4
"""What an integer of a trace takes in a file, about; only for progress."""

_TABLES: Final = """
    SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c
    WHERE m.type = 'table' AND m.rootpage > 0 ORDER BY m.rootpage, c.cid
"""
"""A virtual table has no root page; `table_info` leaves out generated columns."""


class Database:
    """An SQLite file read with the standard library, as `perfkit.ingest.database` has it."""

    def __init__(self, path: str, progress: Callable[[int, int | None], None] | None, label: str) -> None:
        """Open the file, which messages call by its label, and read which tables there are."""
        self._label = label
        self._progress = progress
        self._told = time.monotonic()
        self._read_bytes = 0
        self._numbers: dict[bytes, int] = {}
        self._defects: Counter[tuple[str, str]] = Counter()
        self._connection = _connect(path, label)
        try:
            self.tables = self._list_tables()
            self._size_bytes = Path(path).stat().st_size
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def strings(self) -> list[bytes]:
        """The distinct texts read so far."""
        return list(self._numbers)

    @property
    def defects(self) -> list[tuple[str, int, str]]:
        """Kind, count and table of what was wrong so far."""
        return [(kind, count, table) for (kind, table), count in self._defects.items() if count]

    def read(self, table: str, integers: Sequence[str] = (), texts: Sequence[str] = ()) -> Columns:
        """Read columns of a table, in one pass."""
        present = self.tables.get(table, ())
        here = [column for column in dict.fromkeys(integers) if column in present]
        texts_here = [column for column in dict.fromkeys(texts) if column in present]
        rows, found = self._read(table, here, texts_here) if present else (0, {})
        absent = {column: np.full(rows, MISSING_INT, np.int64) for column in integers if column not in present}
        absent |= {column: np.full(rows, MISSING_SMALL, np.int32) for column in texts if column not in present}
        return found | absent

    def _list_tables(self) -> dict[str, tuple[str, ...]]:
        import sqlite3

        found: dict[str, list[str]] = {}
        try:
            for table, column in self._connection.execute(_TABLES):
                # A name with U+FFFD would be another one: SQLite takes quoted names that it does not know for texts.
                if _is_utf8(table) and _is_utf8(column):
                    found.setdefault(table.decode(), []).append(column.decode())
        except (sqlite3.Error, UnicodeError) as error:
            raise _unreadable(self._label, error) from error
        return {table: tuple(columns) for table, columns in found.items() if not table.startswith("sqlite_")}

    def _read(self, table: str, integers: list[str], texts: list[str]) -> tuple[int, Columns]:
        """Read columns that are there; return the number of rows too."""
        values = [f"CASE typeof({_quoted(name)}) WHEN 'integer' THEN {_quoted(name)} END" for name in integers]
        values = [f"ifnull({value}, {MISSING_INT})" for value in values] or ["0"]  # a row has at least one value
        values += [f"CASE typeof({_quoted(name)}) WHEN 'text' THEN {_quoted(name)} END" for name in texts]
        parts: list[list[NDArray[Any]]] = []
        rows = 0
        width = max(1, len(integers))
        for batch in self._batches(table, f"SELECT {', '.join(values)} FROM {_quoted(table)} NOT INDEXED"):
            rows += len(batch)
            numbers = batch if not texts else [row[:width] for row in batch]
            matrix = np.fromiter(chain.from_iterable(numbers), np.int64, len(batch) * width).reshape(-1, width)
            parts.append([np.ascontiguousarray(matrix[:, place]) for place in range(len(integers))])
            if texts:
                columns = islice(zip(*batch, strict=True), width, None)
                parts[-1] += [self._numbered(table, column) for column in columns]
            self._tell(len(batch) * len(self.tables[table]) * _VALUE_BYTES)
        found: Columns = {}
        for place, name in enumerate((*integers, *texts)):
            dtype = np.int64 if place < len(integers) else np.int32
            found[name] = np.concatenate([part[place] for part in parts]) if parts else np.empty(0, dtype)
            for part in parts:
                part[place] = found[name][:0]  # lets go of the piece
            self._count_wrong(table, name, "integer" if place < len(integers) else "text", found[name])
        return rows, found

    def _batches(self, table: str, query: str) -> Iterator[list[Any]]:
        """Yield the rows of a query, many at a time, until they end or a page is damaged."""
        import sqlite3

        damaged = False
        rows: Iterator[Any] = iter(())
        try:
            rows = iter(self._connection.execute(query))
        except (sqlite3.Error, UnicodeError):
            damaged = True
        while not damaged:
            batch: list[Any] = []
            try:
                batch.extend(islice(rows, _BATCH_ROWS))  # of an iterator that fails, what it gave before stays
            except (sqlite3.Error, UnicodeError):
                damaged = True
            if batch:
                yield batch
            elif not damaged:
                return
        self._defects["damaged_table", table] += 1

    def _numbered(self, table: str, column: tuple[bytes | None, ...]) -> NDArray[np.int32]:
        """Return the index of each text, after giving the new ones theirs."""
        numbers = self._numbers
        distinct = dict.fromkeys(column)
        if any(text is not None and len(text) > LONGEST_TEXT_BYTES for text in distinct):
            self._defects["long_text", table] += sum(
                text is not None and len(text) > LONGEST_TEXT_BYTES for text in column
            )
            column = tuple(text and text[:LONGEST_TEXT_BYTES] for text in column)
            distinct = dict.fromkeys(column)
        for text in distinct:
            if text is not None and text not in numbers:
                numbers[text] = self._new_number(text)
        return np.array([numbers.get(text, MISSING_SMALL) for text in column], np.int32)  # type: ignore[arg-type]

    def _new_number(self, text: bytes) -> int:
        return len(self._numbers)

    def _count_wrong(self, table: str, column: str, kind: str, values: NDArray[Any]) -> None:
        """Count the values that are there, but of another type: only where some came out as absent."""
        import sqlite3

        missing = MISSING_INT if kind == "integer" else MISSING_SMALL
        if not (values == missing).any():
            return
        query = f"SELECT count(*) FROM {_quoted(table)} NOT INDEXED WHERE typeof({_quoted(column)}) NOT IN ('null', ?)"
        try:
            ((count,),) = self._connection.execute(query, (kind,)).fetchall()
        except (sqlite3.Error, UnicodeError):  # counted as damaged already
            return
        self._defects["wrong_type", table] += count

    def _tell(self, more_bytes: int) -> None:
        self._read_bytes = min(self._read_bytes + more_bytes, self._size_bytes)
        if self._progress is not None and time.monotonic() - self._told >= _PROGRESS_S:
            self._told = time.monotonic()
            self._progress(self._read_bytes, self._size_bytes)


def _connect(path: str, label: str) -> sqlite3.Connection:
    """Open a file for reading only; immutable: no lock, and no journal is looked for or made."""
    try:
        import sqlite3
    except ImportError as error:
        message = f"{label} is an SQLite database, and this Python was built without sqlite3: install one that has it"
        raise UnreadableTraceError(message) from error
    try:
        connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as error:
        raise _unreadable(label, error) from error
    connection.text_factory = bytes
    return connection


def _unreadable(label: str, error: sqlite3.Error | UnicodeError) -> UnreadableTraceError:
    reason = "its table of tables is damaged" if isinstance(error, UnicodeError) else error
    return UnreadableTraceError(f"{label} cannot be read as an SQLite database ({reason}): export or copy it again")


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeError:
        return False
    return True


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
