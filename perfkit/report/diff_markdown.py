"""Draws a Difference as GitHub-flavoured Markdown, for a review comment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.model.quantity import duration
from perfkit.report import diff_words as words
from perfkit.report.labels import cause_label
from perfkit.report.markdown import bullets, code, fitted, folded, prose, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfkit.model.difference import Difference, TableName

__all__ = ["MARKER", "draw"]

MARKER: Final = "<!-- perfkit diff -->"
"""The first line, which readers do not see: who posts the comment finds the one before by it, and updates that."""


def draw(difference: Difference, *, top: int | None = None) -> str:
    """Return the text, at most ``MOST_CHARACTERS`` long: tables are cut until it fits.

    Args:
        difference: What to draw.
        top: Rows of each table; None for some twenty.
    """
    return fitted(lambda rows: parts(difference, rows), top)


def parts(difference: Difference, rows: int) -> Iterable[str]:
    """Yield the verdict, and under it what is folded; where nothing moved, all the rest is in one fold."""
    yield f"{MARKER}\n**{prose(words.headline(difference))}**"
    yield prose(words.cause(difference))
    about = bullets([*words.sides(difference), *words.notes(difference)][: rows or 2])
    if not words.moved(difference):
        yield folded("Details", [about, buckets(difference)])
        return
    yield buckets(difference)
    for name, title in words.TABLES.items():
        yield folded(title, [changes(difference, name, rows)])
    yield folded("Steps", [steps(difference, rows)])
    yield folded("What was compared", [about])


def buckets(difference: Difference) -> str:
    """Return the table of the owners of time; their changes sum to the last row."""
    cells = [
        (
            prose(cause_label(row.name)),
            duration(row.base_ns),
            duration(row.head_ns),
            f"{words.change(row.change_ns)} {words.margin(row)}".rstrip(),
        )
        for row in words.shown_buckets(difference)
    ]
    if cells:
        base, head = duration(difference.base.unit_ns), duration(difference.head.unit_ns)
        cells.append(("**sum**", f"**{base}**", f"**{head}**", f"**{words.change(difference.change_ns)}**"))
    return table((words.owners(difference), "Base", "Head", "Change"), "lrrr", cells)


def changes(difference: Difference, name: TableName, most: int) -> str:
    """Return the table of the largest changes of one kind."""
    rows = [
        (
            code(row.name, in_table=True),
            code(words.place(row), in_table=True) if words.place(row) else "",
            words.what(row),
            duration(row.base_ns),
            duration(row.head_ns),
            words.change(row.change_ns),
        )
        for row in words.shown_rows(difference, name)[:most]
    ]
    return table(("Name", "Where", "What", "Base", "Head", "Change"), "lllrrr", rows)


def steps(difference: Difference, most: int) -> str:
    """Return the table of the steps that stand in the same place."""
    rows = [
        (
            code(pair.base, in_table=True),
            code(pair.head, in_table=True),
            duration(pair.base_ns),
            duration(pair.head_ns),
            words.change(pair.head_ns - pair.base_ns),
        )
        for pair in difference.steps[:most]
    ]
    return table(("Of base", "Of head", "Base", "Head", "Change"), "llrrr", rows)
