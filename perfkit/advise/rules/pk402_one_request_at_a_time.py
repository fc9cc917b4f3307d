"""PK402 one-request-at-a-time: each request is a batch of its own.

What it does:
    Looks at programs that do not train, and whose matrix work has one row, or
    next to none, for most of its time (shapes have to be recorded). Where
    requests are marked, it stays silent if the program waits for the next
    one most of the time: a batch cannot be made of what has not come.

Why it is slow:
    All weights are read for each request. For a few requests together they
    are read once, and the arithmetic is next to nothing: sixteen take hardly
    longer than one.

Example:
    while True:
        request = queue.get()
        answer(request, model(request.unsqueeze(0)))

Fix:
    Take what is waiting, up to a limit, and answer it together. Not waiting
    for more than that costs no latency.

Fix safety:
    Check. Requests of different lengths have to be padded or sorted, and
    results may differ in the last digits from those of a batch of one.
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
    from perfkit.model.attribution import Attribution
    from perfkit.model.signs import Width

__all__ = ["RULE"]

MOST_ROWS: Final = 2
LEAST_MATRIX: Final = 0.3
"""Part of the window from which on matrix work is what the program does."""
MOST_WAITING: Final = 0.5
READING: Final = (0.7, 0.85, 0.95)
"""Part of the matrix work that is reading weights, where it has one row: at least, usually, at most."""
OF_THE_PEAK: Final = (0.36, 0.5, 0.65)
"""Part of what square products of 384 rows come to that those of layers 256 to 2,048 wide do with 16 rows (two virtual
cores of an Intel Xeon, with AVX-512 and with AVX2 only)."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find requests that are answered one at a time."""
    for timeline in timelines(attribution):
        width, work = width_of(attribution, timeline), work_of(attribution, timeline)
        if width is None or work is None or work.backward or not 0 < width.batch <= MOST_ROWS:
            continue
        idle = work.waiting_ns > MOST_WAITING * (work.waiting_ns + work.request_ns)
        if idle or width.matrix_ns < LEAST_MATRIX * timeline.window_ns:
            continue
        low, usual, high = (part * width.matrix_ns for part in parts_saved(width))
        if timeline.kind != "device":
            less, usually, more = (part * called_ns(attribution, timeline, width.matrix_ns) for part in LESS_OFTEN)
            low, usual, high = together((low, usual, high), (less, usually, more))
        saving = Saving(attribution, timeline, width.matrix_ns, low, usual, high)
        if not saving.matters:
            continue
        requests = f"; {count(work.requests, 'request')}, {work.together} at a time" if work.requests else ""
        yield saving.finding(
            RULE.code,
            RULE.title,
            where="",
            evidence=(
                f"The matrix work has {count(width.batch, 'row')} at a time and takes {duration(width.matrix_ns)} "
                f"({percent(width.matrix_ns, timeline.window_ns)}){requests}.",
            ),
            fix="Answer the requests that are waiting together, up to a limit.",
            safety="check",
            what_if=(ScaleBatch(2.0),) if timeline.kind == "device" else (),
        )


def parts_saved(width: Width) -> tuple[float, float, float]:
    """Return the part of matrix work that answers which are given together save: at least, usually, at most."""
    low, usual, high = READING
    rate, peak = width.flops_per_s, width.peak_flops_per_s
    if not 0 < rate < peak:
        return low, usual, high
    few, some, most = (max(1 - rate / (part * peak), 0.0) for part in OF_THE_PEAK)
    return min(low, few), min(usual, some), min(high, most)


RULE = Rule(
    code="PK402",
    name="one-request-at-a-time",
    title="Requests are answered one at a time",
    symptom="answers requests one at a time",
    thread_symptom="answers requests one at a time",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
