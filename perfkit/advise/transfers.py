"""Copies that operators make of their data, for the rules that ask why: what they cost, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote
from perfkit.advise.saving import WRITTEN_BACK, Saving, timelines
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution
    from perfkit.model.signs import Transfer

__all__ = ["find_transfers"]

MOST_NAMED: Final = 2


def find_transfers(attribution: Attribution, code: str, words: Mapping[str, tuple[str, str]]) -> Iterator[Finding]:
    """Find copies on the timeline that loses most to them; ``words`` are title and fix for each kind that is meant."""
    found = []
    for timeline in timelines(attribution):
        rows = [row for row in attribution.signs.transfers if row.timeline == timeline.id and row.kind in words]
        time, idle = sum(row.time_ns for row in rows), sum(row.idle_ns for row in rows)
        if timeline.kind == "device":
            ends = 0.7 * time, 0.9 * time + idle / 2, float(time + idle)
        else:
            calling = sum(row.calling_ns for row in rows)
            ends = (1 - WRITTEN_BACK) * time, time + calling / 2, (1 + WRITTEN_BACK) * time + calling
        saving = Saving(attribution, timeline, time + idle, *ends)
        if saving.matters:
            found.append((saving, rows))
    if not found:
        return
    saving, rows = max(found, key=lambda pair: pair[0].ns)
    title, fix = words[rows[0].kind]
    yield saving.finding(
        code,
        title,
        where=rows[0].where or rows[0].module or rows[0].operator,
        evidence=tuple(describe(row) for row in rows[:MOST_NAMED]),
        fix=fix,
        safety="check",
        records=sum(row.records for row in rows),
    )._replace(rows=tuple(row for transfer in rows for row in transfer.rows))


def describe(row: Transfer) -> str:
    """Say what was copied, and where."""
    place = f" in {quote(row.where or row.module)}" if row.where or row.module else ""
    return f"{quote(row.operator)}{place}: {count(row.calls, 'copy', 'copies')}, {duration(row.time_ns)}."
