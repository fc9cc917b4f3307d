"""One event: from its text to a row of cells, a metadata entry, or just a count.

Nearly every event is plain: one pattern matches it whole and two more pick the wanted members out of it. All others,
faulty ones included, are walked through byte by byte by `EventText`, with the same outcome for plain ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from perfkit.ingest._scan_table import CHUNK_ROWS, ColumnChunks, Defects, Strings
from perfkit.ingest._scan_text import (
    ARRAY,
    HUGE,
    LITERAL,
    SPACE,
    STRING,
    BrokenTextError,
    ValueWalk,
    parse_number,
    unescape,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["EventReader", "IncompleteTextError"]

VALUE_LIMIT: Final = 1 << 20
_METADATA_LIMIT: Final = 1_000_000
_PHASE_LIMIT: Final = 8
_MEMORY_COLUMNS: Final = ("address", "total_allocated", "total_reserved")
_PHASE: Final = -1
"""The slot of `ph`, which is not a column."""

_KEY = rb'"[^"\\\x00-\x1f]*+"'
_PAIR = _KEY + SPACE + rb":" + SPACE + rb"(?:" + STRING + rb"|" + ARRAY + rb"|" + LITERAL + rb")" + SPACE
_PAIRS = rb"(?:" + _PAIR + rb"(?:," + SPACE + _PAIR + rb")*+)?+"
_ARGS = rb'"args"' + SPACE + rb":" + SPACE + rb"\{" + SPACE + rb"(" + _PAIRS + rb")\}" + SPACE
_PLAIN_EVENT: Final = re.compile(
    rb"\{" + SPACE + rb"(?:(?:" + _PAIR + rb"," + SPACE + rb")*+"
    rb"(?:" + _ARGS + rb"((?:," + SPACE + _PAIR + rb")*+)|" + _PAIR + rb"))?+\}"
)
"""An event without nested objects but args, without bare values or anything to note; groups: inside args, and after it."""
_LITERAL: Final = re.compile(LITERAL)
_BLANK: Final = re.compile(SPACE)
_WHOLE_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_KEY_HAZARD: Final = re.compile(rb'[\x00-\x20,:\[\]{}"\\]')

Cell = int | bytes
"""A number, or the bytes of a string that is yet to get its number."""


class IncompleteTextError(Exception):
    """The text ends inside the event."""


def _is_bare(raw: bytes) -> bool:
    return raw[0] not in b'"[{' and not raw.isdigit() and _LITERAL.fullmatch(raw) is None


def _read_number(raw: bytes, shift: int, limit: int) -> int | None:
    value = parse_number(raw[1:-1].strip(b" \t\r\n") if raw[0] == 0x22 else raw, shift)  # noqa: PLR2004 - a quote
    return value if value is None or -limit <= value <= limit else HUGE


def _read_time(raw: bytes) -> int | None:
    if len(raw) <= 18 and raw[-4:-3] == b".":
        try:
            return int(raw[:-4] + raw[-3:])
        except ValueError:
            pass
    elif len(raw) <= 15 and raw.isdigit():
        return int(raw) * 1000
    return _read_number(raw, 3, 2**63 - 1)


def _read_int(raw: bytes) -> int | None:
    return int(raw) if len(raw) <= 18 and raw.isdigit() else _read_number(raw, 0, 2**63 - 1)


def _read_small(raw: bytes) -> int | None:
    if len(raw) <= 9 and raw.isdigit():
        return int(raw)
    value = _read_number(raw, 0, 2**32 - 1)
    if value is None or -(2**31) < value < 2**31:
        return value
    # Exporters write unsigned ids: a stream of 4294967295 means -1, and 2**31 the value that stands for "missing".
    return HUGE if not 2**31 <= value < 2**32 else value - 2**32 if value > 2**31 else None


def _read_text(raw: bytes) -> bytes | None:
    return unescape(raw[1:-1]) if raw[0] == 0x22 else None


def _read_json(raw: bytes) -> bytes | None:
    return None if raw == b"null" or _is_bare(raw) else raw


def _read_key(raw: bytes) -> bytes | None:
    if raw[0] == 0x22:
        return unescape(raw[1:-1])
    return None if raw[0] in b"[{" else _read_json(raw)


_READERS: Final[dict[str, Callable[[bytes], Cell | None]]] = {
    "time": _read_time,
    "int": _read_int,
    "small": _read_small,
    "text": _read_text,
    "json": _read_json,
    "key": _read_key,
}

Slots = dict[bytes, tuple[int, "Callable[[bytes], Cell | None]"]]


class EventText:
    """The members of one event, found step by step in `buffer[start:end]`."""

    def __init__(self, buffer: bytes, start: int, end: int, base: int) -> None:
        """Read the event at `start`.

        Raises:
            BrokenTextError: it is not an event.
            IncompleteTextError: `end` comes first.
        """
        self._buffer = buffer
        self._end = end
        self._base = base
        self.faults: list[tuple[str, int]] = []
        self.members: list[tuple[bytes, int, int]] = []
        """Key (unescaped), start and stop of each value of the event."""
        self.args: list[tuple[bytes, int, int]] = []
        """The same for its args."""
        self.args_span = (0, 0)
        self.stop = self._object(start, self.members)

    def _note(self, kind: str, position: int) -> None:
        self.faults.append((kind, self._base + position))

    def _object(self, position: int, members: list[tuple[bytes, int, int]]) -> int:
        position = self._skip_space(position + 1)
        if self._buffer[position] == 0x7D:
            return position + 1
        while True:
            if self._buffer[position] != 0x22:
                raise BrokenTextError(position)
            stop = self._value(position)
            key = unescape(self._buffer[position + 1 : stop - 1])
            position = self._skip_space(stop)
            if self._buffer[position] != 0x3A:
                raise BrokenTextError(position)
            position = self._skip_space(position + 1)
            stop = self._member(key, position, members)
            members.append((key, position, stop))
            position = self._skip_space(stop)
            if self._buffer[position] == 0x7D:
                return position + 1
            if self._buffer[position] != 0x2C:
                raise BrokenTextError(position)
            position = self._skip_space(position + 1)

    def _member(self, key: bytes, position: int, members: list[tuple[bytes, int, int]]) -> int:
        if key == b"args" and members is self.members and self._buffer[position] == 0x7B:
            stop = self._object(position, self.args)
            self.args_span = (position, stop)
            return stop
        return self._value(position)

    def _skip_space(self, position: int) -> int:
        match = _BLANK.match(self._buffer, position, self._end)
        position = match.end() if match else position
        if position >= self._end:
            raise IncompleteTextError
        return position

    def _value(self, position: int) -> int:
        walk = ValueWalk()
        stop, done = walk.go(self._buffer, position, self._end, self._note)
        if walk.bare:
            junk = self._buffer.find(b"\0", position, stop)
            if junk >= 0:
                raise BrokenTextError(junk)
        if not done:
            raise IncompleteTextError
        if walk.bare and _LITERAL.fullmatch(self._buffer, position, stop) is None:
            self._note("bare_value", position)
        return stop


class EventReader:
    """Reads events into columns, strings, metadata and counts."""

    def __init__(self, columns: Sequence[tuple[str, str, tuple[str, ...], str]]) -> None:
        """Take the wanted columns: (name, kind, keys, place) each.

        Raises:
            ValueError: a kind, place, name or key that is unknown or there twice.
        """
        self._slots: dict[str, Slots] = {"event": {b"ph": (_PHASE, _read_text)}, "args": {}}
        self.columns: dict[str, ColumnChunks] = {}
        for slot, (name, kind, keys, place) in enumerate(columns):
            if kind not in _READERS or place not in self._slots or name in self.columns:
                raise ValueError(f"not a column, or one named twice: {name!r} ({kind!r} in {place!r})")
            self.columns[name] = ColumnChunks(wide=kind in ("time", "int"))
            for key in keys:
                if key.encode() in self._slots[place]:
                    raise ValueError(f"the key {key!r} of {name!r} is taken")
                self._slots[place][key.encode()] = (slot, _READERS[kind])
        names = list(self.columns)
        self._numbers = {name: names.index(name) for name in names}
        self._cells = list(self.columns.values())
        self._memory_keys = {key.encode() for name, _, keys, _ in columns if name in _MEMORY_COLUMNS for key in keys}
        self._pick_members = _picker(self._slots["event"])
        self._pick_args = _picker(self._slots["args"])
        self.rows = 0
        self.strings = Strings()
        self.defects = Defects()
        self.phases: dict[str, int] = {}
        self.metadata: list[tuple[bytes, bytes, bytes, bytes]] = []

    def read_plain(self, buffer: bytes, start: int) -> int:
        """Read the event at `start` if it is a plain one, and give the position after it; else do nothing and give 0."""
        match = _PLAIN_EVENT.match(buffer, start)
        if match is None or match.end() - start > VALUE_LIMIT or self._pick_members is None or self._pick_args is None:
            return 0
        has_args = match.start(1) >= 0
        pairs = self._pick_members(buffer, start, match.start(1) if has_args else match.end())
        if has_args and match.end(2) > match.start(2):
            pairs += self._pick_members(buffer, *match.span(2))
        cells: dict[int, Cell] = {}
        if not _fill(cells, pairs, self._slots["event"]):
            return 0
        phase = cells.pop(_PHASE, b"")
        if phase != b"X":
            if phase == b"M" or (self._memory_keys and phase in (b"i", b"I")):
                return 0
        elif has_args and not _fill(cells, self._pick_args(buffer, *match.span(1)), self._slots["args"]):
            return 0
        elif "start" in self._numbers and self._numbers["start"] not in cells:
            return 0
        elif not self._store_plain(cells):
            return 0
        label = self._label(phase)
        self.phases[label] = self.phases.get(label, 0) + 1
        return match.end()

    def _store_plain(self, cells: dict[int, Cell]) -> bool:
        """Store a row, unless one of its strings is not valid UTF-8."""
        strings, columns, row = self.strings, self._cells, self.rows % CHUNK_ROWS
        if "name" in self._numbers:
            cells.setdefault(self._numbers["name"], b"")
        for slot in sorted(cells):
            cell = cells[slot]
            if cell.__class__ is bytes:
                number = cells[slot] = strings.add(cell)
                if number in strings.invalid:
                    return False
        self._append(cells)
        return True

    def _append(self, cells: dict[int, Cell]) -> None:
        row = self.rows % CHUNK_ROWS
        for slot, cell in cells.items():
            column = self._cells[slot]
            column.rows.append(row)
            column.values.append(cell)
        self.rows += 1
        if self.rows % CHUNK_ROWS == 0:
            self.close_chunk()

    def close_chunk(self) -> None:
        """Pack the rows of the current chunk."""
        length = self.rows % CHUNK_ROWS or CHUNK_ROWS
        for column in self._cells:
            column.close_chunk(length)

    def _label(self, phase: bytes) -> str:
        if len(phase) > _PHASE_LIMIT:
            return "?"
        try:
            return phase.decode()
        except UnicodeDecodeError:
            return "?"

    def read(self, buffer: bytes, start: int, end: int, base: int) -> int:
        """Read any event at `start`, not looking at `end` and beyond, and give the position after it.

        Raises:
            BrokenTextError: it is not an event; nothing was noted.
            IncompleteTextError: `end` comes first; nothing was noted.
        """
        text = EventText(buffer, start, end, base)
        self.defects.note_all(text.faults)
        phase = b""
        for key, first, stop in text.members:
            if key == b"ph" and buffer[first] == 0x22:
                phase = unescape(buffer[first + 1 : stop - 1])
        label = self._label(phase)
        self.phases[label] = self.phases.get(label, 0) + 1
        if phase == b"M":
            self._store_metadata(buffer, text, start, base)
        elif phase == b"X" or (phase in (b"i", b"I") and any(key in self._memory_keys for key, _, _ in text.args)):
            self._store(buffer, text, start, base, span=phase == b"X")
        return text.stop

    def _store(self, buffer: bytes, text: EventText, start: int, base: int, *, span: bool) -> None:
        cells: dict[int, Cell] = {}
        origins: dict[int, int] = {}
        for members, slots in ((text.members, self._slots["event"]), (text.args, self._slots["args"])):
            for key, first, stop in members:
                slot, reader = slots.get(key, (_PHASE, _read_text))
                if slot == _PHASE:
                    continue
                if stop - first > VALUE_LIMIT and (
                    reader is _read_json or (reader is _read_key and buffer[first] != 0x22)
                ):
                    if reader is _read_json or buffer[first] not in b"[{":
                        self.defects.note("oversized_value", base + first)
                    continue
                cell = reader(buffer[first:stop])
                if cell is HUGE:
                    self.defects.note("number_out_of_range", base + first)
                elif cell is not None:
                    cells[slot] = cell
                    origins[slot] = base + first
        if "start" in self._numbers and self._numbers["start"] not in cells:
            self.defects.note("event_without_time", base + start)
            return
        if not span and "duration" in self._numbers:
            cells.pop(self._numbers["duration"], None)
        if "name" in self._numbers:
            cells.setdefault(self._numbers["name"], b"")
        for slot in sorted(cells):
            cell = cells[slot]
            if isinstance(cell, bytes):
                cells[slot] = self._intern(cell, origins.get(slot, 0))
        self._append(cells)

    def _intern(self, text: bytes, origin: int) -> int:
        kept = text[:VALUE_LIMIT]
        number = self.strings.add(kept)
        if len(text) > len(kept):
            self.defects.note("oversized_value", origin)
        elif number in self.strings.invalid:
            self.defects.note("invalid_utf8", origin)
        return number

    def _store_metadata(self, buffer: bytes, text: EventText, start: int, base: int) -> None:
        if len(self.metadata) >= _METADATA_LIMIT:
            self.defects.note("oversized_metadata", base + start)
            return
        fields = {}
        for key, first, stop in text.members:
            slot, reader = self._slots["event"].get(key, (_PHASE, _read_text))
            cell = reader(buffer[first:stop]) if slot != _PHASE else None
            if isinstance(cell, bytes):
                fields[slot] = (cell, first)
        name, process, thread = (
            self._cut(*fields.get(self._numbers.get(column, _PHASE), (b"", 0)), base)
            for column in ("name", "process", "thread")
        )
        first, stop = text.args_span
        if stop - first > VALUE_LIMIT:
            self.defects.note("oversized_value", base + first)
            first = stop
        self.metadata.append((name, process, thread, buffer[first:stop]))

    def _cut(self, text: bytes, position: int, base: int) -> bytes:
        if len(text) > VALUE_LIMIT:
            self.defects.note("oversized_value", base + position)
        return text[:VALUE_LIMIT]


def _fill(cells: dict[int, Cell], pairs: Iterable[tuple[bytes, bytes]], slots: Slots) -> bool:
    """Put the usable values into `cells`; whether all were in range."""
    for key, raw in pairs:
        slot, reader = slots[key]
        cell = reader(raw)
        if cell is HUGE:
            return False
        if cell is not None:
            cells[slot] = cell
    return True


def _picker(slots: Slots) -> Callable[..., list[tuple[bytes, bytes]]] | None:
    """What finds the (key, raw value) pairs of `slots` in the text of a plain event; None if keys could be mistaken.

    In a plain event a quoted key followed by a colon can be nothing else: quotes inside strings follow a backslash.
    """
    if any(_KEY_HAZARD.match(key) or b'"' in key or b"\\" in key for key in slots):
        return None
    keys = rb"|".join(map(re.escape, slots)) or rb"(?!)"
    value = rb"(" + STRING + rb"|" + ARRAY + rb'|[^"\[{,}\] \t\r\n]++)'
    return re.compile(rb'(?<!\\)"(' + keys + rb')"' + SPACE + rb":" + SPACE + value).findall
