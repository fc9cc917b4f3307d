"""One event: from its text to a row of cells, a metadata entry, or just a count.

Nearly every event is plain: one pattern matches it whole and two more pick the wanted members out of it. Any other,
faulty ones included, is walked through by `EventText`, member by member. Both ways agree on every event.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.ingest._twin_cells import (
    PHASE_SLOT,
    TEXT_KINDS,
    WIDE_KINDS,
    Cell,
    Cells,
    ColumnSpec,
    Slots,
    fill,
    read_text,
)
from perfkit.ingest._twin_table import CHUNK_ROWS, ColumnChunks, Defects, Strings
from perfkit.ingest._twin_text import (
    ARRAY,
    HUGE,
    LITERAL,
    SPACE,
    STRING,
    BrokenTextError,
    ValueWalk,
    unescape,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EventReader", "IncompleteTextError"]

_VALUE_LIMIT: Final = 1 << 20
_METADATA_LIMIT: Final = 1_000_000
_PHASE_LIMIT: Final = 8
_INSTANTS: Final = (b"i", b"I")
_MEMORY_COLUMNS: Final = ("address", "total_allocated", "total_reserved")

_PAIR = (
    rb'"[^"\\\x00-\x1f]*+"' + SPACE + rb":" + SPACE
    + rb"(?:" + STRING + rb"|" + ARRAY + rb"|" + LITERAL + rb")" + SPACE
)  # fmt: skip
_ARGS = (
    rb'"args"' + SPACE + rb":" + SPACE + rb"\{" + SPACE
    + rb"((?:" + _PAIR + rb"(?:," + SPACE + _PAIR + rb")*+)?+)\}" + SPACE
)  # fmt: skip
_PLAIN_EVENT: Final = re.compile(
    rb"\{" + SPACE + rb"(?:(?:" + _PAIR + rb"," + SPACE + rb")*+"
    + rb"(?:" + _ARGS + rb"((?:," + SPACE + _PAIR + rb")*+)|" + _PAIR + rb"))?+\}"
)  # fmt: skip
"""An event with nothing to note and no object in it but args. Groups: the inside of args, and what follows args."""

_CLEAN_VALUE: Final = re.compile(rb"(?:" + STRING + rb"|" + ARRAY + rb"|" + LITERAL + rb"(?=[,}\] \t\r\n]))")
_BLANK: Final = re.compile(SPACE)


class IncompleteTextError(Exception):
    """The text ends inside the event."""


class _Member(NamedTuple):
    key: bytes
    start: int
    stop: int
    """Where the value is in the buffer; nowhere (`stop == start`) if it is a bare word such as NaN."""


class EventText:
    """The members of the event at `start`, none of it looked at from `end` on."""

    def __init__(self, buffer: bytes, start: int, end: int, base: int) -> None:
        """Walk through the event; `base` is the offset of the buffer in the stream.

        Raises:
            BrokenTextError: it is not an event.
            IncompleteTextError: `end` comes first.
        """
        self.buffer = buffer
        self._end = end
        self.base = base
        self.start = start
        self.faults: list[tuple[str, int]] = []
        """Kind and offset in the stream of each defect within the event."""
        self.members: list[_Member] = []
        self.args: list[_Member] = []
        """What the `args` objects hold."""
        self.args_span = (start, start)
        self.stop = self._walk_object(start, self.members)

    def _note(self, kind: str, position: int) -> None:
        self.faults.append((kind, self.base + position))

    def _walk_object(self, position: int, members: list[_Member]) -> int:
        position = self._skip_space(position + 1)
        if self.buffer.startswith(b"}", position):
            return position + 1
        while True:
            self._expect(b'"', position)
            stop, _ = self._walk_value(position)
            key = unescape(self.buffer[position + 1 : stop - 1])
            position = self._skip_space(stop)
            self._expect(b":", position)
            position = self._skip_space(self._walk_member(key, self._skip_space(position + 1), members))
            if self.buffer.startswith(b"}", position):
                return position + 1
            self._expect(b",", position)
            position = self._skip_space(position + 1)

    def _expect(self, char: bytes, position: int) -> None:
        if not self.buffer.startswith(char, position):
            raise BrokenTextError(position)

    def _skip_space(self, position: int) -> int:
        match = _BLANK.match(self.buffer, position, self._end)
        position = match.end() if match else position
        if position >= self._end:
            raise IncompleteTextError
        return position

    def _walk_member(self, key: bytes, start: int, members: list[_Member]) -> int:
        if key == b"args" and members is self.members and self.buffer.startswith(b"{", start):
            stop = usable = self._walk_object(start, self.args)
            self.args_span = (start, stop)
        else:
            stop, usable = self._walk_value(start)
        members.append(_Member(key, start, usable))
        return stop

    def _walk_value(self, start: int) -> tuple[int, int]:
        """Where the value at `start` ends, and where its usable text does: at once, if it is a bare word."""
        clean = _CLEAN_VALUE.match(self.buffer, start, self._end)
        if clean:
            return clean.end(), clean.end()
        walk = ValueWalk()
        stop, done = walk.go(self.buffer, start, self._end, self._note)
        junk = self.buffer.find(b"\0", start, stop) if walk.bare else -1
        if junk >= 0:
            raise BrokenTextError(junk)
        if not done:
            raise IncompleteTextError
        if walk.bare:
            self._note("bare_value", start)
        return stop, start if walk.bare else stop


class EventReader:
    """Reads events into columns, strings, metadata and counts."""

    def __init__(self, columns: Sequence[ColumnSpec]) -> None:
        """Make room for `columns`.

        Raises:
            ValueError: they cannot be read, see `Slots`.
        """
        self._slots = Slots(columns)
        self._start, self._duration, self._name, self._process, self._thread = map(
            self._slots.find, ("start", "duration", "name", "process", "thread")
        )
        self._memory_keys = {key.encode() for name, _, keys, _ in columns if name in _MEMORY_COLUMNS for key in keys}
        self._pick_members = self._slots.picker("event")
        self._pick_args = self._slots.picker("args")
        self._cells = [ColumnChunks(wide=kind in WIDE_KINDS) for kind in self._slots.kinds]
        self._text_slots = {slot for slot, kind in enumerate(self._slots.kinds) if kind in TEXT_KINDS}
        self.columns: dict[str, ColumnChunks] = dict(zip(self._slots.names, self._cells, strict=True))
        self.rows = 0
        self.strings = Strings()
        self.defects = Defects()
        self.phases: dict[str, int] = {}
        self.metadata: list[tuple[bytes, bytes, bytes, bytes]] = []

    def read_plain(self, buffer: bytes, start: int) -> int:
        """Read the event at `start` if it is plain and faultless, and give the position after it; else give 0."""
        if self._pick_members is None or self._pick_args is None:
            return 0
        match = _PLAIN_EVENT.match(buffer, start, start + _VALUE_LIMIT)
        if match is None:
            return 0
        if match.start(1) < 0:
            pairs = self._pick_members(buffer, start, match.end())
            args = []
        else:
            pairs = self._pick_members(buffer, start, match.start(1)) + self._pick_members(buffer, *match.span(2))
            args = self._pick_args(buffer, *match.span(1))
        cells: Cells = {}
        if not fill(cells, pairs, self._slots.by_key["event"]):
            return 0
        phase = cells.pop(PHASE_SLOT, b"")
        row = phase == b"X" or (phase in _INSTANTS and any(key in self._memory_keys for key, _ in args))
        if phase == b"M" or (row and not self._store_plain(cells, args, span=phase == b"X")):
            return 0
        self._count(phase)
        return match.end()

    def _store_plain(self, cells: Cells, args: list[tuple[bytes, bytes]], *, span: bool) -> bool:
        """Store a row, if all its cells are in range, it has a start, and its strings are valid UTF-8."""
        if not fill(cells, args, self._slots.by_key["args"]) or (self._start is not None and self._start not in cells):
            return False
        for slot in self._order(cells, span=span):
            cells[slot] = number = self.strings.add(cells[slot])
            if number in self.strings.invalid:
                return False
        self._append(cells)
        return True

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
            if key == b"ph" and buffer.startswith(b'"', first):
                phase = unescape(buffer[first + 1 : stop - 1])
        self._count(phase)
        if phase == b"M":
            self._store_metadata(text)
        elif phase == b"X" or (phase in _INSTANTS and any(member.key in self._memory_keys for member in text.args)):
            self._store(text, span=phase == b"X")
        return text.stop

    def _count(self, phase: bytes) -> None:
        try:
            label = phase.decode() if len(phase) <= _PHASE_LIMIT else "?"
        except UnicodeDecodeError:
            label = "?"
        self.phases[label] = self.phases.get(label, 0) + 1

    def _store(self, text: EventText, *, span: bool) -> None:
        cells: Cells = {}
        origins: dict[int, int] = {}
        for place, members in (("event", text.members), ("args", text.args)):
            for member in members:
                slot = self._slots.by_key[place].get(member.key, (PHASE_SLOT, read_text))[0]
                cell = self._read_cell(text, member, place) if slot != PHASE_SLOT else None
                if cell is not None:
                    cells[slot] = cell
                    origins[slot] = text.base + member.start
        if self._start is not None and self._start not in cells:
            self.defects.note("event_without_time", text.base + text.start)
            return
        for slot in self._order(cells, span=span):
            cells[slot] = self._intern(cells[slot], origins.get(slot, 0))
        self._append(cells)

    def _read_cell(self, text: EventText, member: _Member, place: str) -> Cell | None:
        if member.start == member.stop:
            return None
        slot, reader = self._slots.by_key[place][member.key]
        raw = text.buffer[member.start : member.stop]
        cell = reader(raw)
        if cell is HUGE:
            self.defects.note("number_out_of_range", text.base + member.start)
            return None
        if cell == raw and self._slots.kinds[slot] != "text" and len(raw) > _VALUE_LIMIT:
            self.defects.note("oversized_value", text.base + member.start)
            return None
        return cell

    def _order(self, cells: Cells, *, span: bool) -> list[int]:
        """Complete the cells of a row; gives the slots that hold strings, in the order in which these are numbered."""
        if self._name is not None:
            cells.setdefault(self._name, b"")
        if not span and self._duration is not None:
            cells.pop(self._duration, None)
        return sorted(self._text_slots.intersection(cells))

    def _append(self, cells: Cells) -> None:
        row = self.rows % CHUNK_ROWS
        for slot, cell in cells.items():
            column = self._cells[slot]
            column.rows.append(row)
            column.values.append(cell)
        self.rows += 1
        if self.rows % CHUNK_ROWS == 0:
            self.close_chunk()

    def close_chunk(self) -> None:
        """Pack the rows since the last whole chunk."""
        for column in self._cells:
            column.close_chunk(self.rows % CHUNK_ROWS or CHUNK_ROWS)

    def _intern(self, text: bytes, origin: int) -> int:
        number = self.strings.add(text[:_VALUE_LIMIT])
        if len(text) > _VALUE_LIMIT:
            self.defects.note("oversized_value", origin)
        elif number in self.strings.invalid:
            self.defects.note("invalid_utf8", origin)
        return number

    def _store_metadata(self, text: EventText) -> None:
        if len(self.metadata) >= _METADATA_LIMIT:
            self.defects.note("oversized_metadata", text.base + text.start)
            return
        fields: dict[int | None, tuple[bytes, int]] = {}
        for key, start, stop in text.members:
            slot, reader = self._slots.by_key["event"].get(key, (PHASE_SLOT, read_text))
            cell = reader(text.buffer[start:stop]) if start < stop else None
            if isinstance(cell, bytes):
                fields[slot] = (cell, start)
        name, process, thread = (
            self._cut(text.base, *fields.get(slot, (b"", 0))) for slot in (self._name, self._process, self._thread)
        )
        start, stop = text.args_span
        if stop - start > _VALUE_LIMIT:
            self.defects.note("oversized_value", text.base + start)
            start = stop
        self.metadata.append((name, process, thread, text.buffer[start:stop]))

    def _cut(self, base: int, text: bytes, position: int) -> bytes:
        if len(text) > _VALUE_LIMIT:
            self.defects.note("oversized_value", base + position)
        return text[:_VALUE_LIMIT]
