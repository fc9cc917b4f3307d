"""From the runs of two sides to their Difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.compare.cause import find_cause
from perfkit.compare.comparability import obstacles
from perfkit.compare.likeness import compare_calls
from perfkit.compare.remarks import notes
from perfkit.compare.rows import changes, tabulate
from perfkit.compare.spread import half_width
from perfkit.compare.units import apportion, main_timeline, owners, samples, side, step_lengths
from perfkit.model.attribution import BUSY_CLASSES
from perfkit.model.difference import Bucket, Difference, Interval, StepPair
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from perfkit.model.difference import Obstacle, Run, Verdict

__all__ = ["diff"]

LEAST_CHANGE: Final = {"runs": 0.01, "steps": 0.03, None: 0.05}
"""Part of the base below which a change counts as none, by what shows the spread. Steps of one run do not show how runs
differ, and a single sample a side shows nothing."""


def diff(
    base: Sequence[Run], head: Sequence[Run], *, threshold: float | None = None, allow: Collection[str] = ()
) -> Difference:
    """Compare two sides.

    Args:
        base: The runs of one side, at least one.
        head: The runs of the other.
        threshold: Part of the base's time below which a change counts as none; None for what the spread calls for.
        allow: Kinds of obstacles to overlook.

    Returns:
        The difference; its buckets' changes sum to ``change_ns`` exactly.
    """
    runs = (base, head)
    times = (apportion(owners(base)), apportion(owners(head)))
    sides = (side(base, times[0]), side(head, times[1]))
    tables = (tabulate(base), tabulate(head))
    likeness = compare_calls(*tables)
    found = tuple(
        obstacle
        for obstacle in obstacles(runs, sides, tables, likeness.work)
        if obstacle.kind == "empty" or obstacle.kind not in allow
    )
    change_ns = sides[1].unit_ns - sides[0].unit_ns
    interval = interval_of(base, head, change_ns)
    if threshold is None:
        threshold = LEAST_CHANGE[interval.samples if interval else None]
    verdict = judge(change_ns, interval, sides[0].unit_ns, threshold, found)
    buckets, rows = with_intervals(bucket_changes(*times), base, head), changes(*tables)
    return Difference(
        verdict=verdict,
        unit="step" if sides[0].steps and sides[1].steps else "recording",
        base=sides[0],
        head=sides[1],
        change_ns=change_ns,
        interval=interval,
        threshold=threshold,
        obstacles=found,
        cause=find_cause(buckets, rows, change_ns) if verdict in {"faster", "slower"} else None,
        buckets=buckets,
        steps=align(base[0], head[0]),
        rows=rows,
        work=likeness.work,
        per_call=likeness.per_call,
        notes=tuple(notes(runs, sides, interval, likeness, comparable=not found)),
    )


def bucket_changes(base: Mapping[str, int], head: Mapping[str, int]) -> Table[Bucket]:
    """Return every owner of time, the largest change first."""
    names = dict.fromkeys((*base, *head))
    rows = (
        Bucket(name, "busy" if name in BUSY_CLASSES else "idle", base.get(name, 0), head.get(name, 0)) for name in names
    )
    return Table(sorted(rows, key=lambda bucket: (-abs(bucket.change_ns), -bucket.base_ns)))


def with_intervals(buckets: Table[Bucket], base: Sequence[Run], head: Sequence[Run]) -> Table[Bucket]:
    """Add the bounds of each change, by how the runs of both sides differ; nothing where a side has one."""
    each = [[owners([run]) for run in runs] for runs in (base, head)]
    found = []
    for bucket in buckets:
        width = half_width(*([float(times.get(bucket.name, 0)) for times in side] for side in each))
        change = bucket.change_ns
        bounds = None if width is None else Interval(change - round(width), change + round(width), "runs")
        found.append(bucket._replace(interval=bounds))
    return Table(found)


def judge(
    change_ns: int, interval: Interval | None, base_ns: int, threshold: float, found: Sequence[Obstacle]
) -> Verdict:
    """Return the verdict: a change has to reach the threshold, and its interval must not hold zero."""
    if found:
        return "not_comparable"
    within = interval is not None and interval.low_ns <= 0 <= interval.high_ns
    if not change_ns or within or abs(change_ns) < threshold * base_ns:
        return "same"
    return "slower" if change_ns > 0 else "faster"


def interval_of(base: Sequence[Run], head: Sequence[Run], change_ns: int) -> Interval | None:
    """Return the bounds of the change: from the spread of runs where both sides have several, else of steps."""
    several = min(len(base), len(head)) > 1
    measured = samples if several else step_lengths
    width = half_width(measured(base), measured(head))
    if width is None:
        return None
    return Interval(change_ns - round(width), change_ns + round(width), "runs" if several else "steps")


def align(base: Run, head: Run) -> Table[StepPair]:
    """Pair the steps of two recordings: those of one name where the names tell, else those in the same place."""
    sides = []
    for run in (base, head):
        line = main_timeline(run.diagnosis)
        sides.append([(step.name, step.end_ns - step.start_ns) for step in line.steps] if line else [])
    named = [dict(side) for side in sides]
    telling = all(len(of_name) == len(side) for of_name, side in zip(named, sides, strict=True))
    if telling and named[0].keys() & named[1].keys():
        return Table(StepPair(name, name, ns, named[1][name]) for name, ns in sides[0] if name in named[1])
    return Table(StepPair(one[0], two[0], one[1], two[1]) for one, two in zip(*sides, strict=False))
