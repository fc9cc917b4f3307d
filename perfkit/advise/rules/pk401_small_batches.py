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
from perfkit.advise.saving import LESS_OFTEN, Saving, called_ns, timelines, together, width_of, work_of
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
"""Rows from which on arithmetic takes longer than reading the weights: on few, usual and most processors.

A row costs two operations for each weight, which is read in four bytes once: the balance is half the operations a
processor does while it reads a weight (the roofline of Williams, Waterman and Patterson, CACM 52/4, 2009). Two cores of
AVX2 (100 Gflop/s each at 3.1 GHz) beside 25 GB/s make 16; of AVX-512 (200 Gflop/s) with as much for each core, 32 less
what is lost to shallow loops; a server of many cores that share 200 GB/s up to 72.
"""

MOST_FLOPS_PER_S: Final = 190e9
"""In single precision, of one core: two units of 16 numbers, two operations each, at 3 GHz. More is that of several."""
OF_THE_PEAK: Final = (0.75, 0.93, 1.05)
"""Part of what square products of 384 rows come to that those of layers 256 to 2,048 wide do with 64 to 128 rows: 0.71
to 1.05 (two virtual cores of an Intel Xeon, with AVX-512 and with AVX2 only)."""


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
    matrix, added = width.matrix_ns, width.gathering_ns
    low, usual, high = (matrix * part for part in parts_saved(width))
    called = called_ns(attribution, timeline, matrix)
    less, usually, more = (part * called for part in LESS_OFTEN)
    ends = together((low, usual, high), (less, usually, more))
    saving = Saving(attribution, timeline, matrix + called, *ends)
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


def parts_saved(width: Width) -> tuple[float, float, float]:
    """Return the part of matrix work that is not arithmetic: at least, usually, at most.

    That follows from what the processor was seen to do of what it can, in single precision. Where nobody measured that,
    or another type is faster, it is what it is on others.
    """
    rate, peak = width.flops_per_s, width.peak_flops_per_s
    if 0 < rate < peak:
        low, usual, high = (max(1 - rate / (part * peak), 0.0) for part in OF_THE_PEAK)
        return low, usual, high
    low, usual, high = (max(1 - width.batch / rows, 0.1) for rows in BALANCE)
    if 0 < rate < MOST_FLOPS_PER_S:
        high = max(min(high, 1 - rate / MOST_FLOPS_PER_S), low)
        usual = min(usual, (low + high) / 2)
    return low, usual, high


RULE = Rule(
    code="PK401",
    name="small-batches",
    title="Batches are too small to fill the machine",
    symptom="works on batches too small to fill it",
    thread_symptom="works on batches too small to fill it",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
