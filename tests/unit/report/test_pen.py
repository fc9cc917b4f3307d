from __future__ import annotations

import pytest
from rich.cells import cell_len

from perfkit.report.pen import Pen, plain
from tests.diagnoses import HOSTILE

UNICODE = Pen(width=80, colour=True, unicode=True)
ASCII = Pen(width=80, colour=False, unicode=False)


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_is_not_printable_is_escaped(name: str) -> None:
    assert plain(name).isprintable()


def test_escapes_show_what_was_there() -> None:
    assert plain("\x1b[31m\x00\n\u202e\udce9") == "\\x1b[31m\\x00\\n\\u202e\\udce9"


@pytest.mark.parametrize("pen", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 10, 80])
@pytest.mark.parametrize("name", HOSTILE)
def test_fitted_text_has_exactly_that_many_cells(pen: Pen, name: str, width: int) -> None:
    assert cell_len(pen.fit(name, width)) == width
    assert pen.unicode or pen.fit(name, width).isascii()


def test_what_is_cut_is_marked() -> None:
    assert UNICODE.fit("abcdef", 4) == "abc…"
    assert ASCII.fit("abcdef", 4) == "a..."
    assert UNICODE.fit("漢字漢字", 6) == "漢字… "


@pytest.mark.parametrize("width", [4, 20, 80])
@pytest.mark.parametrize("name", HOSTILE)
def test_wrapped_lines_are_never_too_wide_or_too_many(name: str, width: int) -> None:
    lines = UNICODE.wrap(f"before {name} after", width, 3)
    assert 1 <= len(lines) <= 3
    assert all(cell_len(line) <= width for line in lines)


def test_wrapped_text_is_all_there_if_there_is_room() -> None:
    assert UNICODE.wrap("one two three", 8, 3) == ["one two", "three"]
    assert UNICODE.wrap("one two three", 8, 1) == ["one two…"]


@pytest.mark.parametrize(
    ("share", "unicode", "ascii_"),
    [(0, "    ", "    "), (0.001, "▏   ", "#   "), (0.5, "██  ", "##  "), (0.53, "██▏ ", "### "), (1, "████", "####")],
)
def test_bars(share: float, unicode: str, ascii_: str) -> None:
    assert UNICODE.bar(share, 4) == unicode
    assert ASCII.bar(share, 4) == ascii_


def test_colour_only_where_it_is_understood() -> None:
    assert "\x1b[" in UNICODE.paint("text", "busy")
    assert ASCII.paint("text", "busy") == "text"
