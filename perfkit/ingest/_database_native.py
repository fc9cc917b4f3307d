"""Tables of an SQLite file as columns, by the compiled reader of its pages.

SQLite itself says which tables and columns there are. A table that is stored in a way that the reader leaves alone is
read by the twin: one WITHOUT ROWID, texts in UTF-16, a column whose values are not in the file as they are meant.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from perfkit.errors import UnreadableTraceError
from perfkit.ingest import _database_twin, _scan
from perfkit.ingest._database_rescue import rescue
from perfkit.ingest.database import LONGEST_TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

__all__ = ["Database"]

_PAGES: Final = 1024
"""Pages between two looks at the clock; fewer than a tenth of a second's, even of the largest."""

_COLUMNS: Final = """
    SELECT c.name, c.type, c.dflt_value IS NOT NULL, c.pk, c.hidden, m.rootpage
    FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS c
    WHERE m.type = 'table' AND m.rootpage > 0 AND m.name = CAST(? AS TEXT) ORDER BY c.cid
"""

_KEY_INDEXES: Final = "SELECT count(*) FROM pragma_index_list(CAST(? AS TEXT)) WHERE origin = 'pk'"

_VIRTUAL: Final = 2
"""What ``hidden`` is for a generated column that is not stored."""


class _Place(NamedTuple):
    """Where the values of a column are stored."""

    number: int
    kind: Literal["int", "rowid"]
    plain: bool
    """Whether they are stored as they are read: not with another default, not as a number of another type."""


class Database(_database_twin.Database):
    """An SQLite file read page by page, as `perfkit.ingest.database` has it."""

    def __init__(self, path: str, progress: Callable[[int, int | None], None] | None, label: str) -> None:
        """Open the file, which messages call by its label, and read which tables there are."""
        self._texts = _scan.Texts()
        self._rescued_roots: dict[str, int] = {}
        try:
            self._file = Path(path).open("rb")  # noqa: SIM115  closed on leaving
        except OSError as error:
            message = f"{label} cannot be opened: {error.strerror or error}"
            raise UnreadableTraceError(message) from error
        try:
            super().__init__(path, progress, label)
        except BaseException:
            self._file.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()
        super().__exit__(kind, error, traceback)

    @property
    def strings(self) -> list[bytes]:
        """The distinct texts read so far."""
        return self._texts.strings

    def _list_tables(self) -> dict[str, tuple[str, ...]]:
        try:
            return super()._list_tables()
        except UnreadableTraceError:
            rescued = rescue(self._file.fileno())
            if not rescued.roots:
                rescued.connection.close()
                raise
        self._connection.close()
        self._connection, self._rescued_roots = rescued.connection, rescued.roots
        self._defects["damaged_table", "sqlite_schema"] += rescued.damaged
        return {table: columns for table, columns in super()._list_tables().items() if table in rescued.roots}

    def _read(self, table: str, integers: list[str], texts: list[str]) -> tuple[int, Columns]:
        """Read columns that are there; return the number of rows too."""
        root, places = self._places(table)
        wanted = [places.get(name) for name in (*integers, *texts)]
        asked = [place for place in wanted if place is not None and place.plain]
        repeated = len({place.number for place in asked}) < len(asked)
        keys_as_text = any(place.kind == "rowid" for place in asked[len(integers) :])
        if len(asked) < len(wanted) or repeated or keys_as_text:
            return self._read_with_twin(table, integers, texts)
        columns: list[tuple[int, str]] = [(place.number, place.kind) for place in asked[: len(integers)]]
        columns += [(place.number, "text") for place in asked[len(integers) :]]
        reader = _scan.Table(self._file.fileno(), root, columns, self._texts, LONGEST_TEXT_BYTES)
        if not reader.readable:
            return self._read_with_twin(table, integers, texts)
        told = 0
        while reader.read(_PAGES):
            self._tell(reader.bytes_read - told)
            told = reader.bytes_read
        self._tell(reader.bytes_read - told)
        self._defects += Counter(
            {
                ("damaged_table", table): int(reader.broken_rows + reader.broken_pages > 0),
                ("wrong_type", table): reader.wrong_types,
                ("long_text", table): reader.long_texts,
            }
        )
        return reader.rows, {name: reader.column(number) for number, name in enumerate((*integers, *texts))}

    def _read_with_twin(self, table: str, integers: list[str], texts: list[str]) -> tuple[int, Columns]:
        self._defects["damaged_table", table] += table in self._rescued_roots  # the twin sees none of its rows
        return super()._read(table, integers, texts)

    def _places(self, table: str) -> tuple[int, dict[str, _Place]]:
        """Say on which page a table begins, and where the values of its columns are in each row."""
        import sqlite3

        places: dict[str, _Place] = {}
        root = number = 0
        try:
            columns = self._connection.execute(_COLUMNS, (table,)).fetchall()
            ((key_indexes,),) = self._connection.execute(_KEY_INDEXES, (table,)).fetchall()
        except (sqlite3.Error, UnicodeError):
            return 0, {}
        keys = sum(key > 0 for _, _, _, key, _, _ in columns)
        for name, declared, has_default, key, hidden, root in columns:  # noqa: B007  the same in each row
            # Only this spelling makes a column another name of the rowid, and not if the key has an index of its own.
            is_rowid = key == keys == 1 and declared.upper() == b"INTEGER" and not key_indexes
            plain = not has_default and not _is_real(declared)
            places[name.decode("utf-8", "surrogateescape")] = _Place(number, "rowid" if is_rowid else "int", plain)
            number += hidden != _VIRTUAL
        return self._rescued_roots.get(table, root), places

    def _new_number(self, text: bytes) -> int:
        return self._texts.add(text)


def _is_real(declared: bytes) -> bool:
    """Tell whether whole numbers in a column declared so are read as real ones (SQLite's rules of affinity)."""
    name = declared.upper()
    others = (b"INT", b"CHAR", b"CLOB", b"TEXT", b"BLOB")
    return not any(part in name for part in others) and any(part in name for part in (b"REAL", b"FLOA", b"DOUB"))
