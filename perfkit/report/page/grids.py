"""Tables of a page: cells that say how they are sorted, and tables that can be searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.model.quantity import duration
from perfkit.report.page.shell import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Cell", "Grid", "cut", "name", "texts", "time", "whole"]

MOST_ROWS: Final = 400


class Cell(NamedTuple):
    """What a cell of a table shows, what it is sorted by, and whether it is a name."""

    text: str
    value: float | str
    is_name: bool = False


class Grid(NamedTuple):
    """A table that can be sorted and searched."""

    id: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left_out: int = 0


def cut(grids: Iterable[Grid], top: int | None) -> list[Grid]:
    """Return the tables that have rows, with so many of them at most (None: as many as fit), and how many are cut."""
    most = MOST_ROWS if top is None else top
    return [grid._replace(rows=grid.rows[:most], left_out=max(len(grid.rows) - most, 0)) for grid in grids if grid.rows]


def name(text: str) -> Cell:
    """Return a cell with a name of the trace."""
    return Cell(clean(text), clean(text).lower(), is_name=True)


def whole(value: int) -> Cell:
    """Return a cell with a number."""
    return Cell(f"{value:,}", value)


def time(ns: int) -> Cell:
    """Return a cell with a time."""
    return Cell(duration(ns), ns)


def texts(key: str, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """Return a table of texts; its columns are sorted by the numbers that they begin with, by the scripts."""
    cells = [(name(row[0]), *(Cell(clean(text), clean(text)) for text in row[1:])) for row in rows]
    return Grid(key, title, [clean(text).capitalize() for text in head], cells)
