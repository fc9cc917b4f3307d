"""JSON text as it is met in traces: patterns, numbers without floats, escapes, and a walk over values that arrive in pieces.

Everything works on bytes. Nothing raises because of content, except `BrokenTextError`, which its callers turn into a defect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ARRAY",
    "HUGE",
    "LITERAL",
    "SPACE",
    "STRING",
    "BrokenTextError",
    "ValueWalk",
    "note_string",
    "parse_number",
    "unescape",
]

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
"""What `parse_number` returns for a number too big to be worth working out: outside every column."""

_EXPONENT_LIMIT: Final = 40
_DIGIT_LIMIT: Final = 25
_PARTS: Final = re.compile(rb"(-?)([0-9]++)(?:\.([0-9]++))?+(?:[eE]([+-]?)0*([0-9]++))?+")
_ESCAPE: Final = re.compile(
    rb"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\(.)", re.DOTALL
)
_NOTEWORTHY: Final = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|(\\.)|[\x00-\x1f]', re.DOTALL)
_SINGLE: Final = {b'"': b'"', b"\\": b"\\", b"/": b"/", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_REPLACEMENT: Final = "\ufffd".encode()
_FIRST_CONTROL_AFTER: Final = 0x20


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
    if len(power) > 2 or int(power or b"0") > _EXPONENT_LIMIT:
        return HUGE
    kept = len(whole) + shift + int(sign + (power or b"0"))
    digits = (whole + fraction)[: max(kept, 0)].ljust(kept, b"0").lstrip(b"0")
    if len(digits) > _DIGIT_LIMIT:
        return HUGE
    return int(minus + (digits or b"0"))


def _replace_escape(match: re.Match[bytes]) -> bytes:
    high, low, single, char = match.groups()
    if char is not None:
        return _SINGLE.get(char, b"\\" + char)
    if single is None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00).encode()
    code = int(single, 16)
    return _REPLACEMENT if 0xD800 <= code < 0xE000 else chr(code).encode()


def unescape(text: bytes) -> bytes:
    """The content of a JSON string: escapes resolved, a lone surrogate as U+FFFD, an unknown escape left as it is."""
    return _ESCAPE.sub(_replace_escape, text) if b"\\" in text else text


def note_string(buffer: bytes, start: int, stop: int, note: Callable[[str, int], None]) -> None:
    """Note each bad escape and each control character of the string content `buffer[start:stop]`, at its position."""
    for match in _NOTEWORTHY.finditer(buffer, start, stop):
        if match[1] is not None:
            note("bad_escape", match.start())
            if buffer[match.start() + 1] < _FIRST_CONTROL_AFTER:
                note("control_character", match.start() + 1)
        elif buffer[match.start()] < _FIRST_CONTROL_AFTER:
            note("control_character", match.start())


_PLAIN: Final = re.compile(rb'[^"\\]*+')
_BARE: Final = re.compile(rb"[^,}\] \t\r\n]*+")
_UNQUOTED: Final = re.compile(rb'[^\[\]{}"]*+')
_BLANK: Final = re.compile(SPACE)
_UNDECIDED: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?+")
_UNICODE: Final = re.compile(rb"\\u[0-9a-fA-F]{4}")


class ValueWalk:
    """A walk over one JSON value of any size and depth: counts brackets, never recurses, can stop at any byte.

    Kinds of brackets are not matched, and what lies between strings inside brackets is not looked at. But a string must be
    followed by one of `,:]}`: without that, one lost quote would turn names into structure up to the end of the file.
    """

    __slots__ = ("_depth", "_step", "bare")

    def __init__(self) -> None:
        self._depth = 0
        self._step = self._begin
        self.bare = False
        """Whether the value is a token: neither a string nor nested."""

    def go(self, buffer: bytes, start: int, end: int, note: Callable[[str, int], None]) -> tuple[int, bool]:
        """Walk on from `start`, at most to `end`; gives the position reached, and whether the value ends there.

        An unfinished value must go on with the buffer from the position reached, which can be before `end`.

        Raises:
            BrokenTextError: an empty value, or a string followed by something that cannot follow it.
        """
        position, done = start, False
        while not done:
            before = (position, self._step)
            position, done = self._step(buffer, position, end, note)
            if not done and before == (position, self._step):
                break
        return position, done

    def _begin(self, buffer: bytes, position: int, end: int, _note: Callable[[str, int], None]) -> tuple[int, bool]:
        if position >= end:
            return position, False
        char = buffer[position]
        if char == 0x22:
            self._step = self._in_string
            return position + 1, False
        if char in b"[{":
            self._depth = 1
            self._step = self._in_brackets
            return position + 1, False
        if char in b",}]":
            raise BrokenTextError(position)
        self.bare = True
        self._step = self._in_token
        return position, False

    def _in_token(self, buffer: bytes, position: int, end: int, _note: Callable[[str, int], None]) -> tuple[int, bool]:
        match = _BARE.match(buffer, position, end)
        stop = match.end() if match else position
        return stop, stop < end

    def _in_string(self, buffer: bytes, position: int, end: int, note: Callable[[str, int], None]) -> tuple[int, bool]:
        start = position
        match = _PLAIN.match(buffer, position, end)
        position = match.end() if match else position
        note_string(buffer, start, position, note)
        if position >= end:
            return position, False
        if buffer[position] == 0x22:
            self._step = self._after_string
            return position + 1, self._depth == 0
        if _UNDECIDED.fullmatch(buffer, position, end):
            return position, False
        stop = position + (6 if _UNICODE.match(buffer, position, end) else 2)
        note_string(buffer, position, stop, note)
        return stop, False

    def _after_string(
        self, buffer: bytes, position: int, end: int, _note: Callable[[str, int], None]
    ) -> tuple[int, bool]:
        match = _BLANK.match(buffer, position, end)
        position = match.end() if match else position
        if position < end:
            if buffer[position] not in b",:]}":
                raise BrokenTextError(position)
            self._step = self._in_brackets
        return position, False

    def _in_brackets(
        self, buffer: bytes, position: int, end: int, _note: Callable[[str, int], None]
    ) -> tuple[int, bool]:
        match = _UNQUOTED.match(buffer, position, end)
        position = match.end() if match else position
        if position >= end:
            return position, False
        char = buffer[position]
        if char == 0x22:
            self._step = self._in_string
        else:
            self._depth += 1 if char in b"[{" else -1
        return position + 1, self._depth == 0
