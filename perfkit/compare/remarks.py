"""What else a reader of a Difference must know before believing it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from perfkit.compare.units import main_timeline
from perfkit.model.quantity import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.compare.likeness import Likeness
    from perfkit.model.attribution import Attribution
    from perfkit.model.difference import Interval, Run, Side

    Runs = tuple[Sequence[Run], Sequence[Run]]

__all__ = ["notes"]

NAMES: Final = ("BASE", "HEAD")
DAMAGE: Final = frozenset(
    (
        "truncated",
        "truncated_event",
        "truncated_compression",
        "corrupt_compression",
        "damaged_table",
        "shared_process_id",
    )
)
"""Defects of a file that take away, or mix, some of what is compared."""
EVEN: Final = 0.03
"""Part by which all kernels together must be faster or slower to be spoken of."""
CUT: Final = 0.98
"""Part of the kernels' time that a table of all kernels holds, at least."""


def notes(
    runs: Runs, sides: tuple[Side, Side], interval: Interval | None, likeness: Likeness, *, comparable: bool
) -> Iterator[str]:
    """Say what else a reader must know, the most important first."""
    if all(side.unit_ns for side in sides):
        yield from recorded_alike(runs, sides)
        yield from ranks_and_clocks(runs, sides, likeness)
    for name, side in zip(NAMES, runs, strict=True):
        yield from quality(name, side)
    if not comparable:
        return
    if interval is None:
        yield (
            "there is a single sample a side, which shows no spread: give several runs a side, or traces of several "
            "steps"
        )
    elif interval.samples == "steps":
        yield "steps of one run show how steps differ, and not how runs do: give several runs a side"


def recorded_alike(runs: Runs, sides: tuple[Side, Side]) -> Iterator[str]:
    """Tell where the sides were recorded in different ways, or hold different amounts of the same."""
    silent = [name for name, side in zip(NAMES, sides, strict=True) if side.kind == "device" and not side.devices]
    if silent:
        does = "do not name their device" if len(silent) > 1 else "does not name its device"
        yield f"{' and '.join(silent)} {does}: the hardware is taken to be the same"
    if not (sides[0].steps or sides[1].steps):
        yield "no steps are marked: the recordings are compared as wholes, as if they held the same work"
    elif sides[0].steps != sides[1].steps:
        yield f"the means of {count(sides[0].steps, 'step')} and of {count(sides[1].steps, 'step')} are compared"
    sources = [{run.diagnosis.attribution.window.source for run in side} for side in runs]
    kinds = [{re.sub(r"\d+", "", source) for source in side} for side in sources]
    if sides[0].steps and sides[1].steps and kinds[0] != kinds[1]:
        yield f"steps are those of `{min(sources[0])}` in BASE and of `{min(sources[1])}` in HEAD"
    stacks = [any(has_lines(run.diagnosis.attribution) for run in side) for side in runs]
    if sides[0].formats != sides[1].formats:
        yield "the sides were recorded by different profilers, whose own cost on the host differs"
    elif stacks[0] != stacks[1]:
        slow, plain = NAMES if stacks[0] else reversed(NAMES)
        yield f"{slow} was recorded with Python stacks and {plain} without: recording them costs the host time"


def ranks_and_clocks(runs: Runs, sides: tuple[Side, Side], likeness: Likeness) -> Iterator[str]:
    """Tell what makes equal programs take different times: another rank, or another speed of the whole device."""
    ranks = [{run.diagnosis.trace.rank for run in side} for side in runs]
    known = [rank for side in ranks if len(side) == 1 for rank in side if rank is not None]
    if len(known) == len(NAMES) and known[0] != known[1]:
        yield f"BASE is of rank {known[0]} and HEAD of rank {known[1]}: ranks do not have the same to do and wait for"
    ratio = likeness.per_call
    if likeness.even and ratio is not None and abs(ratio - 1) > EVEN and sides[0].kind == "device":
        yield (
            f"nearly every kernel takes {ratio:.2f} times as long in HEAD, whatever it computes: did both devices run "
            "at the same clocks, and alone?"
        )


def has_lines(attribution: Attribution) -> bool:
    """Tell whether anything has a source line."""
    return any(row.where for row in attribution.operators) or any(row.where for row in attribution.blame)


def quality(name: str, runs: Sequence[Run]) -> Iterator[str]:
    """Tell what is wrong with the recordings of a side, each thing once."""
    found: dict[str, None] = {}
    for run in runs:
        attribution = run.diagnosis.attribution
        for defect in (*run.diagnosis.trace.defects, *attribution.defects):
            if defect.kind in DAMAGE:
                found[defect.message] = None
        line = main_timeline(run.diagnosis)
        if line is not None and line.confidence == "low":
            found[f"low confidence: {line.confidence_reason}"] = None
        ran = sum(line.kernel_sum_ns for line in attribution.timelines)
        if sum(kernel.device_ns for kernel in attribution.kernels) < CUT * ran:
            found["its tables hold the largest rows only: what is missing there counts as not run"] = None
    yield from (f"{name}: {message}" for message in found)
