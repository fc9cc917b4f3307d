"""Writes text that cannot harm a terminal: escaped, fitted to a width in cells, and coloured where that is wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SPACE_IN_QUANTITY", "Pen", "Tone", "plain"]

Tone = Literal["heading", "busy", "idle", "unknown", "good", "bad", "quiet"]

# Bright blue against yellow is told apart with every kind of colour vision; no meaning is in the colour alone.
TONES: Final[Mapping[Tone, Mapping[str, str | bool]]] = {
    "heading": {"bold": True},
    "busy": {"fg": "bright_blue"},
    "idle": {"fg": "yellow"},
    "unknown": {"fg": "white", "dim": True},
    "good": {"fg": "bright_blue", "bold": True},
    "bad": {"fg": "yellow", "bold": True},
    "quiet": {"dim": True},
}
EIGHTHS: Final = " ▏▎▍▌▋▊▉"
MARK: Final = "…"
WIDER: Final = "\u0300"
"""The first character that may take no cell, or two."""
UNIT: Final = r"(?:%|[nmu]?s|[kMGT]?B)(?!\w)"
SPACE_IN_QUANTITY: Final = re.compile(rf"(?<=\d) (?={UNIT})")
SPACE: Final = re.compile(rf"(?<!\d) | (?!{UNIT})")
"""A space at which a line may break: not between a number and its unit."""


def plain(text: str) -> str:
    """Escape what is not printable: control characters, escapes, line breaks, invisible and bidirectional marks."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def is_narrow(text: str) -> bool:
    """Tell whether each character takes one cell.

    In most texts it does: nobody needs the tables of `rich.cells`, which take longer to import than a report to draw.
    """
    return text.isascii() or max(text.replace(MARK, " ")) < WIDER


def cell_len(text: str) -> int:
    """Return how many cells a text takes."""
    if is_narrow(text):
        return len(text)
    from rich import cells

    return cells.cell_len(text)


def set_cell_size(text: str, width: int) -> str:
    """Return a text cut or padded to this many cells."""
    if is_narrow(text):
        return text[: max(width, 0)].ljust(width)
    from rich import cells

    return cells.set_cell_size(text, width)


def chop_cells(text: str, width: int) -> list[str]:
    """Return a text in pieces of this many cells."""
    if is_narrow(text):
        return [text[at : at + width] for at in range(0, len(text), width)]
    from rich import cells

    return cells.chop_cells(text, width)


class Pen(NamedTuple):
    """How to write on one terminal or file.

    Attributes:
        width: Cells in a line.
        colour: Whether ANSI styles are understood.
        unicode: Whether anything beyond ASCII can be shown.
    """

    width: int
    colour: bool
    unicode: bool

    def clean(self, text: str) -> str:
        """Escape what is not printable, or cannot be shown here."""
        text = plain(text)
        return text if self.unicode else text.encode("ascii", "backslashreplace").decode("ascii")

    def fit(self, text: str, width: int) -> str:
        """Return text of exactly ``width`` cells, padded, or cut and marked as cut."""
        text = self.clean(text)
        if cell_len(text) <= width:
            return set_cell_size(text, width)
        mark = MARK if self.unicode else "..."
        kept = set_cell_size(text, max(width - len(mark), 0)).rstrip() + mark
        return set_cell_size(kept, width)

    def wrap(self, text: str, width: int, most: int) -> list[str]:
        """Break text at spaces into at most ``most`` lines of ``width`` cells; the last shows that more follows."""
        lines: list[str] = []
        for word in SPACE.split(self.clean(text)):
            if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
                lines[-1] = f"{lines[-1]} {word}"
            elif cell_len(word) <= width:
                lines.append(word)
            else:
                lines.extend(chop_cells(word, width))
        if len(lines) > most:
            lines[most - 1 :] = [self.fit(" ".join(lines[most - 1 :]), width).rstrip()]
        return lines

    def paint(self, text: str, tone: Tone) -> str:
        """Style text that is clean already."""
        return click.style(text, **TONES[tone]) if self.colour and text else text  # type: ignore[arg-type]

    def bar(self, share: float, width: int) -> str:
        """Return a bar of ``width`` cells that is filled up to ``share``; what is not nothing can be seen."""
        eighths = max(round(min(share, 1.0) * width * 8), 1 if share > 0 else 0)
        if not self.unicode:
            return ("#" * -(-eighths // 8)).ljust(width)
        return ("█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()).ljust(width)
