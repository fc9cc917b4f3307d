"""From the raw text of a JSON value to a cell of a column, by kind; and which keys lead to which column."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from perfkit.ingest._twin_text import ARRAY, HUGE, SPACE, STRING, parse_number, unescape

__all__ = ["PHASE_SLOT", "TEXT_KINDS", "WIDE_KINDS", "Cell", "Cells", "ColumnSpec", "Slots", "fill", "read_text"]

Cell = int | bytes
"""A number, or a string that is yet to get its number in the string table."""

Cells = dict[int, Any]
"""Cells by slot, the number of their column. `Any` is `Cell`: which of the two it is, the kind of the column says."""

ColumnSpec = tuple[str, str, tuple[str, ...], str]
"""Name, kind, keys and place of a `perfkit.model.columns.Column`."""

PHASE_SLOT: Final = -1
"""The slot of `ph`, which is not a column."""

WIDE_KINDS: Final = ("time", "int")
TEXT_KINDS: Final = ("text", "json", "key")

# No number of so many characters leaves its column, whatever its digits.
_SAFE_FRACTION: Final = len("-9999999999999.999")
_SAFE_MICROSECONDS: Final = 15
_SAFE_INT: Final = 18
_SAFE_SMALL: Final = 9

_INT_LIMIT: Final = 2**63 - 1
_SMALL_LIMIT: Final = 2**31 - 1
_SMALL_RANGE: Final = 2**32
_KEY_HAZARD: Final = re.compile(rb'[\x00-\x20,:\[\]{}]|.*["\\]', re.DOTALL)


def _read_number(raw: bytes, shift: int, limit: int) -> int | None:
    value = parse_number(raw[1:-1].strip(b" \t\r\n") if raw.startswith(b'"') else raw, shift)
    return value if value is None or -limit <= value <= limit else HUGE


def _read_time(raw: bytes) -> int | None:
    if len(raw) <= _SAFE_FRACTION and raw[-4:-3] == b".":
        try:
            return int(raw[:-4] + raw[-3:])
        except ValueError:
            return _read_number(raw, 3, _INT_LIMIT)  # such as 1.5e6
    if len(raw) <= _SAFE_MICROSECONDS and raw.isdigit():
        return int(raw) * 1000
    return _read_number(raw, 3, _INT_LIMIT)


def _read_int(raw: bytes) -> int | None:
    return int(raw) if len(raw) <= _SAFE_INT and raw.isdigit() else _read_number(raw, 0, _INT_LIMIT)


def _read_small(raw: bytes) -> int | None:
    if len(raw) <= _SAFE_SMALL and raw.isdigit():
        return int(raw)
    value = _read_number(raw, 0, _SMALL_RANGE - 1)
    if value is None or abs(value) <= _SMALL_LIMIT:
        return value
    # Exporters write unsigned ids: a stream of 4294967295 means -1, and 2**31 the value that stands for "missing".
    if not _SMALL_LIMIT < value < _SMALL_RANGE:
        return HUGE
    return value - _SMALL_RANGE if value > _SMALL_LIMIT + 1 else None


def read_text(raw: bytes) -> bytes | None:
    """The content of a string; None for any other value."""
    return unescape(raw[1:-1]) if raw.startswith(b'"') else None


def _read_json(raw: bytes) -> bytes | None:
    return None if raw == b"null" else raw


def _read_key(raw: bytes) -> bytes | None:
    if raw.startswith(b'"'):
        return unescape(raw[1:-1])
    return None if raw == b"null" or raw.startswith((b"[", b"{")) else raw


Reader = Callable[[bytes], Cell | None]
"""Takes the raw text of a string, literal, array or object; gives a cell, None if it is missing, or `HUGE`."""

_READERS: Final[dict[str, Reader]] = {
    "time": _read_time,
    "int": _read_int,
    "small": _read_small,
    "text": read_text,
    "json": _read_json,
    "key": _read_key,
}


class Slots:
    """The wanted columns by number, and for each place the keys that lead to them."""

    def __init__(self, columns: Sequence[ColumnSpec]) -> None:
        """Number `columns` in their order.

        Raises:
            ValueError: a kind or place is unknown, or a name or key is there twice.
        """
        self.names: list[str] = []
        self.kinds: list[str] = []
        self.by_key: dict[str, dict[bytes, tuple[int, Reader]]] = {
            "event": {b"ph": (PHASE_SLOT, read_text)},
            "args": {},
        }
        for slot, (name, kind, keys, place) in enumerate(columns):
            if kind not in _READERS or place not in self.by_key or name in self.names:
                raise ValueError(f"not a column, or one named twice: {name!r} ({kind!r} in {place!r})")
            self.names.append(name)
            self.kinds.append(kind)
            for key in map(str.encode, keys):
                if key in self.by_key[place]:
                    raise ValueError(f"the key {key!r} of {name!r} is taken")
                self.by_key[place][key] = (slot, _READERS[kind])

    def find(self, name: str) -> int | None:
        """The number of the column `name`, None if it is not wanted."""
        return self.names.index(name) if name in self.names else None

    def picker(self, place: str) -> Callable[..., list[tuple[bytes, bytes]]] | None:
        """What finds the (key, raw value) pairs wanted of `place` in a plain event; None if a key could be mistaken.

        There, a quoted key with a colon after it can be nothing else: quotes within a string follow a backslash.
        """
        keys = self.by_key[place]
        if any(map(_KEY_HAZARD.match, keys)):
            return None
        alternatives = rb"|".join(map(re.escape, keys)) or rb"(?!)"
        value = rb"(" + STRING + rb"|" + ARRAY + rb'|[^"\[{,}\] \t\r\n]++)'
        return re.compile(rb'(?<!\\)"(' + alternatives + rb')"' + SPACE + rb":" + SPACE + value).findall


def fill(cells: Cells, pairs: Iterable[tuple[bytes, bytes]], keys: dict[bytes, tuple[int, Reader]]) -> bool:
    """Put the cells of `pairs`, whose keys are all in `keys`, into `cells`; False if one is out of range."""
    for key, raw in pairs:
        slot, reader = keys[key]
        cell = reader(raw)
        if cell is HUGE:
            return False
        if cell is not None:
            cells[slot] = cell
    return True
