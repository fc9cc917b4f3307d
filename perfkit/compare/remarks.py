"""What else a reader of a Difference must know before believing it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from perfkit.compare.units import main_timeline
from perfkit.model.quantity import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
CUT: Final = 0.98
"""Part of the kernels' time that a table of all kernels holds, at least."""


def notes(runs: Runs, sides: tuple[Side, Side], interval: Interval | None, *, comparable: bool) -> Iterator[str]:
    """Say what else a reader must know, the most important first."""
    if all(side.unit_ns for side in sides):
        yield from recorded_alike(runs, sides)
    for name, side in zip(NAMES, runs, strict=True):
        yield from quality(name, side)
    if interval is None and comparable:
        yield (
            "there is a single sample a side, which shows no spread: give several runs a side, or traces of several "
            "steps"
        )
    elif interval is not None and interval.samples == "steps" and comparable:
        yield "the interval is that of steps within a run: give several runs a side to see how runs differ"


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
