"""What a scan collects: the columns of the rows in chunks, the string table, and the defects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.columns import MISSING_INT, MISSING_SMALL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["CHUNK_ROWS", "ColumnChunks", "Defects", "Strings"]

CHUNK_ROWS: Final = 1 << 16


class ColumnChunks:
    """One column under construction: `values` and the `rows` they belong to, packed into an array per chunk of rows.

    A chunk without a value takes no memory.
    """

    __slots__ = ("_chunks", "_dtype", "_missing", "rows", "values")

    def __init__(self, *, wide: bool) -> None:
        self._dtype: type[np.int64 | np.int32] = np.int64 if wide else np.int32
        self._missing = MISSING_INT if wide else MISSING_SMALL
        self._chunks: list[NDArray[np.int64 | np.int32] | None] = []
        self.rows: list[int] = []
        """Rows within the current chunk, ascending."""
        self.values: list[int] = []

    def close_chunk(self, length: int) -> None:
        """Pack what was collected into a chunk of `length` rows."""
        if not self.values:
            self._chunks.append(None)
            return
        chunk = np.full(length, self._missing, self._dtype)
        chunk[self.rows] = self.values
        self._chunks.append(chunk)
        self.rows.clear()
        self.values.clear()

    def join(self, total: int) -> NDArray[np.int64 | np.int32]:
        """The whole column of `total` rows; each chunk is freed as it is copied."""
        column = np.full(total, self._missing, self._dtype)
        for index, chunk in enumerate(self._chunks):
            if chunk is not None:
                column[index * CHUNK_ROWS : index * CHUNK_ROWS + len(chunk)] = chunk
                self._chunks[index] = None
        return column


class Strings:
    """A table of distinct byte strings, numbered in the order they come."""

    __slots__ = ("ids", "invalid")

    def __init__(self) -> None:
        self.ids: dict[bytes, int] = {}
        self.invalid: set[int] = set()
        """Numbers of the strings that are not valid UTF-8."""

    def add(self, text: bytes) -> int:
        """The number of `text`."""
        number = self.ids.get(text)
        if number is None:
            number = self.ids[text] = len(self.ids)
            if not text.isascii():
                try:
                    text.decode()
                except UnicodeDecodeError:
                    self.invalid.add(number)
        return number


class Defects:
    """Faults by kind: how many, and the offset in bytes of the first."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int]] = {}

    def note(self, kind: str, offset: int) -> None:
        """Count one fault of `kind` at `offset`."""
        count, first = self._found.get(kind, (0, offset))
        self._found[kind] = (count + 1, min(first, offset))

    def note_all(self, faults: Iterable[tuple[str, int]]) -> None:
        """Count each of `faults`."""
        for kind, offset in faults:
            self.note(kind, offset)

    def has(self, kind: str) -> bool:
        """Whether a fault of `kind` was noted."""
        return kind in self._found

    def listed(self) -> list[tuple[str, int, int]]:
        """(kind, count, first offset), by first offset, then kind."""
        return sorted(((k, n, first) for k, (n, first) in self._found.items()), key=lambda d: (d[2], d[0]))
