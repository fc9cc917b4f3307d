"""The page of a Difference: the verdict, a waterfall from base to head by owner of time, and tables of what changed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.model.quantity import duration
from perfkit.report import diff_words as words
from perfkit.report.labels import cause_label
from perfkit.report.page.grids import Cell, Grid, cut, name, time
from perfkit.report.page.shell import clean, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perfkit.model.difference import Difference, TableName

__all__ = ["draw"]

SCRIPTS: Final = ("base.js", "tables.js")
SMALL: Final = 0.1
"""Where all changes span less than this part of the base, the scale does not begin at nothing."""


class Fall(NamedTuple):
    """A row of the waterfall: a whole side, or what one owner adds or takes away; places are parts of the width."""

    kind: str
    label: str
    left: float
    width: float
    base: str
    head: str
    change: str
    direction: str
    margin: str = ""


def draw(difference: Difference, *, top: int | None = None) -> str:
    """Return the page.

    Args:
        difference: What to draw.
        top: Rows of each table; None for as many as fit.
    """
    falls, origin_ns = waterfall(difference)
    return render(
        "difference.html.j2",
        SCRIPTS,
        {},
        difference=difference,
        headline=words.headline(difference),
        cause=words.cause(difference),
        owners=words.owners(difference),
        sides=words.sides(difference),
        notes=words.notes(difference),
        falls=falls,
        origin=duration(origin_ns) if origin_ns else "",
        grids=cut(grids(difference), top),
    )


def waterfall(difference: Difference) -> tuple[list[Fall], int]:
    """Return the rows from base to head, and where the scale begins: the changes sum to what lies between, exactly."""
    moved = [bucket for bucket in words.shown_buckets(difference) if bucket.base_ns or bucket.head_ns]
    edges = list(itertools.accumulate((bucket.change_ns for bucket in moved), initial=difference.base.unit_ns))
    low, high = min(edges), max([*edges, difference.head.unit_ns])
    origin = 0 if high - low > SMALL * high else max(low - 2 * (high - low), 0)
    scale = 100 / max(high - origin, 1)
    base = side("BASE", difference.base.unit_ns, origin, scale)
    head = side("HEAD", difference.head.unit_ns, origin, scale)
    falls = [
        Fall(
            kind=bucket.name,
            label=cause_label(bucket.name),
            left=(min(before, after) - origin) * scale,
            width=abs(after - before) * scale,
            base=duration(bucket.base_ns),
            head=duration(bucket.head_ns),
            change=words.change(bucket.change_ns),
            direction="more" if bucket.change_ns > 0 else "less" if bucket.change_ns < 0 else "",
            margin=words.margin(bucket),
        )
        for bucket, before, after in zip(moved, edges, edges[1:], strict=False)
    ]
    total = head._replace(
        base=duration(difference.base.unit_ns),
        change=words.change(difference.change_ns),
        direction="more" if difference.change_ns > 0 else "less" if difference.change_ns < 0 else "",
    )
    return [base, *falls, total], origin


def side(label: str, ns: int, origin: int, scale: float) -> Fall:
    """Return the row of a whole side."""
    width = (ns - origin) * scale
    shown = duration(ns)
    return Fall("side", label, 0, width, shown if label == "BASE" else "", shown if label == "HEAD" else "", "", "")


def grids(difference: Difference) -> Iterable[Grid]:
    """Yield all tables, those without rows included."""
    for key, title in words.TABLES.items():
        yield Grid(f"rows-{key}", title, ("Name", "Where", "What", "Base", "Head", "Change"), rows(difference, key))
    yield Grid(
        "pairs",
        "Steps",
        ("Of base", "Of head", "Base", "Head", "Change"),
        [
            (
                name(pair.base),
                name(pair.head),
                time(pair.base_ns),
                time(pair.head_ns),
                change(pair.head_ns - pair.base_ns),
            )
            for pair in difference.steps
        ],
    )


def rows(difference: Difference, table: TableName) -> Sequence[Sequence[Cell]]:
    """Return the changes of one kind, the largest first."""
    return [
        (
            name(row.name),
            name(words.place(row)),
            Cell(words.what(row), clean(row.kind)),
            time(row.base_ns),
            time(row.head_ns),
            change(row.change_ns),
        )
        for row in words.shown_rows(difference, table)
    ]


def change(ns: int) -> Cell:
    """Return a cell with a change."""
    return Cell(words.change(ns), ns)
