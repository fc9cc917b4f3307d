"""Draws a Difference as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.model.quantity import duration
from perfkit.report import diff_words as words
from perfkit.report.labels import cause_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.difference import Difference, TableName
    from perfkit.report.pen import Pen, Tone

__all__ = ["draw"]

DEFAULT_ROWS: Final = 5
MARGIN: Final = 2
CELL: Final = 10
ROOMY: Final = 60
"""Columns from which on there is room for how far a change may be off."""
MOST_LINES: Final = 8
TONES: Final[dict[str, Tone]] = {"faster": "good", "same": "good", "slower": "bad", "not_comparable": "bad"}


def draw(difference: Difference, pen: Pen, *, top: int | None = None) -> str:
    """Return the text, each line ending in a line break and no longer than the pen's width.

    Args:
        difference: What to draw.
        pen: Width, colour and character set.
        top: Rows of each table; None for a few.
    """
    rows = DEFAULT_ROWS if top is None else top
    verdict = pen.wrap(words.headline(difference), pen.width, MOST_LINES)
    parts = [
        [pen.paint(line, TONES[difference.verdict]) for line in verdict],
        pen.wrap(words.cause(difference), pen.width, MOST_LINES),
        [line for text in words.sides(difference) for line in hanging(pen, text, len("BASE "))],
        list(buckets(difference, pen)),
        *(list(table(difference, pen, name, rows)) for name in words.TABLES),
        [line for note in words.notes(difference) for line in hanging(pen, f"Note {note}", len("Note "))],
    ]
    return "\n".join("".join(f"{line.rstrip()}\n" for line in part) for part in parts if any(part))


def hanging(pen: Pen, text: str, indent: int) -> list[str]:
    """Break a text into lines that are indented but for the first."""
    first, *others = pen.wrap(text, pen.width - indent, MOST_LINES)
    return [first, *(f"{' ' * indent}{line}" for line in others)]


def heading(pen: Pen, title: str, *more: str) -> str:
    """Draw a heading with the names of the columns at its right."""
    right = "".join(column.rjust(CELL) for column in ("base", "head", "change", *more))
    return pen.paint(pen.fit(title, pen.width - len(right)), "heading") + pen.paint(right, "quiet")


def line(pen: Pen, label: str, base_ns: int, head_ns: int, margin: str | None = None) -> str:
    """Draw a label and the times at its right; with a margin there is one column more."""
    cells = [
        duration(base_ns),
        duration(head_ns),
        words.change(head_ns - base_ns),
        *([] if margin is None else [margin]),
    ]
    space = pen.width - MARGIN - len(cells) * CELL
    return f"{' ' * MARGIN}{pen.fit(label, space)}{''.join(cell.rjust(CELL) for cell in cells)}"


def buckets(difference: Difference, pen: Pen) -> Iterator[str]:
    """Draw the owners of time; their changes sum to the last line."""
    shown = words.shown_buckets(difference)
    if not shown:
        return
    several = pen.width >= ROOMY and any(bucket.interval for bucket in shown)
    yield heading(pen, words.owners(difference), *(["95 %"] if several else []))
    for bucket in shown:
        label = cause_label(bucket.name)
        yield line(
            pen,
            label,
            bucket.base_ns,
            bucket.head_ns,
            words.margin(bucket, "±" if pen.unicode else "+-") if several else None,
        )
    yield line(pen, "sum", difference.base.unit_ns, difference.head.unit_ns, "" if several else None)


def table(difference: Difference, pen: Pen, name: TableName, most: int) -> Iterator[str]:
    """Draw the largest changes of one table."""
    rows = words.shown_rows(difference, name)
    if not rows:
        return
    yield heading(pen, words.TABLES[name])
    for row in rows[:most]:
        yield line(pen, row.name or "(no name)", row.base_ns, row.head_ns)
        text = ", ".join(part for part in (words.what(row), words.place(row)) if part)
        yield pen.paint(f"{' ' * 2 * MARGIN}{pen.fit(text, pen.width - 2 * MARGIN)}", "quiet")
    if len(rows) > most:
        yield pen.paint(f"{' ' * MARGIN}{len(rows) - most:,} more: --top {len(rows)}", "quiet")
