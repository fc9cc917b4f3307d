"""What is saved of a step that nobody records: to write down an event takes time, and is part of what was recorded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import LEAST_NS, LEAST_SHARE
from perfkit.advise.saving import work_of
from perfkit.model.quantity import count, duration, median

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline

__all__ = ["unprofiled"]

COST: Final = (0.6, 1.5, 3.0)
"""What writing down an event takes: at least, usually and at most, of how far apart events begin where they are
closest. It takes longer with inputs to look at, or a backward pass to link it with (`benchmarks/record_cost.py`)."""
MOST_WRITTEN: Final = 0.9
"""Part of any stretch that writing events down can have taken."""
USUAL_ERROR: Final = 0.05
"""Part of what is saved by which any prediction is off."""
WORTH_SAYING: Final = 0.02
DEVIATIONS: Final = 2 * 1.4826
"""Two standard deviations, in median deviations from the median."""
FEWEST_STEPS: Final = 3


def unprofiled(
    finding: Finding, attribution: Attribution, slowdown: tuple[float, float, float] | None = None
) -> Finding | None:
    """Give a finding on a thread that computes the part of a step that is saved while nobody records.

    Times stay those of the recorded window: what is saved of it is that part. A window on a device stays as it is.

    Args:
        finding: What a repair saves of the recorded time.
        attribution: What it was found in.
        slowdown: How many times as long steps took while they were recorded, with the ends of its interval, where that
            was measured; without, it is estimated by the events.

    Returns:
        The finding; None where next to nothing is saved.
    """
    line = next(line for line in attribution.timelines if line.id == finding.timeline)
    work = work_of(attribution, line)
    if line.kind == "device" or work is None or not finding.saving_ns:
        return finding
    window, lost = line.window_ns, finding.share * line.window_ns
    written = work.records * work.record_ns
    costs: Sequence[float] = COST
    if slowdown and written:
        costs = [max(1 - 1 / ratio, 0.0) * window / written for ratio in (slowdown[1], slowdown[0], slowdown[2])]
    parts = [
        (1 - min(cost * finding.records * work.record_ns / max(lost, 1), MOST_WRITTEN))
        / (1 - min(cost * written / window, MOST_WRITTEN))
        for cost in costs
    ]
    saving = min(round(finding.saving_ns * parts[1]), window)
    if saving < LEAST_NS or saving < LEAST_SHARE * window:
        return None
    usual = finding.saving_ns * parts[1]
    off = max(USUAL_ERROR * usual, unsteady_ns(line, usual))
    # What one of these is off says nothing of the others: their squares add up.
    least = math.hypot(
        (finding.saving_ns - finding.saving_low_ns) * parts[1], finding.saving_ns * (parts[1] - min(parts)), off
    )
    most = math.hypot(
        (finding.saving_high_ns - finding.saving_ns) * parts[1], finding.saving_ns * (max(parts) - parts[1]), off
    )
    low, high = max(round(usual - least), 0), min(round(usual + most), window)
    apart = ""
    if costs[1] * written > WORTH_SAYING * window:
        each = duration(costs[1] * written / max(len(line.steps), 1))
        apart = f"the {each}{' a step' if line.steps else ''} that it took to write down {count(work.records, 'event')}"
    return finding._replace(saving_ns=saving, saving_low_ns=low, saving_high_ns=high, apart=apart)


def unsteady_ns(line: Timeline, saving_ns: float) -> float:
    """Return by how much the part of a window that is saved can differ in another run.

    Steps differ by two standard errors, outliers aside. What is saved of them and what is left differ by as much in
    proportion, and each on its own.
    """
    lengths = [step.end_ns - step.start_ns for step in line.steps]
    middle = median(lengths) if len(lengths) >= FEWEST_STEPS else 0
    if not middle:
        return 0.0
    apart = median(abs(length - middle) for length in lengths)
    saved = min(saving_ns / line.window_ns, 1.0)
    share = math.sqrt(2) * saved * (1 - saved) / math.hypot(saved, 1 - saved)
    return DEVIATIONS * apart / math.sqrt(len(lengths)) / middle * share * line.window_ns
