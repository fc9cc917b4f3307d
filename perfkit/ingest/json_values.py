"""JSON that is no list of Chrome events, read value by value: what is wanted is decoded, the rest only passed over."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["EACH", "JsonValues"]

Place = tuple[str, ...]

EACH: Final = "*"
"""In a place, every element of a list."""

_DEEPEST: Final = 64
_LARGEST_VALUE: Final = 1 << 26
_PASSED_OVER_WHOLE: Final = 1 << 20
_SPACE: Final = " \t\n\r\ufeff"
_UNFINISHED: Final = 16
"""So near the end of what is there, an error may be a value that goes on."""


class _BrokenError(Exception):
    """The text is not JSON from here on, or ends here."""


class JsonValues:
    """Yields the values at some places of a document; holds no more of its text than one of them."""

    def __init__(self, chunks: Iterable[bytes], places: Collection[Place]) -> None:
        """Take the document, piece by piece, and where the values are that are wanted: keys, and `EACH` for a list."""
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._scan = json.JSONDecoder(strict=False).raw_decode
        self._wanted = frozenset(places)
        self._leading = frozenset(place[:length] for place in places for length in range(len(place)))
        self._text, self._at, self._read, self._ended = "", 0, 0, False
        self.defects: list[tuple[str, int]] = []

    def __iter__(self) -> Iterator[tuple[Place, Any]]:
        """Yield place and value in the order of the document; where it breaks, `defects` says why and at which byte."""
        try:
            yield from self._values((), 0)
            if self._peek():
                self._note("trailing_data")
        except _BrokenError:
            self._note("truncated" if self._is_at_end() else "broken_rest")

    def _values(self, place: Place, depth: int) -> Iterator[tuple[Place, Any]]:
        opening = self._peek()
        if not opening or depth > _DEEPEST:
            raise _BrokenError
        if place in self._wanted:
            yield place, self._value(_LARGEST_VALUE)
        elif opening not in "[{":
            self._value(_LARGEST_VALUE)
        elif place in self._leading or not self._passed_over():
            yield from self._members(place, depth, opening)

    def _members(self, place: Place, depth: int, opening: str) -> Iterator[tuple[Place, Any]]:
        closing = "]" if opening == "[" else "}"
        self._at += 1
        if self._peek() == closing:
            self._at += 1
            return
        while True:
            key = EACH
            if opening == "{":
                key = self._key()
            yield from self._values((*place, key), depth + 1)
            follows = self._peek()
            if follows not in (",", closing):
                raise _BrokenError
            self._at += 1
            if follows == closing:
                return

    def _key(self) -> str:
        if self._peek() != '"':
            raise _BrokenError
        key: str = self._value(_LARGEST_VALUE)
        if self._peek() != ":":
            raise _BrokenError
        self._at += 1
        return key

    def _value(self, largest: int) -> Any:
        """Decode the value that begins here."""
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except json.JSONDecodeError as error:
                goes_on = error.msg.startswith("Unterminated") or len(self._text) - error.pos <= _UNFINISHED
                if goes_on and len(self._text) - self._at <= largest and self._fill():
                    continue
                raise _BrokenError from None
            except (ValueError, RecursionError):  # a number of thousands of digits; lists within lists
                raise _BrokenError from None
            if end == len(self._text) and self._fill():
                continue  # a number may go on
            self._at = end
            return value

    def _passed_over(self) -> bool:
        """Pass over a value that nobody wants in one piece, if it is small enough for that."""
        try:
            self._value(_PASSED_OVER_WHOLE)
        except _BrokenError:
            return False
        return True

    def _peek(self) -> str:
        """Return the next character that is no space, or nothing at the end."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in _SPACE:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if not self._fill():
                return ""

    def _fill(self) -> bool:
        """Read as much as there is text already, or a piece at least; tell whether there was any."""
        pieces = [self._text[self._at :]]
        goal = 2 * len(pieces[0])
        while not self._ended and (len(pieces) == 1 or sum(map(len, pieces)) < goal):
            chunk = next(self._chunks, None)
            self._ended = chunk is None
            self._read += len(chunk or b"")
            pieces.append(self._decoder.decode(chunk or b"", final=self._ended))
        self._text, self._at = "".join(pieces), 0
        return len(pieces) > 1 and len(self._text) > len(pieces[0])

    def _is_at_end(self) -> bool:
        self._fill()
        if not self._ended:
            return False
        try:
            self._scan(self._text, self._at)
        except json.JSONDecodeError as error:
            return error.msg.startswith("Unterminated") or len(self._text) - error.pos <= _UNFINISHED
        except (ValueError, RecursionError):
            return False
        return False

    def _note(self, kind: str) -> None:
        self.defects.append((kind, self._read - len(self._text[self._at :].encode("utf-8", "replace"))))
