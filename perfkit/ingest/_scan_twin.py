"""The scanner of Chrome-trace JSON in pure Python: what is used where the compiled one is not there.

Bytes come in pieces of any size; events go into columns of integers. Content raises nothing: every fault is a counted
defect with the offset of its first occurrence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from perfkit.ingest._twin_event import EventReader, IncompleteTextError
from perfkit.ingest._twin_text import LITERAL, SPACE, BrokenTextError, ValueWalk, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Scanner"]

_BOM: Final = b"\xef\xbb\xbf"
_BATCH: Final = 1 << 16
_EVENT_LIMIT: Final = 64 << 20
_HEADER_VALUE_LIMIT: Final = 4 << 20
_HEADER_KEY_LIMIT: Final = 1 << 20

_BLANK: Final = re.compile(SPACE)
_OPENER: Final = re.compile(rb"[\[{]")
_LITERAL: Final = re.compile(LITERAL)
# Group 1 is where to go on; the second of each pair matches what can become the first, given more bytes.
_PLAUSIBLE: Final = re.compile(rb"(\{)" + SPACE + rb'"(?:ph|cat|name|pid|tid|ts|dur|args|id|s|bp)"' + SPACE + rb":")
_PLAUSIBLE_SO_FAR: Final = re.compile(rb"\{" + SPACE + rb'(?:"[a-z]{0,4}(?:"' + SPACE + rb")?)?\Z")
_EVENTS_KEY: Final = re.compile(rb'"traceEvents"' + SPACE + rb":" + SPACE + rb"(\[)")
_EVENTS_KEY_SO_FAR: Final = re.compile(rb'"(?:[a-zE]{0,11}|traceEvents"' + SPACE + rb"(?::" + SPACE + rb")?)\Z")


class _Capture:
    """The text of a value that comes in pieces, as long as it stays within `limit`."""

    def __init__(self, offset: int, limit: int) -> None:
        self.walk = ValueWalk()
        self.offset = offset
        self._limit = limit
        self._pieces: list[bytes] = []
        self._length = 0

    @property
    def fits(self) -> bool:
        return self._length <= self._limit

    def add(self, piece: bytes) -> None:
        self._length += len(piece)
        if self.fits:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def text(self) -> bytes:
        return b"".join(self._pieces)


class Scanner:
    """Reads one trace: `feed` it, `finish` it, then take the columns and all else."""

    def __init__(self, columns: Sequence[tuple[str, str, tuple[str, ...], str]]) -> None:
        """Take the wanted columns, each as (name, kind, keys, place) of `perfkit.model.columns.Column`.

        Raises:
            ValueError: a column that cannot be.
        """
        self._events = EventReader(columns)
        self._defects = self._events.defects
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._buffer = b""
        self._position = 0
        self._base = 0
        self._finished = False
        self._step: Callable[[], bool] = self._between
        self._in_list = False
        self._comma_due = False
        self._comma: int | None = None
        self._failed_to = 0
        self._key: bytes | None = b""
        self._capture = _Capture(0, 0)
        self.top: Literal["object", "list", ""] = ""
        self.events_seen = False
        self.bytes_seen = 0
        self.header: dict[bytes, bytes] = {}

    # ------------------------------------------------------------------------------------------------------- results

    @property
    def rows(self) -> int:
        """Event rows so far."""
        return self._events.rows

    @property
    def strings(self) -> list[bytes]:
        """The string table, as bytes that may be invalid UTF-8."""
        return list(self._events.strings.ids)

    @property
    def metadata(self) -> list[tuple[bytes, bytes, bytes, bytes]]:
        """(name, pid, tid, raw args) of each metadata event."""
        return self._events.metadata

    @property
    def phases(self) -> dict[str, int]:
        """Number of events by phase."""
        return self._events.phases

    @property
    def defects(self) -> list[tuple[str, int, int]]:
        """(kind, count, offset of the first), by that offset, then by kind."""
        return self._defects.listed()

    def column(self, name: str) -> NDArray[np.int64 | np.int32]:
        """The column `name`, as an array of `rows` values; can be taken once.

        Raises:
            ValueError: before `finish`, no such column, or taken before.
        """
        if not self._finished:
            raise ValueError("the columns are there after finish()")
        chunks = self._events.columns.pop(name, None)
        if chunks is None:
            raise ValueError(f"no column {name!r}, or it was taken before")
        return chunks.join(self.rows)

    # ------------------------------------------------------------------------------------------------------ the stream

    def feed(self, data: bytes | memoryview) -> None:
        """Scan the next bytes.

        Raises:
            ValueError: after `finish`.
        """
        if self._finished:
            raise ValueError("feed() after finish()")
        self._waiting.append(bytes(data))
        self._waiting_size += len(self._waiting[-1])
        self.bytes_seen += len(self._waiting[-1])
        # What is left over is scanned again only once it has doubled: a huge event in small pieces stays linear.
        if self._waiting_size >= max(_BATCH, len(self._buffer) - self._position):
            self._scan()

    def finish(self) -> None:
        """Take the bytes so far for all there is: what is incomplete becomes defects."""
        if self._finished:
            return
        self._finished = True
        self._scan()
        if self._step == self._event:
            self._note("truncated_event", self._position)
        if self._step != self._between:
            self._defects.note("truncated", self.bytes_seen)
        self._events.close_chunk()
        self._buffer = b""

    def _scan(self) -> None:
        self._base += self._position
        self._buffer = b"".join([self._buffer[self._position :], *self._waiting])
        self._position = 0
        self._waiting.clear()
        self._waiting_size = 0
        while self._step():
            pass

    def _note(self, kind: str, position: int) -> None:
        self._defects.note(kind, self._base + position)

    def _peek(self) -> bytes:
        """Skip white space; the next byte, or none at the end of what is there."""
        match = _BLANK.match(self._buffer, self._position)
        self._position = match.end() if match else self._position
        return self._buffer[self._position : self._position + 1]

    # Each step reads on from `_position` and says whether there is more to do with the bytes that are there.

    def _between(self) -> bool:
        if self._base + self._position == 0:
            head = self._buffer[: len(_BOM)]
            if head == _BOM:
                self._position = len(_BOM)
            elif not self._finished and _BOM.startswith(head):
                return False
        char = self._peek()
        if not char:
            return False
        if char not in (b"[", b"{"):
            if not self._defects.has("trailing_data"):
                self._note("trailing_data", self._position)
            opener = _OPENER.search(self._buffer, self._position)
            self._position = opener.start() if opener else len(self._buffer)
            return opener is not None
        self._in_list = char == b"["
        self.top = self.top or ("list" if self._in_list else "object")
        if self._in_list:
            self._enter_events()
        else:
            self._step = self._object
            self._comma_due, self._comma = False, None
            self._position += 1
        return True

    def _enter_events(self) -> None:
        self._position += 1
        self.events_seen = True
        self._step = self._array
        self._comma_due, self._comma = False, None

    def _take_comma(self) -> None:
        if self._comma_due:
            self._comma_due, self._comma = False, self._base + self._position
        else:
            self._note("extra_comma", self._position)
        self._position += 1

    def _begin_member(self) -> None:
        if self._comma_due:
            self._note("missing_comma", self._position)
        self._comma_due, self._comma = True, None

    def _end_members(self) -> None:
        if self._comma is not None:
            self._defects.note("extra_comma", self._comma)
        self._comma_due, self._comma = True, None
        self._position += 1

    # ---------------------------------------------------------------------------------------------- top-level object

    def _object(self) -> bool:
        char = self._peek()
        if not char:
            return False
        if char == b"}":
            self._end_members()
            self._step = self._between
        elif char == b",":
            self._take_comma()
        elif char == b'"':
            self._begin_member()
            self._capture = _Capture(self._base + self._position, _HEADER_KEY_LIMIT)
            self._step = self._object_key
        else:
            self._break_object(self._position)
        return True

    def _break_object(self, position: int) -> None:
        self._note("broken_header", position)
        self._position = position
        self._step = self._seek_events_key

    def _walk(self) -> bool:
        """Walk on over the value in `_capture`; whether it ends here."""
        start = self._position
        self._position, done = self._capture.walk.go(self._buffer, start, len(self._buffer), self._note)
        self._capture.add(self._buffer[start : self._position])
        return done

    def _object_key(self) -> bool:
        if not self._walk():
            return False
        self._key = unescape(self._capture.text()[1:-1]) if self._capture.fits else None
        if self._key is None:
            self._defects.note("oversized_value", self._capture.offset)
        self._step = self._object_colon
        return True

    def _object_colon(self) -> bool:
        char = self._peek()
        if char == b":":
            self._position += 1
            self._step = self._object_value
        elif char:
            self._break_object(self._position)
        return bool(char)

    def _object_value(self) -> bool:
        char = self._peek()
        if char == b"[" and self._key == b"traceEvents":
            self._enter_events()
        elif char:
            self._capture = _Capture(self._base + self._position, _HEADER_VALUE_LIMIT)
            self._step = self._object_value_rest
        return bool(char)

    def _object_value_rest(self) -> bool:
        start = self._position
        try:
            done = self._walk()
        except BrokenTextError as error:
            self._break_object(error.position)
            return True
        if self._capture.walk.bare:
            junk = self._buffer.find(b"\0", start, self._position)
            if junk >= 0:
                self._break_object(junk)
                return True
        if done:
            self._keep_value()
            self._step = self._object
        return done

    def _keep_value(self) -> None:
        capture = self._capture
        if not capture.fits:
            self._defects.note("oversized_value", capture.offset)
            return
        text = capture.text()
        if capture.walk.bare and _LITERAL.fullmatch(text) is None:
            self._defects.note("bare_value", capture.offset)
        elif self._key is not None:
            self.header[self._key] = text

    def _seek_events_key(self) -> bool:
        return self._seek(_EVENTS_KEY, _EVENTS_KEY_SO_FAR, self._enter_events)

    def _seek(self, wanted: re.Pattern[bytes], so_far: re.Pattern[bytes], found: Callable[[], None]) -> bool:
        """Look for `wanted`, also where it begins in these bytes and ends in the next."""
        match = wanted.search(self._buffer, self._position)
        if match is not None:
            self._position = match.start(1)
            found()
            return True
        match = so_far.search(self._buffer, self._position)
        self._position = match.start() if match else len(self._buffer)
        return False

    # -------------------------------------------------------------------------------------------------------- events

    def _array(self) -> bool:
        char = self._peek()
        if not char:
            return False
        if char == b"{":
            self._begin_member()
            self._step = self._event
        elif char == b",":
            self._take_comma()
        elif char == b"]":
            self._end_members()
            self._step = self._between if self._in_list else self._object
        elif char == b"}":
            self._note("event_not_object", self._position)
            self._position += 1
        else:
            self._note("event_not_object", self._position)
            self._begin_member()
            self._capture = _Capture(self._base + self._position, 0)
            self._step = self._stranger
        return True

    def _stranger(self) -> bool:
        """An element of the events that is no event."""
        try:
            done = self._walk()
        except BrokenTextError as error:
            self._note("broken_event", error.position)
            self._position = error.position
            self._step = self._seek_event
            return True
        if done:
            self._step = self._array
        return done

    def _event(self) -> bool:
        start = self._position
        stop = self._events.read_plain(self._buffer, start)
        if not stop:
            limit = start + _EVENT_LIMIT
            try:
                stop = self._events.read(self._buffer, start, min(limit, len(self._buffer)), self._base)
            except BrokenTextError as error:
                self._fail("broken_event", error.position)
                return True
            except IncompleteTextError:
                if limit <= len(self._buffer):
                    self._fail("oversized_event", limit)
                    return True
                return False
        self._position = stop
        self._step = self._array
        return True

    def _fail(self, kind: str, position: int) -> None:
        """Drop the event; look for the next from its second byte, but go over no byte more than twice."""
        self._note(kind, self._position)
        nested = self._base + self._position < self._failed_to
        self._failed_to = max(self._failed_to, self._base + position)
        self._position = max(self._failed_to - self._base, self._position + 1) if nested else self._position + 1
        self._step = self._seek_event

    def _seek_event(self) -> bool:
        return self._seek(_PLAUSIBLE, _PLAUSIBLE_SO_FAR, self._resume)

    def _resume(self) -> None:
        self._comma_due, self._comma = True, None
        self._step = self._event
