"""Whether two sides may be compared at all, and what keeps them from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.compare.likeness import other_program
from perfkit.compare.units import timelines
from perfkit.model.difference import Obstacle
from perfkit.model.quantity import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perfkit.compare.rows import Row
    from perfkit.model.difference import Run, Side

__all__ = ["obstacles"]

SAME_SHAPES: Final = 0.5
"""Part of the time of the operators in common that must be spent on shapes in common."""
KNOWN_SHAPES: Final = 0.3
"""Part of the operators' time whose shapes must be known on both sides for them to be judged."""
OTHER_WORK: Final = 0.05
"""Part by which the calls in common must differ for the sides to hold different amounts of work."""
SAME_LENGTH: Final = 0.02
"""Part by which recordings of one fixed duration may differ in length."""
SAME_WORK: Final = 0.01
"""Part by which the calls in recordings of one length may differ, and still be those of the same work."""
SHOWN: Final = 60


def obstacles(
    runs: tuple[Sequence[Run], Sequence[Run]],
    sides: tuple[Side, Side],
    rows: tuple[Sequence[Row], Sequence[Row]],
    work: float | None,
) -> Iterator[Obstacle]:
    """Say what keeps the sides from being compared, the most telling first."""
    base, head = sides
    if not (base.unit_ns and head.unit_ns):
        empty = "BASE" if not base.unit_ns else "HEAD"
        yield Obstacle("empty", f"{empty} holds no time that could be compared")
        return
    if base.devices and head.devices and base.devices != head.devices:
        texts = (" and ".join(side.devices) for side in sides)
        yield Obstacle("hardware", f"different hardware: {' against '.join(texts)}")
    yield from _other_devices(runs, sides)
    strange = other_program(*rows)
    if strange:
        yield Obstacle("program", f"different programs: {strange}")
    yield from _other_shapes(runs, rows[0])
    if bool(base.steps) != bool(head.steps):
        marked, bare = ("BASE", "HEAD") if base.steps else ("HEAD", "BASE")
        message = (
            f"{marked} has steps and {bare} has none: mark the steps of both, or compare with --window device-span"
        )
        yield Obstacle("steps", message)
    elif work is not None and not strange:
        yield from _other_work(base, head, work)


def _other_devices(runs: tuple[Sequence[Run], Sequence[Run]], sides: tuple[Side, Side]) -> Iterator[Obstacle]:
    """Tell a different number or kind of timelines, or of ranks in the job."""
    base, head = sides
    if base.kind != head.kind:
        bare = "BASE" if base.kind == "host_thread" else "HEAD"
        yield Obstacle("devices", f"no device was recorded in {bare}")
    elif base.timelines != head.timelines:
        noun = "device" if base.kind == "device" else "thread"
        yield Obstacle("devices", f"{count(base.timelines, noun)} against {count(head.timelines, noun)}")
    worlds = [{run.diagnosis.trace.world_size for run in side} for side in runs]
    if worlds[0] != worlds[1] and None not in worlds[0] | worlds[1]:
        texts = (" or ".join(str(size) for size in sorted(world, key=str)) for world in worlds)
        yield Obstacle("devices", f"jobs of different size: {' against '.join(texts)} ranks")


def _other_shapes(runs: tuple[Sequence[Run], Sequence[Run]], rows: Sequence[Row]) -> Iterator[Obstacle]:
    """Tell operators in common that mostly work on other shapes, weighted by the time that they take."""
    base, head = (_shapes(side) for side in runs)
    spent: dict[str, float] = {}
    for row in rows:
        if row.table == "operator":
            spent[row.name] = spent.get(row.name, 0.0) + float(row.ns)
    likeness = {name: _overlap(base[name], head[name]) for name in spent if name in base and name in head}
    known = sum(spent[name] for name in likeness)
    alike = sum(spent[name] * overlap for name, overlap in likeness.items())
    if known >= KNOWN_SHAPES * sum(spent.values()) and alike < SAME_SHAPES * known:
        worst = max(likeness, key=lambda name: spent[name] * (1 - likeness[name]))
        texts = [_shorten(max(side[worst], key=side[worst].__getitem__)) for side in (base, head)]
        yield Obstacle("shapes", f"different input shapes: `{worst}` has `{texts[0]}` in BASE and `{texts[1]}` in HEAD")


def _shapes(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Return the part of each operator's calls that has each shape, over all runs.

    Operators most of whose shapes do not come back in every step are left out: theirs depend on the data.
    """
    total: dict[str, dict[str, float]] = {}
    for run in runs:
        steps = max((len(line.steps) for line in timelines(run.diagnosis.attribution)), default=0)
        for name, shapes in run.shapes.items():
            calls = sum(shapes.values())
            if 2 * sum(number for number in shapes.values() if number >= steps) < calls:
                continue
            of_name = total.setdefault(name, {})
            for shape, number in shapes.items():
                of_name[shape] = of_name.get(shape, 0.0) + number / calls / len(runs)
    return total


def _overlap(base: Mapping[str, float], head: Mapping[str, float]) -> float:
    return sum(min(share, head.get(shape, 0.0)) for shape, share in base.items())


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _other_work(base: Side, head: Side, work: float) -> Iterator[Obstacle]:
    """Tell that one side does more than the other."""
    more = f"{percent(work - 1, digits=0)} more" if work > 1 else f"{percent(1 - work, digits=0)} fewer"
    one_length = abs(head.unit_ns - base.unit_ns) <= SAME_LENGTH * base.unit_ns
    if not base.steps and one_length and abs(work - 1) > SAME_WORK:
        message = (
            f"both are captures of one fixed duration, {duration(base.unit_ns)}, and not of the same work: HEAD has "
            f"{more} calls of the same kernels in it, so totals do not compare"
        )
        yield Obstacle("duration", message)
    elif abs(work - 1) > OTHER_WORK:
        where = "in each step" if base.steps else "in all; record the same steps of both, and mark them"
        yield Obstacle("work", f"different amounts of work: HEAD has {more} calls of the same kernels {where}")
