"""PK401 small-batches: too little work at a time for the machine.

What it does:
    On a GPU it counts the time of kernels with fewer blocks than the device
    has multiprocessors. On a CPU it looks at how many rows the matrix work
    of the forward pass has (shapes have to be recorded), and counts the
    matrix work and the time in which gradients are added up, of programs
    that train.

Why it is slow:
    All weights are read for each batch, however small it is, and on a GPU
    most of the chip stands idle. Twice the batch then takes hardly longer, so
    an item costs hardly more than half.

Example:
    for part in batch.chunk(16):            # micro-batches of eight
        (criterion(model(part)) / 16).backward()

Fix:
    The largest batch that memory allows, or fewer and larger micro-batches.
    Where memory is short: `torch.utils.checkpoint`, bf16, or a fused
    optimizer first.

Fix safety:
    Check. A larger batch for each step of the optimizer wants another
    learning rate; fewer micro-batches for the same step do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines, width_of, work_of
from perfkit.model.prediction import ScaleBatch
from perfkit.model.quantity import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline
    from perfkit.model.signs import Width

__all__ = ["RULE"]

MOST_ROWS: Final = 16
"""Above this many rows a processor is kept busy by the arithmetic, not by reading weights."""
NARROW: Final = 0.5
"""Part of the time of kernels that do not fill the device, from which on it is small batches, and not some layers."""
BALANCE: Final = (16.0, 28.0, 72.0)
"""Rows from which on arithmetic takes longer than reading the weights: on few, usual and most processors."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find work that is too narrow for the device or the processor."""
    for timeline in timelines(attribution):
        width, work = width_of(attribution, timeline), work_of(attribution, timeline)
        if width is None or work is None:
            continue
        if timeline.kind == "device":
            yield from on_device(attribution, timeline, width)
        elif work.backward and 0 < width.batch <= MOST_ROWS:
            yield from on_thread(attribution, timeline, width)


def on_device(attribution: Attribution, timeline: Timeline, width: Width) -> Iterator[Finding]:
    """Find kernels that do not fill a device."""
    if not width.kernel_ns or width.narrow_ns < NARROW * width.kernel_ns:
        return
    ns = width.narrow_ns
    saving = Saving(attribution, timeline, ns, 0.2 * ns, 0.4 * ns, 0.5 * ns)
    if saving.matters:
        share = percent(ns, width.kernel_ns)
        batch = f" The matrix work has {count(width.batch, 'row')}." if width.batch else ""
        yield saving.finding(
            RULE.code,
            RULE.title,
            where="",
            evidence=(
                f"{share} of the kernels' time has fewer blocks than the {width.processors} multiprocessors.{batch}",
            ),
            fix="Twice the batch takes hardly longer: the largest one that memory allows.",
            safety="check",
            what_if=(ScaleBatch(2.0),),
        )


def on_thread(attribution: Attribution, timeline: Timeline, width: Width) -> Iterator[Finding]:
    """Find matrix work with few rows on a processor."""
    low, usual, high = (width.matrix_ns * max(1 - width.batch / rows, 0.1) for rows in BALANCE)
    added = width.gathering_ns
    updates = sum(row.host_ns for row in attribution.signs.updates if row.timeline == timeline.id)
    # Of what else a step does, calling operators is most, and that is done for each batch, too.
    rest = max(timeline.busy_ns - width.matrix_ns - added - updates, 0)
    lost = width.matrix_ns + added + rest
    usual, high = usual + 0.9 * added + 0.5 * rest, high + added + 0.9 * rest
    saving = Saving(attribution, timeline, lost, low + 0.7 * added, usual, high)
    if saving.matters:
        yield saving.finding(
            RULE.code,
            RULE.title,
            where="",
            evidence=(
                f"The matrix work has {count(width.batch, 'row')} at a time and takes {duration(width.matrix_ns)}; "
                f"adding up gradients takes {duration(added)}.",
            ),
            fix="Fewer and larger batches, or micro-batches: the weights are read once for each.",
            safety="check",
        )


RULE = Rule(
    code="PK401",
    name="small-batches",
    title="Batches are too small to fill the machine",
    symptom="works on batches too small to fill it",
    thread_symptom="works on batches too small to fill it",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
