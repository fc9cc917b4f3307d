"""What every report of a Difference says, in the same words; names from the traces stand between backticks."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from perfkit.model.difference import Bucket
from perfkit.model.quantity import count, duration, percent, sentence
from perfkit.report.labels import cause_label

if TYPE_CHECKING:
    from perfkit.model.difference import Difference, ObstacleKind, RowChange, Side, TableName

__all__ = [
    "TABLES",
    "amounts",
    "cause",
    "change",
    "headline",
    "margin",
    "moved",
    "notes",
    "owners",
    "place",
    "shown_buckets",
    "shown_rows",
    "sides",
    "what",
]

TABLES: Final[dict[TableName, str]] = {
    "kernel": "Kernels",
    "copy": "Copies",
    "operator": "Operators",
    "idle": "What is waited for",
}
"""Every table of rows, and its heading."""
LEAST: Final = 0.001
"""Part of the unit below which a change of a row is not shown."""
MOST_BUCKETS: Final = 24
SAME: Final = 0.02
"""Part by which times per call may differ and be called the same."""
TWICE: Final = 2
NOTABLE: Final = 0.1
"""Part of the change from which on what goes against it is named."""
FOREIGN: Final[frozenset[ObstacleKind]] = frozenset(("empty", "program"))
"""Obstacles that leave no row worth comparing."""
OTHER_WORK: Final[frozenset[ObstacleKind]] = frozenset(("duration", "work"))
"""Obstacles that leave only times per call to compare."""


def headline(difference: Difference) -> str:
    """Return the verdict as a sentence."""
    base, unit = difference.base, per_unit(difference)
    if difference.verdict == "not_comparable":
        reasons = "; ".join(obstacle.message for obstacle in difference.obstacles)
        return sentence(f"not comparable: {reasons}")
    if not difference.change_ns:
        return sentence(f"no change: {duration(base.unit_ns)}{unit} on both sides")
    if difference.verdict == "same":
        return sentence(
            f"the same within noise: {amounts(difference)}, {change(difference.change_ns)}{bounds(difference)}"
        )
    ratio = difference.head.unit_ns / base.unit_ns
    share = percent(abs(ratio - 1)) if ratio < TWICE else f"{ratio:,.1f} times as long"
    by = duration(abs(difference.change_ns))
    return sentence(f"{difference.verdict} by {by}{unit} ({share}): {amounts(difference)}{bounds(difference)}")


def amounts(difference: Difference) -> str:
    """Return the lengths of the unit on both sides."""
    return f"{duration(difference.base.unit_ns)} to {duration(difference.head.unit_ns)}{per_unit(difference)}"


def bounds(difference: Difference) -> str:
    """Return the interval of the change, and what could not have been seen if there is none."""
    base_ns, interval = difference.base.unit_ns, difference.interval
    seen = difference.threshold * base_ns
    text = ""
    if interval is not None:
        text = f" (95 % interval over {interval.samples} {change(interval.low_ns)} to {change(interval.high_ns)})"
        seen = max(seen, (interval.high_ns - interval.low_ns) / 2)
    elif difference.verdict != "same":
        text = " (a single sample a side, so its spread is not known)"
    if difference.verdict == "same":
        text = f"{text}; less than {percent(seen, base_ns)} would not be seen"
    return text


def margin(bucket: Bucket, sign: str = "±") -> str:
    """Return how far the change of an owner may be off, after a sign, where several runs tell; else nothing."""
    return f"{sign} {duration((bucket.interval.high_ns - bucket.interval.low_ns) / 2)}" if bucket.interval else ""


def cause(difference: Difference) -> str:
    """Say in a sentence or two what likely made the change; empty where nothing did."""
    if kinds(difference) & OTHER_WORK:
        return per_call(difference)
    if difference.cause is None:
        return ""
    bucket, row = difference.cause
    moved_by = f"{duration(abs(bucket.change_ns))}{per_unit(difference)} {'more' if bucket.change_ns > 0 else 'less'}"
    text = f"Likely cause: {cause_label(bucket.name)}, {moved_by}"
    if row is not None:
        text = f"{text}. Most of that: `{row.name}`{at(row)}, {what(row)}: {change(row.change_ns)}"
    against = [other for other in difference.buckets if other.change_ns * bucket.change_ns < 0]
    largest = max(against, key=lambda other: abs(other.change_ns), default=None)
    if largest is not None and abs(largest.change_ns) >= NOTABLE * abs(difference.change_ns):
        text = f"{text}. Against it: {cause_label(largest.name)}, {change(largest.change_ns)}"
    return f"{text}."


def per_call(difference: Difference) -> str:
    """Compare what can be compared where totals cannot: the time of a call, and the part of the time that is idle."""
    base, head, ratio = difference.base, difference.head, difference.per_call
    texts = []
    if ratio is not None:
        longer = "the same time on both sides" if abs(ratio - 1) < SAME else f"{ratio:.2f} times as long in HEAD"
        texts.append(f"A call of the same kernel takes {longer}")
    before, after = (side.idle_ns / side.unit_ns for side in (base, head))
    one = "device" if head.kind == "device" else "thread"
    who = f"The {one} is" if head.timelines == 1 else f"The {one}s are"
    text = f"{who} idle {percent(before)} of the time in BASE and {percent(after)} in HEAD"
    if before and abs(after / before - 1) >= SAME:
        sign = 1 if after > before else -1
        most = max((row for row in difference.buckets if row.kind == "idle"), key=lambda row: sign * row.change_ns)
        text = f"{text}, {after / before:.1f} times as much: most of that by {cause_label(most.name)}"
        text = f"{text} ({duration(most.base_ns)} to {duration(most.head_ns)})"
    return f"{'. '.join([*texts, text])}."


def per_unit(difference: Difference) -> str:
    """Return what follows a time."""
    return " a step" if difference.unit == "step" else ""


def owners(difference: Difference) -> str:
    """Return the heading of the table of the owners of time."""
    return "Where the time of a step goes" if difference.unit == "step" else "Where the time goes"


def change(ns: int) -> str:
    """Return a change with its sign."""
    return f"{'+' if ns > 0 else '-' if ns < 0 else ''}{duration(abs(ns))}"


def sides(difference: Difference) -> list[str]:
    """Say what each side is."""
    base, head = difference.base, difference.head
    return [side("BASE", base, head), side("HEAD", head, base)]


def side(name: str, of: Side, other: Side) -> str:
    """Say what a side is; its first file is named by as much of its path as tells it from the other's."""
    parts = PurePath(of.paths[0]).parts
    others = PurePath(other.paths[0]).parts
    depth = next((at for at in range(1, len(parts) + 1) if parts[-at:] != others[-at:]), 1)
    path = "/".join(parts[-depth:]) or of.paths[0]
    more = f" and {of.runs - 1:,} more" if of.runs > 1 else ""
    texts = [" and ".join(of.formats), *of.devices]
    if of.timelines > 1:
        texts.append(count(of.timelines, "device" if of.kind == "device" else "thread"))
    if of.steps:
        texts.append(count(of.steps, "step"))
    return f"{name} `{path}`{more}: {', '.join(texts)}"


def what(row: RowChange) -> str:
    """Say what changed of a row; the calls of what is waited for are gaps."""
    if row.kind in {"added", "removed"}:
        calls = row.head_calls if row.kind == "added" else row.base_calls
        often = "" if row.table == "idle" else f" ({times(calls)})"
        return f"{'new' if row.kind == 'added' else 'gone'}{often}"
    if row.kind in {"more_calls", "fewer_calls"}:
        often = "more often" if row.kind == "more_calls" else "less often"
        noun = "gaps" if row.table == "idle" else "times"
        return f"{often} ({number(row.base_calls)} to {number(row.head_calls)} {noun})"
    if row.kind == "same":
        return "about the same"
    costs = (row.base_ns / row.base_calls, row.head_ns / row.head_calls) if row.base_calls and row.head_calls else ()
    each = f" ({' to '.join(map(duration, costs))} each)" if costs else ""
    return f"{row.kind}{each}"


def times(calls: float) -> str:
    """Return how often something was called."""
    return "once" if calls == 1 else f"{number(calls)} times"


def number(calls: float) -> str:
    """Return a number of calls, which a mean over steps may break."""
    return f"{calls:,.0f}" if calls == round(calls) else f"{calls:,.1f}" if calls >= 1 else f"{calls:.2g}"


def at(row: RowChange) -> str:
    """Return the place of a row, to follow its name."""
    return f" at `{place(row)}`" if place(row) else ""


def place(row: RowChange) -> str:
    """Return module and source line of a row, as far as they are known and not its name already."""
    parts = (row.module.removeprefix("nn.Module: "), row.where)
    return ", ".join(part for part in parts if part not in {"", row.name})


def moved(difference: Difference) -> bool:
    """Tell whether there is anything to look at: a verdict other than the same, or an owner of time that moved."""
    least = difference.threshold * difference.base.unit_ns
    return difference.verdict != "same" or any(
        abs(row.change_ns) >= least for row in difference.buckets if row.change_ns
    )


def shown_buckets(difference: Difference) -> list[Bucket]:
    """Return the owners of time that have any; the smallest of many are one."""
    shown = [bucket for bucket in difference.buckets if bucket.base_ns or bucket.head_ns]
    rest = shown[MOST_BUCKETS:]
    if not rest:
        return shown
    sums = (sum(bucket.base_ns for bucket in rest), sum(bucket.head_ns for bucket in rest))
    return [*shown[:MOST_BUCKETS], Bucket("other_causes", "idle", *sums)]


def shown_rows(difference: Difference, table: TableName) -> list[RowChange]:
    """Return the rows of a table whose change is worth a line."""
    found = kinds(difference)
    if found & FOREIGN:
        return []
    hidden = {"same", "more_calls", "fewer_calls"} if found & OTHER_WORK else {"same"}
    least = LEAST * max(difference.base.unit_ns, difference.head.unit_ns)
    return [
        row for row in difference.rows if row.table == table and row.kind not in hidden and abs(row.change_ns) >= least
    ]


def notes(difference: Difference) -> list[str]:
    """Return what else a reader must know, and how to have the sides compared all the same."""
    found = [*difference.notes]
    options = sorted(kinds(difference) - {"empty"})
    if options:
        found.append(f"`{' '.join(f'--allow {kind}' for kind in options)}` compares them all the same")
    return found


def kinds(difference: Difference) -> set[ObstacleKind]:
    """Return what keeps the sides from being compared."""
    return {obstacle.kind for obstacle in difference.obstacles}
