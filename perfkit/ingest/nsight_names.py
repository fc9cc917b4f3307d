"""The names in an Nsight Systems file: the ids of its string table, and what its enumerations are called elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.ingest.distinct import distinct_rows
from perfkit.model.columns import MISSING_INT, MISSING_SMALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Names", "copy_name", "memory_kind", "without_signature"]

_SIGNATURE: Final = re.compile(rb"_v\d{4,6}\Z")
"""The CUDA version that brought a call's signature, as in ``cudaLaunchKernel_v7000``; ``_v2`` is part of a name."""

_COPY_KINDS: Final = ("", "HtoD", "DtoH", "HtoA", "AtoH", "AtoA", "AtoD", "DtoA", "DtoD", "HtoH", "PtoP")
"""CUDA_MEMCPY_KIND of the exporter, by number."""

_MANAGED_KINDS: Final = {11: "HtoD", 12: "DtoH", 13: "DtoD"}
"""Pages of unified memory that migrate."""

_MEMORY_KINDS: Final = (
    "Pageable", "Pinned", "Device", "Array", "Managed", "Device Static", "Managed Static", "Unknown",
)  # fmt: skip
"""CUDA_MEMOPR_MEMORY_KIND of the exporter, by number: one less than CUPTI's own."""


def memory_kind(number: int) -> str:
    """Name a kind of memory; empty if it is absent or not known."""
    return _MEMORY_KINDS[number] if 0 <= number < len(_MEMORY_KINDS) else ""


def copy_name(kind: int, source: int, target: int) -> tuple[str, str]:
    """Name a copy as Kineto does, from its kind and its two kinds of memory; and its kind alone, as in ``HtoD``."""
    if kind in _MANAGED_KINDS:
        return f"Memcpy {_MANAGED_KINDS[kind]} (unified memory)", _MANAGED_KINDS[kind]
    short = _COPY_KINDS[kind] if 0 <= kind < len(_COPY_KINDS) else ""
    name = f"Memcpy {short}".rstrip()
    ends = memory_kind(source), memory_kind(target)
    return (f"{name} ({ends[0]} -> {ends[1]})" if all(ends) else name), short


class Names:
    """The strings of the trace that is made: those that were read, and new ones behind them."""

    def __init__(self, strings: list[bytes], ids: NDArray[np.int64], values: NDArray[np.int32]) -> None:
        """Take what was read.

        Args:
            strings: All texts read so far.
            ids: The ids of the file's string table.
            values: Their texts, as indices into `strings`.
        """
        self.strings = strings
        self._numbers = {text: index for index, text in enumerate(strings)}
        order = np.argsort(ids, kind="stable")
        self._ids, self._values = ids[order], values[order]

    def number(self, text: bytes) -> int:
        """Return the index of a text, which is added if it is new."""
        number = self._numbers.setdefault(text, len(self.strings))
        if number == len(self.strings):
            self.strings.append(text)
        return number

    def of_ids(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the string of each id of the file's string table; `MISSING_SMALL` where it has none."""
        if not len(self._ids):
            return np.full(len(ids), MISSING_SMALL, np.int32)
        place = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        known = (self._ids[place] == ids) & (ids != MISSING_INT)
        return np.where(known, self._values[place], MISSING_SMALL).astype(np.int32)

    def translated(self, column: NDArray[np.int32], translate: Any) -> NDArray[np.int32]:
        """Replace each text of a column by what `translate` (bytes to bytes) makes of it, called once a text."""
        table = np.full(len(self.strings) + 1, MISSING_SMALL, np.int32)  # the last one is for absent texts
        clipped = np.maximum(column, -1)
        seen = np.zeros(len(table), bool)
        seen[clipped] = True
        for index in np.flatnonzero(seen[:-1]).tolist():
            table[index] = self.number(translate(self.strings[index]))
        return table[clipped]

    def of_rows(self, *numbers: NDArray[np.int64], text: Any) -> NDArray[np.int32]:
        """Return the string that `text` (integers to str) gives for each row, called once for each distinct row."""
        if not len(numbers[0]):
            return np.empty(0, np.int32)
        found, inverse = distinct_rows(numbers)
        table = [self.number(text(*row).encode()) for row in zip(*(column.tolist() for column in found), strict=True)]
        return np.array(table, np.int32)[inverse]

    def compacted(self, columns: Sequence[NDArray[np.int32]]) -> list[bytes]:
        """Renumber these columns in place so that only their strings are left; return those."""
        seen = np.zeros(len(self.strings) + 1, bool)
        for column in columns:
            np.maximum(column, -1, out=column)
            seen[column] = True
        kept = np.flatnonzero(seen[:-1])
        number = np.full(len(seen), MISSING_SMALL, np.int32)
        number[kept] = np.arange(len(kept), dtype=np.int32)
        for column in columns:
            np.take(number, column, out=column, mode="wrap")
        return [self.strings[index] for index in kept.tolist()]


def without_signature(name: bytes) -> bytes:
    """Return the name of a runtime call as it is called in a program."""
    return _SIGNATURE.sub(b"", name)
