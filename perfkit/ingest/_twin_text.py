"""JSON text as it is met in traces: patterns, numbers without floats, escapes, and a walk over values in pieces.

Everything works on bytes. Content raises nothing but `BrokenTextError`, which callers turn into a defect.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = [
    "ARRAY",
    "HUGE",
    "LITERAL",
    "SPACE",
    "STRING",
    "BrokenTextError",
    "Note",
    "ValueWalk",
    "note_string",
    "parse_number",
    "unescape",
]

Note = Callable[[str, int], None]
"""Takes a kind of defect, and the position in the buffer where it is."""

SPACE: Final = rb"[ \t\r\n]*+"
STRING: Final = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
"""A string with nothing to note: valid escapes, no raw control character."""
NUMBER: Final = rb"-?[0-9]++(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
LITERAL: Final = rb"(?:" + NUMBER + rb"|true|false|null)"


def _nest(inner: bytes) -> bytes:
    return rb'\[(?:[^\[\]{}"]++|' + STRING + SPACE + rb"(?=[,\]])" + inner + rb")*+\]"


ARRAY: Final = _nest(rb"|" + _nest(rb"|" + _nest(b"")))
"""An array of arrays, three deep, with no object in it: every array argument that profilers write."""

HUGE: Final = 1 << 200
"""What `parse_number` returns for a number too big to be worked out: it is outside every column."""

_POWER_LIMIT: Final = 40
_POWER_DIGITS: Final = len(str(_POWER_LIMIT))
_DIGITS: Final = 25
_PARTS: Final = re.compile(rb"(-?)([0-9]++)(?:\.([0-9]++))?+(?:[eE]([+-]?)0*([0-9]++))?+")

_SURROGATES: Final = range(0xD800, 0xE000)
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}".encode()
_SINGLE: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b'"': b'"', b"\\": b"\\", b"/": b"/"}
_ESCAPE: Final = re.compile(rb"((?:\\u[0-9a-fA-F]{4})+)|\\(.)", re.DOTALL)
_NOTEWORTHY: Final = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|(\\.)|([\x00-\x1f])', re.DOTALL)
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_UNICODE: Final = re.compile(rb"\\u[0-9a-fA-F]{4}")
_UNDECIDED: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?+")
_UNTIL_SPECIAL: Final = re.compile(rb'[^"\\]*+')
_UNTIL_DELIMITER: Final = re.compile(rb"[^,}\] \t\r\n]*+")
_UNTIL_STRUCTURE: Final = re.compile(rb'(?:[^\[\]{}"]++|' + STRING + SPACE + rb"(?=[,:\]}]))*+")
_BLANK: Final = re.compile(SPACE)


class BrokenTextError(Exception):
    """The text cannot be JSON, however it goes on. `position` is the offending byte in the buffer."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def parse_number(text: bytes, shift: int) -> int | None:
    """The decimal number in `text` times 10**`shift`, truncated toward zero; None if it is not a number.

    A number whose exponent is beyond +-40, or that has more than 25 digits before the point, gives `HUGE`.
    """
    parts = _PARTS.fullmatch(text)
    if parts is None:
        return None
    minus, whole, fraction, sign, power = parts.groups(b"")
    if len(power) > _POWER_DIGITS or int(power or b"0") > _POWER_LIMIT:
        return HUGE
    kept = max(len(whole) + shift + int(sign + (power or b"0")), 0)
    digits = (whole + fraction)[:kept].ljust(kept, b"0").lstrip(b"0")
    return HUGE if len(digits) > _DIGITS else int(minus + (digits or b"0"))


def unescape(text: bytes) -> bytes:
    """The content of a JSON string: escapes resolved, a lone surrogate as U+FFFD, an unknown escape left as it is."""
    return _ESCAPE.sub(_resolve_escape, text) if b"\\" in text else text


def _resolve_escape(match: re.Match[bytes]) -> bytes:
    units, char = match.groups()
    if char is not None:
        return _SINGLE.get(char, b"\\" + char)
    # Surrogates must reach the decoder in pairs: 6 bytes a unit, the last 4 are its digits.
    utf16 = b"".join(int(units[at + 2 : at + 6], 16).to_bytes(2, "big") for at in range(0, len(units), 6))
    try:
        return utf16.decode("utf-16-be").encode()
    except UnicodeDecodeError:
        text = utf16.decode("utf-16-be", "surrogatepass")
        return b"".join(_REPLACEMENT if ord(char) in _SURROGATES else char.encode() for char in text)


def note_string(buffer: bytes, start: int, stop: int, note: Note) -> None:
    """Note each bad escape and each control character of the string content `buffer[start:stop]`, at its position."""
    for match in _NOTEWORTHY.finditer(buffer, start, stop):
        if match[1] is not None:
            note("bad_escape", match.start())
            if _CONTROL.match(buffer, match.start() + 1):
                note("control_character", match.start() + 1)
        elif match[2] is not None:
            note("control_character", match.start())


class ValueWalk:
    """A walk over one JSON value of any size and depth: counts brackets, never recurses, can pause at any byte.

    Kinds of brackets are not matched, and what lies between strings inside brackets is not looked at. But a string
    must be followed by one of `,:]}`: else one lost quote would turn names into structure up to the end of the file.
    """

    __slots__ = ("_depth", "_step", "bare")

    def __init__(self) -> None:
        self._depth = 0
        self._step: Callable[[bytes, int, int, Note], tuple[int, bool]] = self._begin
        self.bare = False
        """Whether the value is a token: neither a string nor nested."""

    def go(self, buffer: bytes, start: int, end: int, note: Note) -> tuple[int, bool]:
        """Walk on from `start`, at most to `end`; gives the position reached, and whether the value ends there.

        An unfinished value must go on with the buffer from the position reached, which can be before `end`.

        Raises:
            BrokenTextError: an empty value, or a string followed by what cannot follow it.
        """
        position, done, before = start, False, None
        while not done and before != (position, self._step):
            before = (position, self._step)
            position, done = self._step(buffer, position, end, note)
        return position, done

    def _begin(self, buffer: bytes, position: int, end: int, _note: Note) -> tuple[int, bool]:
        if position >= end:
            return position, False
        if buffer.startswith((b",", b"}", b"]"), position):
            raise BrokenTextError(position)
        if buffer.startswith(b'"', position):
            self._step = self._in_string
        elif buffer.startswith((b"{", b"["), position):
            self._depth = 1
            self._step = self._in_brackets
        else:
            self.bare = True
            self._step = self._in_token
            return position, False
        return position + 1, False

    def _in_token(self, buffer: bytes, position: int, end: int, _note: Note) -> tuple[int, bool]:
        stop = _pass(_UNTIL_DELIMITER, buffer, position, end)
        return stop, stop < end

    def _in_string(self, buffer: bytes, position: int, end: int, note: Note) -> tuple[int, bool]:
        stop = _pass(_UNTIL_SPECIAL, buffer, position, end)
        note_string(buffer, position, stop, note)
        if stop >= end or _UNDECIDED.fullmatch(buffer, stop, end):
            return stop, False
        if buffer.startswith(b'"', stop):
            self._step = self._after_string
            return stop + 1, self._depth == 0
        position, stop = stop, stop + (6 if _UNICODE.match(buffer, stop, end) else 2)
        note_string(buffer, position, stop, note)
        return stop, False

    def _after_string(self, buffer: bytes, position: int, end: int, _note: Note) -> tuple[int, bool]:
        position = _pass(_BLANK, buffer, position, end)
        if position < end:
            if not buffer.startswith((b",", b":", b"]", b"}"), position):
                raise BrokenTextError(position)
            self._step = self._in_brackets
        return position, False

    def _in_brackets(self, buffer: bytes, position: int, end: int, _note: Note) -> tuple[int, bool]:
        position = _pass(_UNTIL_STRUCTURE, buffer, position, end)
        if position >= end:
            return position, False
        if buffer.startswith(b'"', position):
            self._step = self._in_string
        else:
            self._depth += 1 if buffer.startswith((b"{", b"["), position) else -1
        return position + 1, self._depth == 0


def _pass(pattern: re.Pattern[bytes], buffer: bytes, start: int, end: int) -> int:
    """The position after `pattern`, which can match nothing."""
    match = pattern.match(buffer, start, end)
    return match.end() if match else start
